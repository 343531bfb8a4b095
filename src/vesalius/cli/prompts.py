"""``vesalius prompts check`` and ``vesalius prompts generate``."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from vesalius.cli.usage import AsJson, OutPath, Split
from vesalius.console import print_json, print_table, say, say_first, watch
from vesalius.errors import DataError
from vesalius.files import check_absent

if TYPE_CHECKING:
    from collections.abc import Callable

    from vesalius.data.prompting import PromptPlan, PromptReport
    from vesalius.prompts.captions import TemplateLint


def prompts_check(
    *,
    templates: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Render every template with every word it may get, show one prompt of each family, and say what is wrong.

    Exit codes:
        1: Something is wrong with a template.

    Examples:
        vesalius prompts check
        vesalius prompts check --templates mine.toml

    Documentation:
        docs/prompts.md

    Args:
        templates: TOML file whose wordings, classes and sets extend the package's.
        as_json: Print one JSON object.
    """
    from vesalius.prompts import read_templates
    from vesalius.prompts.captions import lint_templates

    lints = lint_templates(read_templates(templates), _token_counter())
    issues = [issue for lint in lints for issue in lint.issues()]
    prompts = len({prompt for lint in lints for _, prompt in lint.wordings})
    if as_json:
        examples = {f"{lint.family_set.name}, {lint.outlined.name}": lint.example for lint in lints}
        print_json({"prompts": prompts, "faults": [asdict(issue) for issue in issues], "examples": examples})
    else:
        _print_wordings(lints)
        _print_issues(issues=[f"{issue.place}: {issue.message}" for issue in issues], prompts=prompts)
    if issues:
        sys.exit(1)


def _token_counter() -> "Callable[[str], int]":
    from instant_clip_tokenizer import Tokenizer

    pairs = Tokenizer()
    return lambda prompt: len(pairs.encode(prompt)) + 2


def _print_wordings(lints: "list[TemplateLint]") -> None:
    """One table a set, for the first of its objects."""
    from vesalius.prompts import variants

    for lint in {each.family_set.name: each for each in reversed(lints)}.values():
        wordings = {family: variants(lint.example, family) for family in lint.example}
        objects = ", ".join(each.outlined.name for each in lints if each.family_set == lint.family_set)
        print_table(
            ("family", "for example", "wordings"),
            [(family, each[0], len(each)) for family, each in wordings.items()],
            title=f"{lint.family_set.name} ({lint.family_set.title}): {objects}",
        )


def _print_issues(issues: list[str], prompts: int) -> None:
    for issue in issues:
        say(issue)
    say(f"{prompts:,} different prompts; {len(issues) or 'nothing'} wrong.")


SPLITS: tuple[Split, ...] = ("train", "val", "test")
SHOWN = 20
"""Problems that are listed on the terminal; --json has all."""


def prompts_generate(
    folder: Path,
    /,
    *,
    outlined: Annotated[str | None, Parameter(name="--class")] = None,
    family_set: Annotated[str | None, Parameter(name="--set")] = None,
    templates: Path | None = None,
    rules: Literal["plain", "benchmark"] | None = None,
    split: list[Split] | None = None,
    out: OutPath = None,
    replace: bool = False,
    absent: bool = False,
    overwrite: bool = False,
    as_json: AsJson = False,
) -> None:
    """Write prompts for a data set from its masks and images.

    Prompts that a record has stay as they are, unless --replace is given. Records that cannot be used are named and
    stay, too.

    Exit codes:
        1: Some records could not be used; they are named and stay as they are.

    Examples:
        vesalius prompts generate kvasir --class polyp
        vesalius prompts generate kvasir --class polyp --replace -o new

    Documentation:
        docs/prompts.md

    Args:
        folder: Data set with images/, masks/ and anns/.
        outlined: What the masks outline, such as "polyp"; by default what the data say: the record, the folder's
            dataset.json, the catalog of a folder of this name, or the record's p1.
        family_set: Which families of prompts; by default those of the class, see `vesalius prompts check`.
        templates: TOML file whose wordings, classes and sets extend the package's.
        rules: How number and place are told. By default "plain", or "benchmark" for folders whose prompts are the
            benchmark's, so that one data set speaks one language; docs/prompts.md has the difference.
        split: Which annotation files; by default all there are. Repeat --split for several.
        out: Folder for the new annotation files; by default they take the place of the old ones.
        replace: Write prompts anew where there are some.
        absent: Also add to each image a record that asks for things such pictures never show, with an empty mask, which
            is put into masks/absent/.
        overwrite: Replace annotation files that are in --out already.
        as_json: Print one JSON object.
    """
    from vesalius.data.annotations import read_target
    from vesalius.data.catalog import read_catalog
    from vesalius.data.prompting import PromptPlan
    from vesalius.prompts import find_rules, read_templates

    card = read_catalog().get(folder.resolve().name)
    told = read_target(folder) or None
    name = outlined or told
    spoken = rules or (card.rules if card else "plain")
    plan = PromptPlan(read_templates(templates), find_rules(spoken), outlined, told, family_set, replace, absent)
    if family_set:
        plan.templates.find_set(family_set)
    splits = split or _find_splits(folder)
    if out is not None:
        check_absent([out / f"{each}.json" for each in splits], overwrite)
    reports = _generate(folder, plan, splits, out)
    problems = sum(len(report.problems) for report in reports)
    if as_json:
        print_json({"data": str(folder), "class": name, "rules": spoken, "files": [each.to_dict() for each in reports]})
    else:
        say(f"{folder}: {name or 'what each record names'}, {spoken} rules; see {out or folder / 'anns'}")
        _print_generated(reports)
    if problems:
        sys.exit(1)


def _find_splits(folder: Path) -> list[Split]:
    from vesalius.data.annotations import annotations_path, check_data_folder
    from vesalius.data.prompting import TO_THE_LAYOUT

    check_data_folder(folder)
    found = [split for split in SPLITS if annotations_path(folder, split).is_file()]
    if not found:
        raise DataError(f"{folder}/anns: no annotation file; expected one of {', '.join(SPLITS)}; {TO_THE_LAYOUT}.")
    return found


def _generate(folder: Path, plan: "PromptPlan", splits: Sequence[Split], out: Path | None) -> list["PromptReport"]:
    from vesalius.data.annotations import annotations_path, read_annotation_list
    from vesalius.data.prompting import TO_THE_LAYOUT, generate_prompts

    reports = []
    for split in splits:
        rows = read_annotation_list(annotations_path(folder, split), TO_THE_LAYOUT)
        with watch(f"Describing {split}", len(rows)) as advance:
            reports.append(generate_prompts(folder, split, plan, out=out, on_record=advance))
    return reports


def _print_generated(reports: Sequence["PromptReport"]) -> None:
    counts = [
        (each.file, each.records, each.written, each.complete, each.empty, each.absent, len(each.problems))
        for each in reports
    ]
    print_table(("file", "records", "written", "had all", "empty", "absent", "left out"), counts)
    for name, families in {name: row for each in reports for name, row in each.lacking.items()}.items():
        say(f"{name}: without {', '.join(families)}, for want of words; see docs/prompts.md on --templates.")
    problems = [problem for each in reports for problem in each.problems]
    say_first(problems, SHOWN, "… and {} more; --json lists all.")
