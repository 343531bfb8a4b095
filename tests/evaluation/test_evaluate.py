import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import PromptError
from vesalius.evaluation.metrics import dice
from vesalius.evaluation.segmentation import Evaluation, Row, evaluate, write_rows


@pytest.fixture
def dataset(tiny_dataset) -> SegmentationDataset:
    return SegmentationDataset(tiny_dataset, "test")


def row(image: str, family: str, score: float, *, true_pixels: int = 1) -> Row:
    return Row(image, family, family, score, score / 2, true_pixels, 1, None)


def test_every_image_and_wording_has_a_row_equal_to_the_model_s_own_answer(build_tiny, dataset):
    model = build_tiny("pocket")
    counted = []
    evaluation = evaluate(model, dataset, on_image=lambda: counted.append(1))
    assert len(counted) == len(dataset)
    assert [each.family for each in evaluation.rows] == ["p0", "p1", "p2", "p2", "p3"] * len(dataset)
    for each in evaluation.rows:
        sample = next(sample for sample in dataset if sample.record.img_name == each.image)
        with torch.inference_mode():
            alone = model(sample.image[None], [each.prompt])[:, 0] > 0
        # A batch of one may sum in another order, which moves a pixel at the threshold at most.
        assert each.predicted_pixels == pytest.approx(int(alone.sum()), abs=2)
        assert each.dice == pytest.approx(dice(alone, sample.mask > 0.5).item(), abs=0.01)
        assert each.true_pixels == int(sample.mask.sum())


def test_only_the_asked_families_are_scored(build_tiny, dataset):
    evaluation = evaluate(build_tiny("unet_d"), dataset, ["p3", "p1"])
    assert evaluation.families() == ["p1", "p3"]


def test_a_model_that_reads_no_text_is_asked_once_an_image(build_tiny, dataset, monkeypatch):
    model, calls = build_tiny("unet_d"), []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda image, text: calls.append(len(text.embedding)) or decode(image, text))
    rows = evaluate(model, dataset).rows
    assert calls == [1] * len(dataset)
    assert {row.prompt for row in rows} > {"", "polyp", "round polyp"}
    assert len({row.dice for row in rows if row.image == rows[0].image}) == 1


def test_a_family_that_a_record_lacks_is_named(build_tiny, dataset):
    with pytest.raises(PromptError, match=r"test\.json, record of 'test_0\.png'.*lack 'p7'.*--prompts"):
        evaluate(build_tiny("unet_d"), dataset, ["p7"])


def test_wordings_count_once_an_image_and_families_once_a_mean():
    rows = (row("a", "p1", 1.0), row("b", "p1", 0.0), row("a", "p2", 0.2), row("a", "p2", 0.4), row("b", "p2", 0.9))
    evaluation = Evaluation(rows)
    assert evaluation.mean("dice", "p1") == pytest.approx(0.5)
    assert evaluation.mean("dice", "p2") == pytest.approx((0.3 + 0.9) / 2)
    assert evaluation.mean("dice") == pytest.approx((0.5 + 0.6) / 2)


def test_images_without_the_target_can_be_left_out():
    evaluation = Evaluation((row("a", "p1", 0.5), row("normal", "p1", 1.0, true_pixels=0)))
    assert evaluation.mean("dice", present_only=True) == pytest.approx(0.5)
    assert Evaluation(evaluation.rows[1:]).mean("dice", present_only=True) is None
    summary = evaluation.to_dict()
    assert summary["images_with_empty_truth"] == 1
    assert summary["summary"]["dice"] == {"mean": 0.75, "mean_present": 0.5}


def test_rows_are_written_as_csv(tmp_path: Path):
    write_rows(Evaluation((row("a", "p1", 0.5),)), tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        (read,) = csv.DictReader(file)
    assert SimpleNamespace(**read).image == "a"
    assert float(read["dice"]) == 0.5
