from dataclasses import replace

import pytest

from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.rows import METRICS, Row
from vesalius.evaluation.segmentation import Evaluation
from vesalius.evaluation.statistics import summarise

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
