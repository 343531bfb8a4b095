import pytest

from vesalius.errors import ConfigError
from vesalius.evaluation.report.gallery import choose_examples


@pytest.fixture
def ranked(make_row):
    """Nine images whose mean Dice rises with their number, each asked twice."""
    return [
        make_row(f"{n}.png", family, n / 10 + shift) for n in range(9) for family, shift in (("p0", 0), ("p1", 0.1))
    ]


def images_of(examples, kind):
    return [example.row.image for example in examples if example.kind == kind]


def test_images_are_ranked_by_their_mean_and_shown_worst_first(ranked):
    examples = choose_examples(ranked, 2)
    assert images_of(examples, "worst") == ["0.png", "1.png"]
    assert images_of(examples, "median") == ["3.png", "4.png"]
    assert images_of(examples, "best") == ["8.png", "7.png"]


def test_the_choice_does_not_depend_on_the_order_of_rows(ranked):
    assert choose_examples(ranked, 3) == choose_examples(sorted(ranked, key=lambda row: -row.dice), 3)


def test_the_answer_nearest_to_the_images_mean_is_shown(make_row):
    rows = [make_row("a.png", "p1", score, variant=n) for n, score in enumerate((0.1, 0.6, 0.9))]
    (example,) = choose_examples(rows, 1)
    assert example.row.dice == 0.6
    assert (example.lowest, example.highest, example.answers) == (0.1, 0.9, 3)
    assert example.mean == pytest.approx(1.6 / 3)


@pytest.mark.parametrize(
    ("images", "shown"), [(1, ["worst"]), (2, ["worst", "best"]), (3, ["worst", "median", "best"])]
)
def test_an_image_is_shown_once_however_few_there_are(make_row, images, shown):
    rows = [make_row(f"{n}.png", "p1", n / 10) for n in range(images)]
    examples = choose_examples(rows, 3)
    assert [example.kind for example in examples] == shown


def test_images_without_the_target_are_false_positives_by_what_was_marked_and_never_best(make_row):
    rows = [make_row(f"{n}.png", "p1", 0.5) for n in range(3)]
    rows += [make_row("silent.png", "p1", 1.0, true_pixels=0, predicted_pixels=0)]
    rows += [make_row("loud.png", f"p{n}", 0.0, true_pixels=0, predicted_pixels=n * 10) for n in range(3)]
    rows += [make_row("soft.png", "p1", 0.0, true_pixels=0, predicted_pixels=5)]
    examples = choose_examples(rows, 3)
    assert images_of(examples, "false positive") == ["loud.png", "soft.png"]
    assert next(each for each in examples if each.kind == "false positive").row.family == "p2"
    assert "silent.png" not in {example.row.image for example in examples}


def test_none_are_chosen_if_none_are_wanted(ranked):
    assert choose_examples(ranked, 0) == []


@pytest.mark.parametrize("each", [-1, 7])
def test_more_than_a_page_holds_is_refused(each):
    with pytest.raises(ConfigError, match=f"expected 0 to 6, got {each}"):
        choose_examples([], each)
