"""Series are named from headers and pixels; models are opened by name."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.errors import ImageError, ModelError
from vesalius.imaging import MedicalImage, write_rgb
from vesalius.imaging.safeguards import Notice
from vesalius.models.calibration import PlattScaling
from vesalius.models.checkpoints import save_model
from vesalius.models.encoder import ImageFeatures
from vesalius.naming import AnatomyLabeller, NamingCalibration
from vesalius.naming.labeller import (
    choose_stacks,
    header_modality,
    header_plane,
    header_protocol,
    load_namer,
    read_calibration,
)
from vesalius.naming.labels import Answer
from vesalius.naming.series import Probabilities, build_names, cap_organs, name_organs, name_stations, smoothing_of
from vesalius.prompts.anatomy import ORGANS, STATIONS

LOCALIZER = {"ImageType": "ORIGINAL\\PRIMARY\\LOCALIZER"}

GREY = np.full((1, 8, 8), 64, np.uint8)
GREY[0, 0, 0] += 2


def spans(ranges):
    return [(each.label, each.first, each.last) for each in ranges]


def test_a_series_is_named_from_head_to_foot(labeller, make_volume):
    named = labeller.label(make_volume("lower body", "pelvis", "abdomen", "chest", "chest", "head"))
    assert spans(named.stations) == [
        ("lower body", 0, 0), ("pelvis", 1, 1), ("abdomen", 2, 2), ("chest", 3, 4), ("head", 5, 5),
    ]  # fmt: skip
    assert (named.stations[3].first_mm, named.stations[3].last_mm) == (60, 80)
    assert spans(named.organs)[0] == ("knee", 0, 0)
    assert named.slices[3].station.label == "chest"
    assert named.smoothed == "ordered"


def test_the_header_goes_before_the_pixels(labeller, make_volume):
    header = {"Modality": "MR", "SeriesDescription": "T2W_TSE"}
    named = labeller.label(make_volume("head", plane="coronal", modality="MR", header=header))
    assert (named.modality.label, named.modality.source) == ("MR", "header")
    assert (named.plane.label, named.plane.evidence) == ("coronal", "0° from coronal")
    assert (named.protocol.label, named.protocol.confidence) == ("T2", 0.85)
    assert named.slices[0].plane == "coronal"


def test_pixels_answer_where_the_header_does_not(labeller):
    named = labeller.label(MedicalImage(GREY, source=Path("x")))
    assert (named.modality.label, named.plane.label) == ("CT", "axial")
    assert named.modality.probability > 0.9
    assert named.protocol.label is None


def test_where_nothing_shows_nothing_is_named(labeller):
    named = labeller.label(MedicalImage(np.zeros((1, 8, 8), np.uint8), source=Path("x")))
    assert (named.modality.label, named.plane.label, named.slices[0].station.label) == (None, None, None)
    assert spans(named.stations) == [(None, 0, 0)]
    assert named.organs == []


def test_every_slice_is_encoded_once_and_every_phrase_once(clairvoyant, make_volume):
    labeller, counts = AnatomyLabeller(clairvoyant), []
    asked = clairvoyant.asked
    labeller.label(make_volume(*["head"] * 20), on_slices=counts.append)
    labeller.label(make_volume("head"))
    assert (clairvoyant.seen, clairvoyant.asked) == (21, asked)
    assert counts == [4] * 5


def test_all_stacks_of_a_localizer_are_named_and_its_plane_is_left_open(labeller, make_volume):
    stacks = [make_volume("head", "head", plane=plane, header=LOCALIZER) for plane in ("axial", "coronal")]
    named = labeller.label(stacks)
    assert named.purpose.label == "localizer"
    assert (named.plane.label, named.plane.evidence) == (None, "2 stacks: axial, coronal")
    assert [each.plane for each in named.slices] == ["axial", "axial", "coronal", "coronal"]
    assert [each.index for each in named.slices] == [0, 1, 2, 3]
    assert spans(named.stations) == [("head", 0, 1), ("head", 2, 3)]


def test_of_other_series_only_the_largest_stack_is_named(labeller, make_volume):
    stacks = [make_volume("head", "head"), make_volume("chest")]
    assert len(choose_stacks(stacks)) == 1
    named = labeller.label(stacks)
    assert (len(named.slices), named.stacks) == (2, 2)


def test_projections_are_not_smoothed(labeller, make_volume):
    header = {"ImageType": "DERIVED\\SECONDARY\\PROJECTION IMAGE"}
    named = labeller.label(make_volume("head", "chest", "head", header=header))
    assert spans(named.stations) == [("head", 0, 0), ("chest", 1, 1), ("head", 2, 2)]
    assert named.smoothed is None


def test_without_smoothing_every_slice_stands_alone(labeller, make_volume):
    volume = make_volume("chest", "chest", "pelvis", "chest", "chest", step_mm=5.0)
    assert spans(labeller.label(volume).stations) == [("chest", 0, 4)]
    assert spans(labeller.label(volume, smooth=False).stations) == [
        ("chest", 0, 1), ("pelvis", 2, 2), ("chest", 3, 4),
    ]  # fmt: skip


def test_calibration_decides_what_is_named(clairvoyant, make_volume):
    shy = PlattScaling(STATIONS, (1.0,) * 6, (-50.0,) * 6)
    named = AnatomyLabeller(clairvoyant, NamingCalibration({"stations": shy})).label(make_volume("head", "head"))
    assert spans(named.stations) == [(None, 0, 1)]
    assert named.calibrated == ("stations",)
    bold = NamingCalibration({"stations": PlattScaling(STATIONS, (1.0,) * 6, (5.0,) * 6)})
    assert set(AnatomyLabeller(clairvoyant, bold).label(make_volume("head")).slices[0].stations) == set(STATIONS)


def test_a_calibrated_question_is_answered_by_calibrated_probabilities(clairvoyant):
    sure = PlattScaling(("MR", "CT"), (1.0, 0.0), (9.0, -9.0))
    labeller = AnatomyLabeller(clairvoyant, NamingCalibration({"modality": sure}))
    named = labeller.label(MedicalImage(GREY, source=Path("x")))
    assert named.modality.label == "MR"
    assert named.modality.probability > 0.99


def test_a_file_or_a_folder_with_one_series_can_be_named_by_its_path(labeller, tmp_path):
    write_rgb(tmp_path / "one.png", np.full((8, 8, 3), 0.25))
    assert labeller.label(tmp_path).source == labeller.label(str(tmp_path / "one.png")).source
    write_rgb(tmp_path / "two.png", np.zeros((8, 8, 3)))
    with pytest.raises(ImageError, match="holds 2 series"):
        labeller.label(tmp_path)


def test_models_that_only_outline_are_refused(build_tiny, clairvoyant):
    with pytest.raises(ModelError, match="cannot name"):
        AnatomyLabeller(build_tiny("unet_d")).label(MedicalImage(np.zeros((1, 8, 8), np.uint8), source=Path("x")))
    labeller = AnatomyLabeller(clairvoyant)
    clairvoyant.encode_image = lambda images: ImageFeatures(torch.ones(len(images), 3), ())
    with pytest.raises(ModelError, match="share no space"):
        labeller.label(MedicalImage(np.zeros((1, 8, 8), np.uint8), source=Path("x")))


@pytest.mark.parametrize("broken", ["encode_image", "encode_text"])
def test_names_that_rest_on_what_is_not_a_number_are_refused(clairvoyant, make_volume, monkeypatch, broken):
    features = getattr(clairvoyant, broken)
    monkeypatch.setattr(
        clairvoyant, broken, lambda given: replace(found := features(given), embedding=found.embedding * np.nan)
    )
    with pytest.raises(ModelError, match="Clairvoyant: the model's answer is not a number; its weights are damaged"):
        AnatomyLabeller(clairvoyant).label(make_volume("chest"))


def test_pocket_names_at_any_size(build_tiny):
    named = AnatomyLabeller(build_tiny("pocket")).label(
        MedicalImage(500 * np.random.default_rng(0).random((3, 40, 48)), Path("x"), affine=np.eye(4), modality="CT")
    )
    assert len(named.slices) == 3
    assert sum(named.slices[0].station_probabilities.values()) == pytest.approx(1)


def test_slices_that_hold_one_value_throughout_are_not_named(labeller, make_volume):
    named = labeller.label(make_volume("blank", "chest", "chest", "blank"))
    assert [each.stations for each in named.slices] == [(), ("chest",), ("chest",), ()]
    assert set(named.slices[0].station_probabilities.values()) == {0.0}
    assert str(named.notices[-1]).startswith("2 of 4 slices not named: they hold one value throughout")
    black = labeller.label(MedicalImage(np.full((2, 8, 8), np.nan, np.float32), source=Path("x")))
    blue = labeller.label(MedicalImage(np.full((1, 8, 8, 3), (0, 64, 200), np.uint8), source=Path("x")))
    for each in (black, blue):
        assert (each.modality.label, each.modality.evidence) == (None, "no slice shows anything")
    assert [(each.label, each.first, each.last) for each in black.stations] == [(None, 0, 1)]


@pytest.mark.slow
def test_a_long_series_takes_no_more_memory_than_a_few_slices(labeller):
    volume = MedicalImage(np.zeros((300, 64, 64), np.uint8), source=Path("x"), affine=np.eye(4), modality="CT")
    tracemalloc.start()
    labeller.label(volume, smooth=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * 64 * 64 * 3 * 4 / 3


@pytest.mark.slow
def test_threads_share_a_labeller(build_tiny):
    labeller, rng = AnatomyLabeller(build_tiny("pocket")), np.random.default_rng(0)
    images = [
        MedicalImage(rng.random((2 + place % 5, 32 + place, 40), np.float32), source=Path(f"{place}"), affine=np.eye(4))
        for place in range(8)
    ]
    expected = [labeller.label(image).to_dict() for image in images]
    with ThreadPoolExecutor(8) as pool:
        found = [series.to_dict() for series in pool.map(labeller.label, images * 2)]
    assert found == expected * 2


def test_what_readers_had_to_assume_is_handed_on(labeller, make_volume):
    one, two = Notice("slices left out", "another echo", count=2, total=9), Notice("units guessed", "no header")
    named = labeller.label([make_volume("head", "head", notices=(one,)), make_volume("head", notices=(one, two))])
    assert named.notices == (one, two)
    assert [each["message"] for each in named.to_dict()["notices"]] == [str(one), str(two)]


MR = Answer("MR", None, "header")


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("CT", "CT"),
        ("DX", "X-ray"),
        ("US", "ultrasound"),
        ("OP", "fundus"),
        ("XC", "photograph"),
        ("SM", "microscopy"),
        ("PT", None),
    ],
)
def test_codes_become_labels(make_volume, code, label):
    answer = header_modality(make_volume("head", modality=code, header={"Modality": code}))
    assert (answer.label, answer.source) == (label, "header")


def test_screen_shots_and_unknown_files_leave_it_to_the_pixels(make_volume):
    assert header_modality(make_volume("head", modality="OT", header={"Modality": "OT"})) is None
    assert header_modality(make_volume("head", modality=None)) is None


def test_values_in_hu_are_said_to_be_such(make_volume):
    assert header_modality(make_volume("head", modality="CT")).source == "values"


def test_a_header_that_names_another_technique_is_not_overruled(make_volume):
    header = {"ScanningSequence": "GR", "EchoTime": "40", "RepetitionTime": "500"}
    answer = header_protocol(make_volume("head", modality="MR", header=header), MR)
    assert (answer.label, answer.source) == (None, "header")
    assert "T2*" in answer.evidence


def test_a_header_that_says_nothing_leaves_the_protocol_to_the_pixels(make_volume):
    assert header_protocol(make_volume("head", modality="MR"), MR) is None
    assert header_protocol(make_volume("head", modality=None), MR) is None
    assert header_protocol(make_volume("head"), Answer("CT", None, "header")).label is None


def test_oblique_slices_are_called_so_with_their_angle(make_volume):
    turn = np.eye(4)
    cosine, sine = np.cos(np.radians(40)), np.sin(np.radians(40))
    turn[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
    volume = replace(make_volume("head"), affine=turn @ make_volume("head").affine, plane="oblique")
    answer = header_plane([volume], MR)
    assert (answer.label, answer.evidence) == ("oblique", "40° from axial")


def test_radiographs_have_no_plane(make_volume):
    picture = make_volume("chest", affine=None, plane=None)
    assert header_plane([picture], Answer("X-ray", None, "header")).label is None
    assert header_plane([picture], MR) is None


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_without_weights_it_is_said_where_they_belong(no_weights):
    with pytest.raises(ModelError, match="vesalius weights fetch pubmedclip-vit32") as caught:
        load_namer("pubmedclip")
    assert str(no_weights / "pubmedclip-vit32" / "PubMedCLIP_ViT32.pth") in str(caught.value)


def test_a_vocabulary_is_no_model(no_weights):
    with pytest.raises(ModelError, match="not a model"):
        load_namer("pubmedbert-vocabulary")


def test_an_unknown_model_is_refused(no_weights):
    for opened in (load_namer, read_calibration, AnatomyLabeller):
        with pytest.raises(
            ModelError, match=r"Did you mean 'pocket'\? Available: biomedclip, .*pubmedclip.* will do, too"
        ):
            opened("pokcet")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pocket", "clip_vit_b32"])
def test_a_checkpoint_brings_its_calibration(build_tiny, tmp_path, name):
    scaling = {"labels": ["liver"], "slopes": [1.0], "offsets": [0.0]}
    notes = {"naming": {"calibration": {"organs": scaling}, "threshold": 0.6}}
    save_model(build_tiny(name), tmp_path / "model.safetensors", notes)
    model, calibration = load_namer(tmp_path)
    assert model.recipe.name == name
    assert calibration.least_probability == 0.6
    labeller = AnatomyLabeller(tmp_path / "model.safetensors")
    named = labeller.label(MedicalImage(torch.rand(1, 40, 40).numpy(), source=tmp_path))
    assert list(named.slices[0].organ_probabilities) == ["liver"]
    assert named.calibrated == ("organs",)


LABELS = ("head", "chest")


def found(*rows):
    return Probabilities(LABELS, np.array(rows))


def test_only_placed_stacks_of_slices_are_smoothed(make_volume):
    assert smoothing_of(make_volume("head", "head")) == "ordered"
    assert smoothing_of(make_volume("head", "head", plane="sagittal")) == "averaged"
    assert smoothing_of(make_volume("head")) is None
    assert smoothing_of(make_volume("head", "head", affine=None, plane=None)) is None


def test_averaged_slices_show_the_same():
    named = name_stations(found([0.9, 0.1], [0.9, 0.1], [0.0, 0.7]), [0, 1, 2], "averaged", 0.5)
    assert named.tolist() == [[True, False]] * 3


def test_a_run_that_is_unsure_on_the_whole_is_not_named():
    named = name_stations(found([0.4, 0.3], [0.45, 0.3]), [0.0, 10.0], "ordered", 0.5)
    assert not named.any()
    assert name_stations(found([0.45, 0.3], [0.7, 0.3]), [0.0, 10.0], "ordered", 0.5)[:, 0].all()


def test_organs_are_named_from_close_slices():
    values = found([0.9, 0.0], [0.2, 0.0], [0.9, 0.0])
    assert name_organs(values, [0, 3, 6], "ordered", 0.5)[:, 0].tolist() == [True, True, True]
    assert name_organs(values, [0, 3, 6], None, 0.5)[:, 0].tolist() == [True, False, True]


def test_the_likeliest_is_kept_with_its_probability_even_where_it_is_not_named():
    stations = found([0.4, 0.3]), np.zeros((1, 2), bool)
    name = build_names(stations, stations, [(None, None)], 7)[0]
    assert (name.index, name.station.label, name.station.probability) == (7, None, 0.4)


def test_no_organ_is_likelier_than_its_stations():
    organs = Probabilities(ORGANS, np.full((2, len(ORGANS)), 0.9))
    stations = Probabilities(STATIONS, np.tile([0.1, 0.2, 0.3, 0.6, 0.95, 0.05], (2, 1)))
    capped = dict(zip(ORGANS, cap_organs(organs, stations).values[0], strict=True))
    assert (capped["brain"], capped["liver"], capped["intestine"], capped["knee"]) == (0.1, 0.3, 0.6, 0.9)
