import json

import numpy as np
import pytest

from vesalius.cli import main
from vesalius.errors import ModelError
from vesalius.imaging import MedicalImage, write_rgb
from vesalius.knowledge import Knowledge, LearntTarget, parse_learnt_targets
from vesalius.models.checkpoints import save_model
from vesalius.predict import Predictor
from vesalius.prompts.bank import KnownTarget
from vesalius.prompts.targets import resolve
from vesalius.runtime import open_runtime

NOTES = {
    "targets": {
        "kidney": {"modalities": ["ct", "mr"], "pictures": 97},
        "polyp": {"modalities": ["endoscopy"], "pictures": 2178},
    }
}
TARGETS = [LearntTarget("kidney", ("ct", "mr"), 97), LearntTarget("polyp", ("endoscopy",), 2178)]
PICTURE = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)


@pytest.fixture
def knowledge():
    return Knowledge(TARGETS)


@pytest.fixture(scope="module")
def checkpoint(build_tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("learnt") / "model.safetensors"
    save_model(build_tiny("pocket"), path, NOTES)
    return path


@pytest.mark.parametrize(("phrase", "target"), [("left kidney", "kidneys"), ("small polyp at the top left", "polyp")])
def test_what_was_learnt_is_asked_in_the_user_s_words(knowledge, phrase, target):
    found = knowledge.understand(phrase)
    assert (found.asked, found.known, found.expected, found.target) == (phrase, True, True, target)


def test_a_misspelt_phrase_is_asked_by_its_plain_name(knowledge):
    found = knowledge.understand("kidny")
    assert found.asked == "kidneys"
    assert "read as" in found.remark


@pytest.mark.parametrize("phrase", ["ren sinister", "die Niere", "les reins", "riñón derecho"])
def test_a_synonym_is_asked_by_the_plain_name_that_the_model_learnt(knowledge, phrase):
    assert knowledge.understand(phrase).asked == "kidneys"


@pytest.mark.parametrize("phrase", ["fracture", "kidney stone", "liver", "a cat"])
def test_what_was_not_learnt_is_not_asked(knowledge, phrase):
    found = knowledge.understand(phrase)
    assert (found.asked, found.known, found.target) == (None, False, None)
    assert phrase in found.remark
    assert "nearest" in found.remark


@pytest.mark.parametrize(
    ("modality", "expected"), [("CT", True), ("MR", True), (None, True), ("OT", True), ("ES", False)]
)
def test_a_target_on_pictures_it_was_not_learnt_on_is_not_expected(knowledge, modality, expected):
    found = knowledge.understand("kidneys", modality)
    assert found.known
    assert found.expected == expected
    assert (found.asked is not None) == expected
    assert ("not expected on ES" in found.remark) == (not expected)


@pytest.mark.parametrize(("modality", "expected"), [("DMS", True), ("XC", True), ("OP", False)])
def test_skin_lesions_are_expected_on_what_dermoscopes_write(modality, expected):
    skin = Knowledge([LearntTarget("skin_lesion", ("dermoscopy",), 9)])
    assert skin.understand("skin lesion", modality).expected == expected


@pytest.mark.parametrize("phrase", ["no kidneys", "not the kidneys", "kidney-free"])
def test_a_denial_is_answered_without_the_model(knowledge, phrase):
    found = knowledge.understand(phrase)
    assert (found.asked, found.target, found.known, found.refusal) == (None, None, True, "a denial")
    assert found.remark.startswith(f"'{phrase}': denies kidneys, so nothing is marked")


def test_a_word_for_a_target_is_expected_where_that_is():
    skin = Knowledge([LearntTarget("optic_disc", ("fundus",), 9)])
    assert skin.understand("disc", "OP").candidates == ("optic disc",)
    refused = skin.understand("disc", "MR")
    assert (refused.refusal, refused.remark) == (
        "not expected here",
        "'disc': no learnt disc is expected on MR; learnt: optic disc (fundus photographs).",
    )


@pytest.fixture(scope="module")
def pocket():
    return Knowledge.read("pocket", open_runtime("pocket"))


@pytest.mark.parametrize(
    "phrase",
    [
        "suprasellar extension of the adenoma", "prolactinoma",
        "the elevated lesion that should be removed", "the chamber inside the muscular ring", "optic disc rim and cup",
        "the space between the lungs", "the muscle under the heart", "adenoma of the adrenal", "wall of the bladder",
        "kidney stone", "LAD",
    ],
)  # fmt: skip
def test_the_embedded_model_would_rather_not_answer_than_outline_something_else(pocket, phrase):
    assert not pocket.understand(phrase).known


@pytest.mark.parametrize(
    ("phrase", "target"),
    [
        ("LA blood pool", "left atrium"),
        ("atrium dextrum", "right atrium"),
        ("arteria carotis communis", "carotid artery"),
        ("organs that make the urine", "kidneys"),
        ("the large organ under the right dome of the diaphragm", "liver"),
        ("calvarial bone", "skull"),
        ("the dark regions on either side of the heart", "lungs"),
        ("gland beneath the bladder", "prostate"),
        ("brain without skull and scalp", "brain"),
    ],
)
def test_the_embedded_model_understands_synonyms_and_descriptions(pocket, phrase, target):
    found = pocket.understand(phrase)
    assert (found.target, found.asked) == (target, target)


def test_a_model_that_tells_nothing_is_asked_everything():
    found = Knowledge().understand("a cat")
    assert (found.asked, found.known) == ("a cat", True)


def test_notes_tell_what_was_learnt():
    assert parse_learnt_targets(NOTES) == TARGETS
    assert parse_learnt_targets({}) == []


@pytest.mark.parametrize(
    "told",
    [
        {"polyp": {"pictures": 3}},
        {"polyp": None},
        {"polyp": {"modalities": [], "pictures": "x"}},
        {"polyp": {"modalities": [], "pictures": float("inf")}},
        None,
        5,
        "x",
        [1],
    ],
)
def test_damaged_notes_are_refused(build_tiny, tmp_path, told):
    save_model(build_tiny("pocket"), tmp_path / "model.safetensors", {"targets": told})
    with pytest.raises(ModelError, match="what it says of its targets is damaged"):
        Knowledge.read(tmp_path)


def test_the_embedded_model_knows_forty_targets_and_more():
    targets = {each.name: each for each in Knowledge.read("pocket").targets}
    assert len(targets) >= 40
    assert targets["polyp"].modalities == ("endoscopy",)
    assert targets["liver"].pictures > 100
    assert "ct" in targets["kidney"].modalities


def test_unknown_phrases_are_answered_in_their_place_and_mark_nothing(checkpoint):
    polyp, cat, kidneys = Predictor(checkpoint).set_image(PICTURE).predict(["polyp", "a cat", "kidneys"])
    assert (polyp.known, cat.known, kidneys.known) == (True, False, True)
    assert (polyp.existence is not None, cat.existence, kidneys.existence is not None) == (True, None, True)
    assert cat.mask.shape == (40, 50)
    assert not cat.mask.any()
    alone = Predictor(checkpoint).set_image(PICTURE).predict("kidneys")
    np.testing.assert_allclose(kidneys.logits, alone.logits, atol=1e-5)


def test_slices_of_a_series_are_gated_beside_unknown_phrases(checkpoint):
    volume = MedicalImage((np.stack([PICTURE[..., 0]] * 5) * 255).astype(np.uint8), source="memory", modality="CT")
    answers = list(Predictor(checkpoint).predict_slices(volume.slices(), ["a cat", "kidneys", "polyp"]))
    assert len(answers) == 5
    for cat, kidneys, polyp in answers:
        assert (cat.run_existence, polyp.run_existence) == (None, None)
        assert kidneys.run_existence is not None
        assert not polyp.known  # endoscopy, not CT


def test_the_command_says_what_was_not_learnt(checkpoint, tmp_path, capsys):
    write_rgb(tmp_path / "scan.png", PICTURE)
    out = tmp_path / "out"
    main(
        ["segment", str(tmp_path / "scan.png"), "polyp", "a cat", "--model", str(checkpoint), "-o", str(out), "--json"]
    )
    polyp, cat = json.loads(capsys.readouterr().out)["results"]
    assert polyp["known"]
    assert polyp["existence"] is not None
    assert (cat["known"], cat["prompt"]) == (False, "a cat")
    assert "existence" not in cat
    assert "mask" not in cat
    assert not list(out.glob("*cat*"))


def test_the_command_answers_when_nothing_was_learnt_of_it(checkpoint, tmp_path, capsys):
    write_rgb(tmp_path / "scan.png", PICTURE)
    main(["segment", str(tmp_path / "scan.png"), "fracture", "--model", str(checkpoint), "-o", str(tmp_path / "out")])
    told = capsys.readouterr()
    assert "not learnt" in told.out
    assert "'fracture' is not among what was learnt" in told.err
    assert [each.name for each in (tmp_path / "out").glob("[!.]*")] == ["segmentation.json"]


def test_the_command_lists_what_a_model_learnt(checkpoint, capsys):
    main(["models", str(checkpoint), "--json"])
    assert json.loads(capsys.readouterr().out)["targets"][0] == {
        "target": "kidneys",
        "modalities": ["ct", "mr"],
        "pictures": 97,
    }
    main(["models", str(checkpoint)])
    assert "X-rays" not in (told := capsys.readouterr().out)
    assert "2178" in told


def test_a_plain_name_is_read_as_the_tables_would_read_it(pocket):
    """The short way past the tables, which spares their reading."""
    known = [KnownTarget(each.name, frozenset(each.modalities)) for each in pocket.targets]
    for target in pocket.targets:
        found = resolve(target.phrase, known)
        assert (found.kind, found.target, found.remark) == ("target", target.name, "")
        understood = pocket.understand(target.phrase)
        assert (understood.asked, understood.target, understood.remark) == (target.phrase, target.phrase, "")
