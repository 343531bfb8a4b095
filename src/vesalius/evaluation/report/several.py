"""The report of several evaluations of the same data, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from vesalius.evaluation.comparison import Comparison, Difference, compare
from vesalius.evaluation.pairing import pair
from vesalius.evaluation.report.absence import asks_both, describe_absence
from vesalius.evaluation.report.content import ALL, Cell, Number, Report, Table, to_number
from vesalius.evaluation.report.manifest import find_group_regex
from vesalius.evaluation.report.single import describe_intervals, tell_images
from vesalius.evaluation.report.strips import build_strips
from vesalius.evaluation.stored import StoredEvaluation

NO_PICTURES = "Pictures are in the report of each evaluation."
LEAST_P = 0.001
COMPARISON_NAME = "comparison.json"


def build_comparison_report(
    evaluations: Sequence[StoredEvaluation],
    manifests: Mapping[str, Mapping[str, object]],
    *,
    group_regex: str | None = None,
) -> tuple[Report, Comparison]:
    """Compare evaluations by their Dice, and say all about it.

    Args:
        evaluations: Two or more.
        manifests: How each was made, by name; may lack some.
        group_regex: Names the patient in an image's file name; by default as in the manifests, if they agree.

    Raises:
        ConfigError: If there are fewer than two, or the expression does not fit the names.
        DataError: If they cannot be compared.
    """
    group_regex = group_regex or _agreed_regex(manifests)
    present = asks_both(evaluations[0].rows)
    found = compare(evaluations, group_regex=group_regex)
    tables = pair(evaluations, present_only=present, group_regex=group_regex).tables
    absence = describe_absence(evaluations, group_regex)
    names = [each.name for each in evaluations]
    report = Report(
        title=f"{len(evaluations)} evaluations on {PurePath(found.data).name}, {found.split}",
        facts=_describe_facts(found, evaluations, describe_intervals(found.images, found.clusters)),
        headline=[(f"{standing.name}, mean Dice", to_number(standing.overall.mean)) for standing in found.standings],
        tables=[_rank(found), _tabulate_differences(found)],
        strips=build_strips(names, tables, evaluations[0].rows),
        strips_note=tell_images(tables[0], present_only=present),
        existence=absence.table,
        curves=absence.curves,
        existence_note=absence.note,
        gallery=(),
        gallery_note=NO_PICTURES,
        manifests={name: manifest for name, manifest in manifests.items() if manifest},
    )
    return report, found


def _agreed_regex(manifests: Mapping[str, Mapping[str, object]]) -> str | None:
    found = {find_group_regex(manifest) for manifest in manifests.values()}
    return found.pop() if len(found) == 1 else None


def _describe_facts(found: Comparison, evaluations: Sequence[StoredEvaluation], intervals: str) -> dict[str, str]:
    empty = f", of which {found.empty_truth:,} show nothing to find" if found.empty_truth else ""
    return {
        **{each.name: each.model for each in evaluations},
        "Data": found.data,
        "Split": found.split,
        "Images": f"{found.images:,} that all have{empty}",
        "Rule": found.rule,
        "Intervals": intervals,
    }


def _rank(found: Comparison) -> Table:
    rows: list[list[Cell]] = [
        [each.name, to_number(each.overall.mean), to_number(each.overall.median), f"{each.first:.1%}"]
        for each in found.standings
    ]
    held = (
        f"First: share of resamples in which it has the best mean. This order holds in {found.order_holds:.1%} of them."
    )
    return Table("Ranking by Dice", ("evaluation", "mean", "median", "first"), rows, " ".join([held, *found.notes]))


def _tabulate_differences(found: Comparison) -> Table:
    columns = ("difference in Dice", "prompt", "mean", "median", "effect", "p", "p (Holm)")
    note = (
        "First minus second, image by image. Effect: rank-biserial, −1 to 1. p: Wilcoxon's signed-rank test; Holm's "
        "correction is for all pairs, of single prompts for all pairs and prompts."
    )
    shown = found.differences
    if len(found.standings) > 2:
        shown = tuple(each for each in shown if each.family is None)
        note += f" Single prompts are in {COMPARISON_NAME}."
    return Table("Differences", columns, [_difference(each) for each in shown], note)


def _difference(each: Difference) -> list[Cell]:
    centre = each.centre
    return [
        f"{each.first} − {each.second}",
        each.family or ALL,
        _signed(to_number(centre.mean)),
        _signed(to_number(centre.median)),
        f"{each.rank_biserial:+.2f}".replace("-", "−"),
        _p(each.p),
        _p(each.p_holm),
    ]


def _signed(number: Number) -> Number:
    """A typographic minus, and "to" between ends that may have one."""
    ends = number.ends and number.ends.replace("-", "−").replace("–", " to ")
    return Number(number.value.replace("-", "−"), ends)


def _p(value: float) -> str:
    return f"< {LEAST_P}" if value < LEAST_P else f"{value:.3f}"
