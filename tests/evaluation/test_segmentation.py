import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.dataset import Dataset

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ConfigError, PromptError
from vesalius.evaluation.metrics import dice, precision, recall, surface_distances
from vesalius.evaluation.segmentation import evaluate
from vesalius.imaging import write_mask
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
