"""``vesalius compare`` and ``vesalius report``: what evaluations show."""

from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vesalius.cli.usage import AsJson, GroupRegex, OutPath, Overwrite
from vesalius.console import print_json, print_table, progress_bar, say, watch
from vesalius.errors import ConfigError
from vesalius.files import write_json
from vesalius.folders import Claim

if TYPE_CHECKING:
    from vesalius.evaluation.compare import Comparison
    from vesalius.evaluation.report.content import Report
    from vesalius.evaluation.statistics import Interval


FEW = 100
"""Images or patients below which intervals of means are too narrow, see docs/statistics.md."""


def compare(
    *evaluations: Path,
    metric: Literal["dice", "iou", "precision", "recall", "hd95", "nsd"] = "dice",
    group_regex: GroupRegex = None,
    present_only: bool = False,
    out: OutPath = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Compare evaluations of the same data, image by image: intervals, paired tests, stability of the ranking.

    Patients are told apart as when the evaluations were made, or by --group-regex.

    Examples:
        vesalius compare evaluations/mine evaluations/pocket --metric dice
        vesalius compare evaluations/mine evaluations/pocket -o comparison

    Documentation:
        docs/statistics.md

    Args:
        evaluations: Folders that `vesalius evaluate --out` wrote, two or more.
        metric: What to compare.
        present_only: Leave out images whose true mask is empty.
        out: Folder for comparison.json.
        as_json: Print one JSON object.
    """
    from vesalius.evaluation import compare as comparison
    from vesalius.evaluation.stored import identify_evaluation, read_evaluations

    stored = read_evaluations(evaluations)
    asked = {"metric": metric, "group_regex": group_regex, "present_only": present_only}
    origin = {"evaluations": list(map(identify_evaluation, evaluations)), **asked}
    claim = Claim(out, "compare", origin, [comparison.COMPARISON_NAME], overwrite)
    claim.check()
    with watch("Drawing resamples", len(stored) + comb(len(stored), 2)) as advance:
        found = comparison.compare(stored, metric, present_only=present_only, group_regex=group_regex, on_step=advance)
    claim.make()
    if out is not None:
        write_json(out / comparison.COMPARISON_NAME, found.to_dict())
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
    if out is not None:
        say(f"Written: {out / comparison.COMPARISON_NAME}")


def _print(found: "Comparison") -> None:
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
    from vesalius.evaluation.compare import tell_p

    columns = ("first − second", "mean", "median", "higher / equal / lower", "effect", "p", "p (Holm)")
    rows = (
        (
            f"{each.first} − {each.second}",
            _cell(each.centre.mean),
            _cell(each.centre.median),
            f"{each.higher} / {each.equal} / {each.lower}",
            f"{each.rank_biserial:+.2f}",
            tell_p(each.p),
            tell_p(each.p_holm),
        )
        for each in found.differences
        if each.family is None
    )
    print_table(columns, rows, title="Differences over all prompts")


def _print_families(found: "Comparison") -> None:
    """A table for each pair: both means of each prompt, and their difference."""
    from vesalius.evaluation.compare import tell_p

    families = {each.name: each.families for each in found.standings}
    rows: dict[tuple[str, str], list[tuple[object, ...]]] = {}
    for each in found.differences:
        if each.family is not None:
            means = [families[name][each.family].mean for name in (each.first, each.second)]
            cells = [_cell(value) for value in (*means, each.centre.mean)]
            row = (each.family, *cells, f"{each.rank_biserial:+.2f}", tell_p(each.p_holm))
            rows.setdefault((each.first, each.second), []).append(row)
    for (first, second), lines in rows.items():
        columns = ("prompt", first, second, "difference", "effect", "p (Holm)")
        print_table(columns, lines, title=f"{first} − {second}, mean of each prompt")


def _title(found: "Comparison") -> str:
    from vesalius.evaluation.rows import LOWER_IS_BETTER, TITLES

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


def report(
    *evaluations: Path,
    group_regex: GroupRegex = None,
    out: OutPath = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write the report of an evaluation anew, or put several evaluations of the same data side by side.

    Needs no model. The page of one evaluation holds the pictures that `vesalius evaluate --out` left in pictures.json;
    without that file it has none, and says so. Patients are told apart as when the evaluations were made, or by
    --group-regex.

    Examples:
        vesalius report evaluations/mine
        vesalius report evaluations/mine evaluations/pocket -o side-by-side

    Documentation:
        docs/report.md

    Args:
        evaluations: Folders that `vesalius evaluate --out` wrote.
        out: Folder for report.html and report.md, and for comparison.json where there are several evaluations; by
            default the folder of the evaluation.
        as_json: Print one JSON object.
    """
    from vesalius.evaluation.compare import COMPARISON_NAME
    from vesalius.evaluation.report import PAGE_NAME, TEXT_NAME, write_report
    from vesalius.evaluation.report.builders import read_report

    _check(evaluations, out)
    folder = out or evaluations[0]
    claim = _claim(evaluations, group_regex, folder, overwrite)
    claim.check()
    with progress_bar() as bar:
        bar.add_task("Drawing resamples", total=None)
        if len(evaluations) == 1:
            content, comparison = read_report(evaluations[0], group_regex=group_regex), None
        else:
            content, comparison = _report_several(evaluations, group_regex)
    claim.make()
    if comparison is not None:
        write_json(folder / COMPARISON_NAME, comparison)
    write_report(content, folder)
    written = {"page": str(folder / PAGE_NAME), "text": str(folder / TEXT_NAME)}
    if as_json:
        print_json({"title": content.title, "facts": content.facts, "pictures": len(content.gallery), **written})
    else:
        print_table(("", "value", "interval"), ((n, v.value, v.ends) for n, v in content.headline), title=content.title)
    if not content.gallery:
        say(content.gallery_note)
    say(f"Written: {written['page']}, {written['text']}")


def _check(evaluations: Sequence[Path], out: Path | None) -> None:
    if not evaluations:
        raise ConfigError("No evaluation is given; `vesalius evaluate MODEL --data DIR --out FOLDER` makes one.")
    if len(evaluations) > 1 and out is None:
        raise ConfigError("The report of several evaluations needs a folder of its own; give one with --out.")


def _claim(evaluations: Sequence[Path], group_regex: str | None, folder: Path, overwrite: bool) -> Claim:
    """The claim on the folder of a report; the page of an evaluation itself, alone, is its own, and is not claimed."""
    from vesalius.evaluation.compare import COMPARISON_NAME
    from vesalius.evaluation.report import FILES
    from vesalius.evaluation.stored import identify_evaluation

    own = [each.resolve() for each in evaluations] == [folder.resolve()]
    files = [*FILES, *([COMPARISON_NAME] if len(evaluations) > 1 else [])]
    origin = {"evaluations": list(map(identify_evaluation, evaluations)), "group_regex": group_regex}
    return Claim(None if own else folder, "report", origin, files, overwrite)


def _report_several(folders: Sequence[Path], group_regex: str | None) -> "tuple[Report, dict[str, object]]":
    from vesalius.evaluation.report.builders import build_comparison_report
    from vesalius.evaluation.stored import read_evaluations

    found, comparison = build_comparison_report(read_evaluations(folders), group_regex=group_regex)
    return found, comparison.to_dict()
