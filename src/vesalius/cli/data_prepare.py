"""``vesalius data prepare NAME SOURCE DEST`` and ``vesalius data prepare custom … DEST``."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vesalius.console import print_json, print_table, say
from vesalius.data.prepare import CustomConfig, Found, PrepareReport, Problem, SliceConfig, Source, SplitConfig
from vesalius.errors import ConfigError

CUSTOM = "custom"
SHOWN = 20
"""Problems printed; prepare.json has all."""
Flat = Parameter(name="*")


def data_prepare(
    name: str,
    /,
    *paths: Path,
    annotations: Path | None = None,
    split: Annotated[SplitConfig, Flat] = SplitConfig(),  # noqa: B008 - frozen
    slices: Annotated[SliceConfig, Flat] = SliceConfig(),  # noqa: B008 - frozen
    custom: Annotated[CustomConfig, Flat] = CustomConfig(),  # noqa: B008 - frozen
    overwrite: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Bring a data set into the layout that training reads: images/, masks/, anns/{train,val,test}.json.

    `prepare kvasir_polyp kvasir-seg.zip kvasir_polyp/` reads a public data set as its authors distribute it, a folder,
    a zip file or a folder of zip files; docs/data.md lists them. `prepare custom --images DIR --masks DIR mine/` reads
    your own. The originals are only read. An interrupted run goes on with the same command. What cannot be used is
    named and left out; the exit code is 0 if anything could be prepared.

    Examples:
        vesalius data prepare kvasir_polyp kvasir-seg.zip kvasir_polyp
        vesalius data prepare custom mine --images scans --masks masks

    Documentation:
        docs/data.md

    Args:
        name: A data set of the catalog, or "custom".
        paths: SOURCE and DEST; of custom only DEST.
        annotations: Folder with train.json, val.json and test.json, such as the benchmark's, whose splits, names and
            prompts are kept.
        split: Sizes of the splits.
        slices: How volumes are cut.
        custom: Where your own data lie.
        overwrite: Replace what was prepared in DEST from something else, or annotation files that were changed since.
        as_json: Print one JSON object.
    """
    from vesalius.console import progress_bar
    from vesalius.data.prepare import Plan, find_custom, prepare, read_given

    dest = _check_paths(name, paths, custom)
    given = read_given(annotations) if annotations else None
    found, source = find_custom(custom, slices) if name == CUSTOM else _find_original(name, paths[0], slices)
    with source, progress_bar() as bar:
        task = bar.add_task(f"Preparing {name}", total=len(found.items))
        plan = Plan(name, split, given, _describe(annotations, slices, custom), overwrite)
        report = prepare(found, source, dest, plan, on_item=lambda: bar.advance(task))
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report, name, has_prompts=given is not None)


def _describe(annotations: Path | None, slices: SliceConfig, custom: CustomConfig) -> dict[str, object]:
    """All that decides the result beside source and splits, but for the source's files."""
    return {
        "annotations": annotations and str(annotations.resolve()),
        "slices": asdict(slices),
        "custom": {name: str(value) for name, value in asdict(custom).items() if value is not None},
    }


def _find_original(name: str, path: Path, slices: SliceConfig) -> tuple[Found, Source]:
    from vesalius.data.catalog import find_card
    from vesalius.data.prepare import find_items

    card = find_card(name)
    with Source(path) as source:  # what is read of tables is closed even where nothing fits
        return find_items(card, source, slices), source


def _check_paths(name: str, paths: Sequence[Path], custom: CustomConfig) -> Path:
    expected = ("DEST",) if name == CUSTOM else ("SOURCE", "DEST")
    if len(paths) != len(expected):
        usage = f"vesalius data prepare {name} {' '.join(expected)}"
        raise ConfigError(f"expected {usage}, got {len(paths)} paths: {', '.join(map(str, paths)) or 'none'}.")
    if name != CUSTOM:
        unused = [each.name for each in fields(custom) if getattr(custom, each.name) is not None]
        if unused:
            raise ConfigError(
                f"--{unused[0].replace('_', '-')} belongs to 'prepare custom'; {name} has its own layout."
            )
    return paths[-1]


def _print(report: PrepareReport, name: str, *, has_prompts: bool) -> None:
    print_table(("split", "records"), [*report.records.items(), ("all", sum(report.records.values()))])
    earlier = f"; {report.resumed} items were there from an earlier run" if report.resumed else ""
    say(f"Prepared {name} in {report.dest}: {report.images} images, {report.empty} empty masks{earlier}.")
    _list("note", report.notes, report.dest)
    _list("left out", report.problems, report.dest)
    if not has_prompts:
        say(f"Records have p0 (empty) and p1 (the object's name); more: vesalius prompts generate {report.dest}")


def _list(what: str, problems: Sequence[Problem], dest: Path) -> None:
    for problem in problems[:SHOWN]:
        say(f"{what}: {problem}")
    if len(problems) > SHOWN:
        say(f"{what}: {len(problems) - SHOWN} more, listed in {dest / 'prepare.json'}")
