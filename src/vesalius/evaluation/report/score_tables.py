"""Means with intervals of every metric and prompt family."""

from collections.abc import Iterator

from vesalius.evaluation.report.absence import asks_both
from vesalius.evaluation.report.content import ALL, Cell, Table, to_number
from vesalius.evaluation.result import Evaluation
from vesalius.evaluation.score_table import TITLES
from vesalius.evaluation.statistics import Centre


def build_score_tables(evaluation: Evaluation, group_regex: str | None) -> Iterator[Table]:
    """One table of all images; where some show nothing to find, one of the others too.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    images, undefined = evaluation.images(), evaluation.undefined()
    note = "Means over images, and below each its interval."
    if undefined:
        note += f" HD95 leaves out {undefined} of {len(evaluation.rows)} answers: just one of the two masks is empty."
    yield _build(evaluation, f"All {images} images", group_regex, note, present_only=False)
    if asks_both(evaluation.rows):
        title = f"The {images - evaluation.empty_images()} images that show something to find"
        empty = sum(not row.true_pixels for row in evaluation.rows)
        note = f"Left out: {empty} answers that should be an empty mask, which score 1 if they are and 0 if not."
        yield _build(evaluation, title, group_regex, note, present_only=True)


def _build(evaluation: Evaluation, title: str, group_regex: str | None, note: str, *, present_only: bool) -> Table:
    found = {
        name: evaluation.summarise(name, present_only=present_only, group_regex=group_regex)
        for name in evaluation.metrics
    }
    rows: list[list[Cell]] = [[ALL, *(_mean(each.overall, name) for name, each in found.items())]]
    for family in evaluation.families():
        rows.append([family, *(_mean(each.families.get(family), name) for name, each in found.items())])
    heads = [f"HD95 ({evaluation.distance_unit})" if name == "hd95" else TITLES[name] for name in found]
    return Table(title, ("prompt", *heads), rows, note)


def _mean(centre: Centre | None, metric: str) -> Cell:
    return None if centre is None else to_number(centre.mean, metric)
