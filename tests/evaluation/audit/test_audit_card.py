import json
from dataclasses import replace

import numpy as np
import pytest

from vesalius.evaluation.audit.card import MEASURES, UNCLEAR, AuditCard, Check, fill_card, read_checks
from vesalius.evaluation.audit.page import describe_trust, write_audit_page
from vesalius.evaluation.audit.run import Audit
from vesalius.evaluation.audit.session import SubstitutionResult
from vesalius.evaluation.calibration import Reliability
from vesalius.evaluation.statistics import Bootstrap, Interval

FEW = Bootstrap(resamples=200)
IMAGES = 12
KINDS = {
    "absent": ("unrelated things", "denials"),
    "wording": ("paraphrases",),
    "empty": ("no words",),
    "flip": ("side", "size"),
}


def interview(changes: dict[str, float], *, marked: float, existence: float | None = None) -> Audit:
    """An audit whose masks change by about `changes`, by test or kind, and that marks a share of absent things."""
    rng = np.random.default_rng(0)
    answers = [
        SubstitutionResult(
            image=f"{image}.png", record=image, test=test, kind=kind, reference="polyp", prompt=kind, pixels=1000,
            true_pixels=100, predicted_pixels=int(marked * 1000), reference_dice=0.9,
            dice=0.9 - changes.get(kind, changes.get(test, 0.0)) / 2,
            change=changes.get(kind, changes.get(test, 0.0)) * rng.uniform(0.98, 1), existence=existence,
        )
        for image in range(IMAGES) for test, kinds in KINDS.items() for kind in kinds
    ]  # fmt: skip
    stated = rng.random((8, 8))
    return Audit(
        results=tuple(answers),
        images=tuple(f"{image}.png" for image in range(IMAGES)),
        available=100,
        dice=tuple(rng.uniform(0.8, 1, IMAGES)),
        confidence=tuple(rng.random(IMAGES)),
        reliability=Reliability.join([Reliability.count(stated, stated > 0.5)] * IMAGES),
        notes=("The swap was left out.",),
    )


def value_of(card: AuditCard, kind: str, measure: str) -> float:
    (line,) = [line for line in card.lines if (line.kind, line.measure) == (kind, measure)]
    return line.value.value


class TestConclusion:
    def test_a_model_whose_masks_never_change_ignores_the_prompt(self):
        card = fill_card(interview({}, marked=0.1), settings=FEW)
        assert card.conclusion == ("Ignores the prompt: whatever it is asked, it marks the same.",)
        assert {line.verdict for line in card.lines if line.test == "absent"} == {"ignores it", "marks it"}
        assert {line.verdict for line in card.lines if line.test == "wording"} == {"ignores words"}

    def test_a_model_that_always_marks_nothing_ignores_the_prompt_too(self):
        assert fill_card(interview({}, marked=0), settings=FEW).conclusion[0].startswith("Ignores the prompt")

    def test_a_model_that_listens_is_told_what_it_reads(self):
        card = fill_card(interview({"absent": 1.0, "side": 0.3, "size": 0.002}, marked=0.001), settings=FEW)
        assert card.conclusion == (
            "Reads which object is meant, and marks nothing for what is not there.",
            "Its masks follow words for side.",
            "It ignores words for size.",
            "Other words for the same thing leave its masks nearly as they are.",
        )

    def test_a_model_that_marks_something_else_is_not_called_empty(self):
        card = fill_card(interview({"absent": 0.9, "wording": 0.6}, marked=0.2), settings=FEW)
        assert card.conclusion[0].startswith("Reads which object is meant, but marks things that are not there (unrel")
        assert card.conclusion[-1] == "Other words for the same thing can give another mask."

    def test_a_model_that_marks_nothing_at_all_is_not_praised(self):
        card = fill_card(interview({"absent": 0.1}, marked=0), settings=FEW)
        assert "finds nothing when asked for the object either" in card.conclusion[0]

    def test_images_that_show_nothing_cannot_tell(self):
        audit = interview({}, marked=0)
        answers = [replace(each, true_pixels=0) for each in audit.results if each.test == "absent"]
        card = fill_card(replace(audit, results=tuple(answers)), settings=FEW)
        assert card.conclusion[0].startswith("No image shows anything")

    def test_a_model_that_half_listens_is_not_praised(self):
        half = fill_card(interview({"denials": 0.1, "unrelated things": 0.9}, marked=0.2), settings=FEW)
        hardly = fill_card(interview({"absent": 0.1}, marked=0.2), settings=FEW)
        assert half.conclusion[0].startswith("Reads which object is meant in part")
        assert hardly.conclusion[0].startswith("Hardly reads which object is meant")


class TestLines:
    def test_values_are_means_over_images(self):
        audit = interview({"absent": 0.9}, marked=0.02, existence=0.25)
        card = fill_card(audit, settings=FEW)
        changes = [each.change for each in audit.results if each.kind == "denials"]
        assert value_of(card, "denials", "change") == pytest.approx(np.mean(changes))
        assert value_of(card, "denials", "existence") == pytest.approx(0.25)
        assert value_of(card, "denials", "true_negatives") == 0
        assert card.plain_dice.value == pytest.approx(np.mean(audit.dice))

    def test_records_of_one_image_count_as_one(self):
        audit = interview({}, marked=0)
        answers = [replace(each, image="0.png") if each.record < 6 else each for each in audit.results]
        images = ["0.png" if record < 6 else name for record, name in enumerate(audit.images)]
        card = fill_card(replace(audit, results=tuple(answers), images=tuple(images)), settings=FEW)
        assert {line.value.n for line in card.lines} == {IMAGES - 5}

    def test_patients_make_intervals_wider_than_images(self):
        audit = interview({"absent": 0.9}, marked=0)
        alone, together = (fill_card(audit, group_regex=regex, settings=FEW) for regex in (None, r"^(.)"))
        assert together.plain_dice.value == alone.plain_dice.value
        assert together.plain_dice.low != alone.plain_dice.low

    def test_no_line_without_the_measure(self):
        card = fill_card(interview({}, marked=0), settings=FEW)
        assert not [line for line in card.lines if line.measure == "existence" or line.test == "swap"]


class TestTrust:
    def test_a_model_that_ignores_words_has_no_agreement_to_go_by(self):
        assert fill_card(interview({}, marked=0), settings=FEW).trust.by_agreement is None
        assert fill_card(interview({"wording": 0.1}, marked=0), settings=FEW).trust.by_agreement

    def test_existence_is_calibrated_over_present_and_absent_things(self):
        trust = fill_card(interview({}, marked=0, existence=0.25), settings=FEW).trust
        # One wording that is there, two phrases that are not.
        assert trust.existence.ece.value == pytest.approx(1 / 3 - 0.25)
        assert fill_card(interview({}, marked=0), settings=FEW).trust.existence is None


class TestPage:
    def test_every_line_is_there_with_its_verdict_and_what_is_good(self, tmp_path):
        card = fill_card(interview({"absent": 1.0}, marked=0, existence=0.0), settings=FEW)
        write_audit_page(card, "pocket on kvasir, test", [tmp_path / "flip_1 a.png"], tmp_path / "audit.md")
        page = (tmp_path / "audit.md").read_text(encoding="utf-8")
        assert page.startswith("# pocket on kvasir, test\n\n**Reads which object is meant")
        assert "12 of 100 records" in page
        assert "The swap was left out." in page
        assert "![flip_1 a.png](flip_1%20a.png)" in page
        for line in card.lines:
            assert f"| {line.kind} | {line.value} | {line.verdict} |" in page
            assert line.title in page
        for name, value, _ in describe_trust(card):
            assert f"| {name} | {value} |" in page

    def test_a_card_is_json(self):
        content = json.loads(json.dumps(fill_card(interview({}, marked=0), settings=FEW).to_dict()))
        assert content["lines"][0]["value"]["n"] == IMAGES
        assert content["trust"]["pixels"]["curve"]


ANSWER = SubstitutionResult(
    image="a.png", record=0, test="wording", kind="paraphrases", reference="polyp", prompt="a polyp", pixels=1000,
    true_pixels=100, predicted_pixels=100, reference_dice=0.8, dice=0.6, change=0.25, existence=0.9,
)  # fmt: skip
OTHER = replace(ANSWER, dice=0.4, change=0.75, predicted_pixels=9, existence=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("change", 0.5),
        ("lost", 0.3),
        ("spread", float(np.std([0.8, 0.6, 0.4]))),
        ("true_negatives", 0.5),
        ("existence", 0.7),
    ],
)
def test_measures_are_those_worked_out_by_hand(name, value):
    assert MEASURES[name]([ANSWER, OTHER]) == pytest.approx(value)


def test_dice_is_not_asked_of_images_that_show_nothing():
    empty = [replace(ANSWER, true_pixels=0)]
    assert [name for name in MEASURES if MEASURES[name](empty) is None] == ["change", "lost", "spread"]


def test_a_model_without_existence_has_none():
    assert MEASURES["existence"]([replace(ANSWER, existence=None)]) is None


def interval(low: float | None, high: float | None) -> Interval:
    return Interval(0.0, low, high, 10)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, 0.05, "low"),
        (0.2, 0.5, "middle"),
        (0.05, 0.2, "low or middle"),
        (0.05, 0.95, UNCLEAR),
        (0.1, 0.2, "middle"),
        (None, None, UNCLEAR),
    ],
)
def test_a_verdict_needs_the_whole_interval(low, high, verdict):
    check = Check("wording", "change", "", "", (0.1, 0.8), ("low", "middle", "high"))
    assert check.judge(interval(low, high)) == verdict


def test_every_check_has_a_measure_rising_limits_and_a_verdict_for_each_side():
    checks = read_checks()
    assert len({(check.test, check.measure) for check in checks}) == len(checks)
    for check in checks:
        assert check.measure in MEASURES
        assert list(check.limits) == sorted(set(check.limits))
        assert len(check.verdicts) == len(check.limits) + 1
