"""``vesalius compare EVALUATION EVALUATION …``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.evaluation.comparison import Comparison
    from vesalius.evaluation.statistics import Interval

FEW = 100
"""Images or patients below which intervals of means hold the truth less often than they say, see docs/statistics.md."""


def compare(
    *evaluations: Path,
    metric: Literal["dice", "iou", "precision", "recall", "hd95", "nsd"] = "dice",
    group_regex: str | None = None,
    present_only: bool = False,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    overwrite: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Compare evaluations of the same data, image by image: intervals, paired tests, stability of the ranking.

    Examples:
        vesalius compare evaluations/mine evaluations/pocket --metric dice
        vesalius compare evaluations/mine evaluations/pocket -o comparison

    Documentation:
        docs/statistics.md

    Args:
        evaluations: Folders that `vesalius evaluate --out` wrote, two or more.
        metric: What to compare.
        group_regex: Names the patient or video in an image's file name: its first bracket, or all that matches.
        present_only: Leave out images whose true mask is empty.
        out: Folder for comparison.json.
        overwrite: Replace what this command made there from something else.
        as_json: Print one JSON object.
    """
    from math import comb

    from vesalius.console import print_json, progress_bar, say
    from vesalius.evaluation import comparison
    from vesalius.evaluation.stored import read_evaluations
    from vesalius.files import write_json
    from vesalius.folders import Claim

    stored = read_evaluations(evaluations)
    asked = {"metric": metric, "group_regex": group_regex, "present_only": present_only}
    origin = {"evaluations": [str(each.resolve()) for each in evaluations], **asked}
    claim = out and Claim(out, "compare", origin, ["comparison.json"], overwrite)
    if claim:
        claim.check()
    with progress_bar() as bar:
        task = bar.add_task("Drawing resamples", total=len(stored) + comb(len(stored), 2))
        found = comparison.compare(
            stored,
            metric,
            present_only=present_only,
            group_regex=group_regex,
            on_step=lambda: bar.advance(task),
        )
    if claim:
        claim.make()
        write_json(claim.folder / "comparison.json", found.to_dict())
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    if out is not None:
        say(f"Written: {out / 'comparison.json'}")


def _print(found: "Comparison") -> None:
    from vesalius.console import print_table, say

    print_table(
        ("evaluation", "model", "mean", "median", "first in"),
        (
            (each.name, each.model, _cell(each.overall.mean), _cell(each.overall.median), f"{each.first:.1%}")
            for each in found.standings
        ),
        title=_title(found),
    )
    _print_differences(found)
    _print_families(found)
    for line in _explain(found):
        say(line)


def _print_differences(found: "Comparison") -> None:
    from vesalius.console import print_table

    columns = ("first − second", "mean", "median", "higher / equal / lower", "effect", "p", "p (Holm)")
    rows = (
        (
            f"{each.first} − {each.second}",
            _cell(each.centre.mean),
            _cell(each.centre.median),
            f"{each.higher} / {each.equal} / {each.lower}",
            f"{each.rank_biserial:+.2f}",
            _p(each.p),
            _p(each.p_holm),
        )
        for each in found.differences
        if each.family is None
    )
    print_table(columns, rows, title="Differences over all prompts")


def _print_families(found: "Comparison") -> None:
    """A table for each pair: both means of each prompt, and their difference."""
    from vesalius.console import print_table

    families = {each.name: each.families for each in found.standings}
    rows: dict[tuple[str, str], list[tuple[object, ...]]] = {}
    for each in found.differences:
        if each.family is not None:
            means = [families[name][each.family].mean for name in (each.first, each.second)]
            cells = [_cell(value) for value in (*means, each.centre.mean)]
            row = (each.family, *cells, f"{each.rank_biserial:+.2f}", _p(each.p_holm))
            rows.setdefault((each.first, each.second), []).append(row)
    for (first, second), lines in rows.items():
        columns = ("prompt", first, second, "difference", "effect", "p (Holm)")
        print_table(columns, lines, title=f"{first} − {second}, mean of each prompt")


def _title(found: "Comparison") -> str:
    from vesalius.evaluation.score_table import LOWER_IS_BETTER, TITLES

    unit = f" in {found.unit}" if found.unit else ""
    lower = " (lower is better)" if found.metric in LOWER_IS_BETTER else ""
    groups = "" if found.clusters == found.images else f" in {found.clusters} groups"
    kept = " with the target present" if found.present_only else ""
    where = f"{Path(found.data).name}, {found.split}"
    return f"{TITLES[found.metric]}{unit}{lower} on {where}: {found.images} images{groups}{kept}"


def _explain(found: "Comparison") -> list[str]:
    lines = [*found.notes]
    if found.empty_truth and not found.present_only:
        lines.append(f"{found.empty_truth} of the images have an empty true mask; --present-only leaves them out.")
    if found.clusters < FEW:
        lines.append(
            f"Only {found.clusters} to draw from: intervals of means may be somewhat narrow, see docs/statistics.md."
        )
    order = " > ".join(each.name for each in found.standings)
    settings = found.settings
    return [
        *lines,
        f"The order {order} holds in {found.order_holds:.1%} of resamples.",
        f"[low, high]: {settings.confidence:.0%} bootstrap interval, {settings.resamples:,} resamples, seed "
        f"{settings.seed}. p: Wilcoxon signed-rank. effect: rank-biserial, −1 to 1. ({found.rule})",
    ]


def _cell(interval: "Interval") -> str:
    return str(interval).replace(", ", ",")  # so that a narrow table folds before the bracket, not inside


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
