import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ConfigError, DataError, ModelError, PromptError
from vesalius.evaluation.metrics import dice, precision, recall, surface_distances
from vesalius.evaluation.rows import METRICS, Row
from vesalius.evaluation.segmentation import Evaluation, Truth, evaluate
from vesalius.evaluation.statistics import summarise
from vesalius.imaging import write_mask
from vesalius.models.encoder import MaskPrediction
from vesalius.prompts import variants


@pytest.fixture
def dataset(tiny_dataset) -> SegmentationDataset:
    return SegmentationDataset(tiny_dataset, "test")


def count_calls(monkeypatch, model, name: str) -> list[int]:
    """How much the model is given at each call of one of its steps."""
    sizes: list[int] = []
    step = getattr(model, name)
    monkeypatch.setattr(model, name, lambda batch: sizes.append(len(batch)) or step(batch))
    return sizes


class TestOnePass:
    @pytest.mark.slow
    def test_every_image_and_wording_has_a_row_equal_to_the_model_s_own_answer(self, build_tiny, dataset):
        model = build_tiny("pocket")
        counted = []
        evaluation = evaluate(model, dataset, on_image=lambda: counted.append(1))
        assert len(counted) == len(dataset)
        questions = [("p0", 0), ("p1", 0), ("p2", 0), ("p2", 1), ("p3", 0)] * len(dataset)
        assert [(each.family, each.variant) for each in evaluation.rows] == questions
        for each in evaluation.rows:
            sample = next(sample for sample in dataset if sample.record.img_name == each.image)
            assert each.prompt == variants(sample.record.prompts, each.family)[each.variant]
            with torch.inference_mode():
                alone = model.predict(sample.image[None], [each.prompt])
            mask, truth = alone.logits[:, 0] > 0, sample.mask > 0.5
            # A batch of one may sum in another order, which moves a pixel at the threshold at most.
            assert each.predicted_pixels == pytest.approx(int(mask.sum()), abs=2)
            assert each.true_pixels == int(truth.sum())
            for name, score in {"dice": dice, "precision": precision, "recall": recall}.items():
                assert getattr(each, name) == pytest.approx(score(mask, truth).item(), abs=0.01)
            nsd = surface_distances(mask[0].numpy(), truth[0].numpy()).nsd(2.0)
            assert each.nsd == pytest.approx(nsd, abs=0.01)
            assert each.existence == pytest.approx(alone.existence.sigmoid().item(), abs=1e-5)
            assert each.distance_unit == "px"

    @pytest.mark.parametrize("name", ["clipseg", "pocket"])
    def test_an_image_is_encoded_once_and_so_is_a_prompt(self, build_tiny, dataset, monkeypatch, name):
        model = build_tiny(name)
        images, texts = (count_calls(monkeypatch, model, step) for step in ("encode_image", "encode_text"))
        evaluate(model, dataset)
        assert images == [1] * len(dataset)
        assert texts == [
            len({"", "polyp", "round polyp", "oval polyp", "one pink polyp, located in left of the image"})
        ]

    def test_a_model_that_reads_no_text_is_asked_once_an_image(self, build_tiny, dataset, monkeypatch):
        model, calls = build_tiny("unet_d"), []
        decode = model.decode
        monkeypatch.setattr(
            model, "decode", lambda image, text: calls.append(len(text.embedding)) or decode(image, text)
        )
        rows = evaluate(model, dataset).rows
        assert calls == [1] * len(dataset)
        assert {row.prompt for row in rows} > {"", "polyp", "round polyp"}
        assert len({row.dice for row in rows if row.image == rows[0].image}) == 1
        assert [row.variant for row in rows if row.family == "p2"] == [0, 1] * len(dataset)

    def test_only_the_asked_families_are_scored(self, build_tiny, dataset):
        evaluation = evaluate(build_tiny("unet_d"), dataset, ["p3", "p1"])
        assert evaluation.families() == ["p1", "p3"]

    def test_a_family_that_a_record_lacks_is_named(self, build_tiny, dataset):
        with pytest.raises(PromptError, match=r"test\.json, record of 'test_0\.png'.*lack 'p7'.*--prompts"):
            evaluate(build_tiny("unet_d"), dataset, ["p7"])

    def test_the_tolerance_decides_what_is_near(self, build_tiny, dataset):
        near, far = (evaluate(build_tiny("unet_d"), dataset, ["p1"], tolerance=limit) for limit in (0, 1000))
        assert near.mean("nsd") < far.mean("nsd") == 1
        assert far.rule.endswith("NSD within 1000 px")

    @pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
    def test_a_tolerance_that_is_none_is_refused(self, build_tiny, dataset, tolerance):
        with pytest.raises(ConfigError, match="tolerance of NSD must be 0 or more"):
            evaluate(build_tiny("unet_d"), dataset, tolerance=tolerance)


class TestPixelSpacing:
    @pytest.fixture
    def radiographs(self, write_dataset) -> SegmentationDataset:
        """One DICOM file with pixels of 0.5 × 0.25 mm, and a picture."""
        root = write_dataset("radiographs")
        write_radiograph(root / "images" / "test_0.dcm", shape=(40, 56), spacing=(0.5, 0.25))
        records = json.loads((root / "anns" / "test.json").read_text())
        records[0]["img_name"] = "test_0.dcm"
        (root / "anns" / "test.json").write_text(json.dumps(records))
        return SegmentationDataset(root, "test")

    def test_distances_are_in_millimetres_where_an_image_says_how_large_its_pixels_are(self, build_tiny, radiographs):
        model = build_tiny("unet_d")
        evaluation = evaluate(model, radiographs, ["p1"])
        assert [each.distance_unit for each in evaluation.rows] == ["mm", "px"]
        sample = radiographs[0]
        with torch.inference_mode():
            mask = model(sample.image[None], ["polyp"])[0, 0] > 0
        distances = surface_distances(mask.numpy(), sample.mask[0].numpy() > 0.5, (0.5, 0.25))
        assert evaluation.rows[0].hd95 == pytest.approx(distances.hd95(), abs=0.5)
        assert evaluation.rows[0].nsd == pytest.approx(distances.nsd(2.0), abs=0.02)


def write_radiograph(path: Path, shape: tuple[int, int], spacing: tuple[float, float]) -> None:
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    file = Dataset()
    file.SOPClassUID, file.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", generate_uid()
    file.Modality, file.PixelSpacing = "CR", list(spacing)
    file.Rows, file.Columns = shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
    file.PixelData = np.random.default_rng(0).integers(0, 255, shape, np.uint8).tobytes()
    file.file_meta = Dataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.save_as(path, enforce_file_format=True)


class TestImagesWithNothingToFind:
    @pytest.fixture
    def half_empty(self, write_dataset) -> SegmentationDataset:
        root = write_dataset("half_empty")
        write_mask(root / "masks" / "test_1.png", np.zeros((40, 56), bool))
        return SegmentationDataset(root, "test")

    @pytest.mark.parametrize(("bias", "score", "hd95"), [(-1e6, 1.0, 0.0), (1e6, 0.0, None)])
    def test_an_empty_answer_is_right_and_any_other_wrong(self, build_tiny, half_empty, bias, score, hd95):
        model = build_tiny("unet_d")
        with torch.no_grad():
            model.unet.to_logits.bias.fill_(bias)
        scored = evaluate(model, half_empty, ["p1"]).rows[1]
        assert {getattr(scored, name) for name in ("dice", "iou", "precision", "recall", "nsd")} == {score}
        assert scored.hd95 == hd95
        assert scored.true_pixels == 0

    def test_what_is_not_a_number_is_no_empty_answer(self, build_tiny, half_empty):
        model = build_tiny("unet_d")
        with torch.no_grad():
            model.unet.to_logits.bias.fill_(torch.nan)
        with pytest.raises(ModelError, match="the model's answer is not a number; its weights are damaged"):
            evaluate(model, half_empty, ["p1"])


class TestAbsentThings:
    @pytest.fixture
    def asking(self, write_dataset, add_absent) -> SegmentationDataset:
        """Each test image has a second record, which asks for what it does not show."""
        return SegmentationDataset(add_absent(write_dataset("asking"), "test"), "test")

    @pytest.mark.parametrize("prompts", [None, ["p2"]])
    @pytest.mark.parametrize(("bias", "unmarked"), [(-1e6, 4), (1e6, 0)])
    def test_they_are_counted_apart_and_enter_no_mean(self, build_tiny, asking, bias, unmarked, prompts):
        model = build_tiny("unet_d")
        with torch.no_grad():
            model.unet.to_logits.bias.fill_(bias)
        evaluation = evaluate(model, asking, prompts)
        assert all(each.true_pixels for each in evaluation.rows)
        if not unmarked:
            assert evaluation.mean("recall") == 1
        else:
            assert evaluation.mean("dice") == 0
        assert (evaluation.absent.count, evaluation.absent.true_negatives) == (4, unmarked)
        assert evaluation.to_dict()["absent"] == {"answers": 4, "true_negatives": unmarked / 4}

    def test_without_them_no_share_is_told(self, build_tiny, dataset):
        told = evaluate(build_tiny("unet_d"), dataset, ["p1"]).to_dict()["absent"]
        assert told == {"answers": 0, "true_negatives": None}

    def test_alone_they_cannot_be_scored(self, build_tiny, asking):
        path = asking.root / "anns" / "test.json"
        path.write_text(json.dumps([each for each in json.loads(path.read_text()) if each.get("absent")]))
        with pytest.raises(DataError, match=r"test\.json: every record asks for what its image does not show"):
            evaluate(build_tiny("unet_d"), SegmentationDataset(asking.root, "test"))


ROW = Row("a", "p1", 0, "polyp", 0.5, 1 / 3, 0.5, 0.5, 4.0, 0.25, "px", 10, 10, None)


def row(image: str, family: str, score: float, **others: object) -> Row:
    return replace(ROW, image=image, family=family, dice=score, **others)


def test_wordings_count_once_an_image_and_families_once_a_mean():
    evaluation = Evaluation((
        row("a", "p1", 1.0),
        row("b", "p1", 0.0),
        row("a", "p2", 0.2),
        row("a", "p2", 0.4, variant=1),
        row("b", "p2", 0.9),
    ))  # fmt: skip
    assert evaluation.families() == ["p1", "p2"]
    assert evaluation.images() == 2
    assert evaluation.mean("dice", "p1") == pytest.approx(0.5)
    assert evaluation.mean("dice", "p2") == pytest.approx((0.3 + 0.9) / 2)
    assert evaluation.mean("dice") == pytest.approx((0.5 + 0.6) / 2)


def test_a_family_that_was_not_asked_has_no_mean():
    assert Evaluation((ROW,)).mean("dice", "p9") is None


def test_an_image_of_several_records_counts_once():
    evaluation = Evaluation((row("a", "p1", 1.0), row("a", "p1", 0.0), row("b", "p1", 1.0)))
    assert evaluation.images() == 2
    assert evaluation.mean("dice") == pytest.approx(0.75)


def test_images_with_nothing_to_find_are_counted_and_can_be_left_out():
    evaluation = Evaluation((row("a", "p1", 0.5), row("normal", "p1", 1.0, true_pixels=0)))
    assert evaluation.empty_images() == 1
    assert evaluation.mean("dice") == 0.75
    assert evaluation.mean("dice", present_only=True) == 0.5
    assert Evaluation(evaluation.rows[1:]).mean("dice", present_only=True) is None


def test_answers_without_hd95_are_left_out_and_counted():
    rows = (row("a", "p1", 1.0, hd95=3.0), row("b", "p1", 0.0, hd95=None), row("b", "p2", 0.0, hd95=None))
    evaluation = Evaluation(rows)
    assert evaluation.mean("hd95", "p1") == evaluation.mean("hd95") == 3
    assert evaluation.mean("hd95", "p2") is None
    assert evaluation.undefined() == 2


def test_pixels_and_millimetres_are_never_averaged():
    evaluation = Evaluation((ROW, row("b", "p1", 0.5, distance_unit="mm")))
    assert evaluation.distance_unit == "mm or px"
    assert evaluation.metrics == ["dice", "iou", "precision", "recall"]
    assert evaluation.to_dict()["summary"].keys() == set(evaluation.metrics)
    with pytest.raises(DataError, match="hd95 cannot be averaged"):
        evaluation.mean("hd95")


class TestSummary:
    @pytest.fixture
    def evaluation(self) -> Evaluation:
        """Eight images of two patients, one of them with nothing to find."""
        scores = enumerate((0.9, 0.8, 0.95, 0.7, 0.2, 0.6, 0.85, 1.0))
        rows = [row(f"{'ab'[number % 2]}_{number}", "p1", score) for number, score in scores]
        return Evaluation((*rows[:-1], replace(rows[-1], true_pixels=0), row("a_0", "p2", 0.4, hd95=None)), 3.0)

    def test_it_says_how_everything_was_measured(self, evaluation):
        content = evaluation.to_dict()
        assert content["rule"].startswith("threshold 0.5, resolution of the files given, both masks empty = 1")
        assert content["rule"].endswith("NSD within 3 px")
        counts = ("images", "images_with_empty_truth", "answers_without_hd95")
        assert [content[name] for name in counts] == [8, 1, 1]

    def test_it_holds_every_metric_over_all_families_and_of_each(self, evaluation):
        content = evaluation.to_dict()
        assert list(content["prompts"]) == ["p1", "p2"]
        assert set(content["summary"]) == set(content["prompts"]["p2"]) == set(METRICS)

    def test_means_and_medians_have_the_intervals_of_the_statistics(self, evaluation):
        told = evaluation.to_dict()["prompts"]["p1"]["dice"]
        for suffix, present_only in (("", False), ("_present", True)):
            known = summarise(evaluation.rows, "dice", present_only=present_only).families["p1"]
            assert told[f"mean{suffix}"] == known.mean.value
            assert told[f"mean{suffix}"] == pytest.approx(evaluation.mean("dice", "p1", present_only=present_only))
            assert told[f"mean{suffix}_interval"] == [known.mean.low, known.mean.high]
            assert told[f"median{suffix}_interval"] == [known.median.low, known.median.high]
        assert (told["images"], told["images_present"]) == (8, 7)

    def test_intervals_are_drawn_once_and_once_more_where_some_masks_are_empty(self, evaluation):
        assert evaluation.summarise("dice") is evaluation.summarise("dice")
        assert evaluation.summarise("dice") is not evaluation.summarise("dice", group_regex="^.")
        assert evaluation.summarise("dice") != evaluation.summarise("dice", present_only=True)
        shown = Evaluation(tuple(each for each in evaluation.rows if each.true_pixels))
        assert shown.summarise("dice") is shown.summarise("dice", present_only=True)

    def test_what_has_no_score_is_none(self, evaluation):
        told = evaluation.to_dict()["prompts"]["p2"]["hd95"]
        assert told["mean"] is told["mean_interval"] is None
        assert told["images"] == 0

    def test_patients_can_be_drawn_instead_of_images(self, evaluation):
        images, patients = (evaluation.to_dict(group_regex=regex)["summary"]["dice"] for regex in (None, "^[ab]"))
        assert images["mean"] == patients["mean"]
        assert images["mean_interval"] != patients["mean_interval"]
        with pytest.raises(ConfigError, match="must match every image's name"):
            evaluation.to_dict(group_regex="^a")


MASK = torch.zeros(1, 6, 8, dtype=torch.bool)
MASK[:, 2:4, 1:5] = True
EMPTY = torch.zeros_like(MASK)


def answer(mask: torch.Tensor, existence: torch.Tensor | None = None) -> MaskPrediction:
    return MaskPrediction(torch.where(mask, 0.1, -0.1)[None], existence)


def test_scores_by_hand():
    shifted = MASK.roll(2, dims=2)
    row = Truth("a.png", MASK).score(answer(shifted, torch.zeros(1)), "polyp")
    assert (row.image, row.prompt) == ("a.png", "polyp")
    # Half of eight pixels in common; both outlines are whole, and their far ends two pixels apart.
    assert (row.dice, row.precision, row.recall) == (0.5, 0.5, 0.5)
    assert row.iou == pytest.approx(4 / 12)
    assert (row.hd95, row.nsd, row.distance_unit) == (2, 1, "px")
    assert (row.true_pixels, row.predicted_pixels, row.existence) == (8, 8, 0.5)


def test_distances_and_tolerance_are_in_millimetres_where_the_spacing_is_known():
    shifted = MASK.roll(2, dims=2)
    row = Truth("a.dcm", MASK, spacing_mm=(1.0, 3.0), tolerance=5.9).score(answer(shifted), "polyp")
    # Of eight columns of two pixels each, four overlap and two are one column, 3 mm, away.
    assert (row.hd95, row.distance_unit) == (6, "mm")
    assert row.nsd == pytest.approx(12 / 16)
    assert row.existence is None


def test_logits_above_0_are_inside():
    logits = torch.tensor([[[[0.0, 1e-6, -1e-6]]]])
    assert Truth("a.png", torch.ones(1, 1, 3, dtype=torch.bool)).score(MaskPrediction(logits), "").predicted_pixels == 1


@pytest.mark.parametrize(
    ("truth", "found", "score", "hd95"), [(EMPTY, EMPTY, 1, 0.0), (EMPTY, MASK, 0, None), (MASK, EMPTY, 0, None)]
)
def test_two_empty_masks_agree_and_one_agrees_with_nothing(truth, found, score, hd95):
    row = Truth("a.png", truth).score(answer(found), "polyp")
    assert {row.dice, row.iou, row.precision, row.recall, row.nsd} == {score}
    assert row.hd95 == hd95
