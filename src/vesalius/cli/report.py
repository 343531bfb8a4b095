"""``vesalius report EVALUATION …``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.evaluation.report.content import Report
    from vesalius.folders import Claim


def report(
    *evaluations: Path,
    group_regex: str | None = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    overwrite: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Write the report of an evaluation anew, or put several evaluations of the same data side by side.

    Needs no model. The page of one evaluation holds the pictures that `vesalius evaluate --out` left in pictures.json;
    without that file it has none, and says so.

    Examples:
        vesalius report evaluations/mine
        vesalius report evaluations/mine evaluations/pocket -o side-by-side

    Documentation:
        docs/report.md

    Args:
        evaluations: Folders that `vesalius evaluate --out` wrote.
        group_regex: Names the patient in an image's file name; by default as the evaluation was made.
        out: Folder for report.html and report.md, and for comparison.json where there are several evaluations; by
            default the folder of the evaluation.
        overwrite: Replace what this command made there from something else.
        as_json: Print one JSON object.
    """
    from vesalius.console import print_json, print_table, progress_bar, say
    from vesalius.evaluation.report import PAGE_NAME, TEXT_NAME, write_report
    from vesalius.evaluation.report.several import COMPARISON_NAME
    from vesalius.evaluation.report.single import read_report
    from vesalius.files import write_json

    _check(evaluations, out)
    folder = out or evaluations[0]
    claim = _claim(evaluations, group_regex, folder, overwrite)
    if claim:
        claim.check()
    with progress_bar() as bar:
        bar.add_task("Drawing resamples", total=None)
        if len(evaluations) == 1:
            content, comparison = read_report(evaluations[0], group_regex=group_regex), None
        else:
            content, comparison = _report_several(evaluations, group_regex)
    if claim:
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
    from vesalius.errors import ConfigError

    if not evaluations:
        raise ConfigError("No evaluation is given; `vesalius evaluate MODEL --data DIR --out FOLDER` makes one.")
    if len(evaluations) > 1 and out is None:
        raise ConfigError("The report of several evaluations needs a folder of its own; give one with --out.")


def _claim(evaluations: Sequence[Path], group_regex: str | None, folder: Path, overwrite: bool) -> "Claim | None":
    """None for the folder of an evaluation, whose report is its own."""
    from vesalius.folders import Claim

    folders = [each.resolve() for each in evaluations]
    if folder.resolve() in folders:
        return None
    files = ["report.html", "report.md", *(["comparison.json"] if len(folders) > 1 else [])]
    origin = {"evaluations": [str(each) for each in folders], "group_regex": group_regex}
    return Claim(folder, "report", origin, files, overwrite)


def _report_several(folders: Sequence[Path], group_regex: str | None) -> "tuple[Report, dict[str, object]]":
    from vesalius.evaluation.report.manifest import read_manifest
    from vesalius.evaluation.report.several import build_comparison_report
    from vesalius.evaluation.stored import read_evaluations

    stored = read_evaluations(folders)
    manifests = {each.name: read_manifest(folder) for each, folder in zip(stored, folders, strict=True)}
    found, comparison = build_comparison_report(stored, manifests, group_regex=group_regex)
    return found, comparison.to_dict()
