"""``vesalius data prepare``, ``vesalius data check`` and ``vesalius data slices``."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.usage import AsJson, Flat, GroupRegex, OutPath, Overwrite
from vesalius.console import print_json, print_table, progress_bar, say, say_first, watch
from vesalius.data.annotations import SPLITS
from vesalius.data.prepare import CustomConfig, FoundSamples, PrepareReport, SliceConfig, Source, SplitConfig
from vesalius.data.slices import CutSettings, SeriesDescription
from vesalius.data.slices.series_table import SliceRange, check_description
from vesalius.errors import ConfigError
from vesalius.files import write_json
from vesalius.folders import Claim

if TYPE_CHECKING:
    from vesalius.data.check import CheckFinding, CheckReport
    from vesalius.data.slices import CutReport


CUSTOM = "custom"
"""Name of data sets of the user's own."""
SHOWN = 20
"""Problems that are printed; prepare.json and summary.json have all."""
EXAMPLES = 3
"""Findings of each kind that are printed; --out has all."""


def data_prepare(
    name: str,
    /,
    *paths: Path,
    annotations: Path | None = None,
    split: Annotated[SplitConfig, Flat] = SplitConfig(),  # noqa: B008 - frozen
    slices: Annotated[SliceConfig, Flat] = SliceConfig(),  # noqa: B008 - frozen
    custom: Annotated[CustomConfig, Flat] = CustomConfig(),  # noqa: B008 - frozen
    overwrite: bool = False,
    as_json: AsJson = False,
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
    from vesalius.data.prepare import PreparePlan, find_custom, prepare, read_existing

    dest = _check_paths(name, paths, custom)
    existing = read_existing(annotations) if annotations else None
    found, source = find_custom(custom, slices) if name == CUSTOM else _find_original(name, paths[0], slices)
    with source, watch(f"Preparing {name}", len(found.samples)) as advance:
        plan = PreparePlan(name, split, existing, _describe(annotations, slices, custom), overwrite)
        report = prepare(found, source, dest, plan, on_sample=advance)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_prepared(report, name, has_prompts=existing is not None)


def _describe(annotations: Path | None, slices: SliceConfig, custom: CustomConfig) -> dict[str, object]:
    """All that decides the result beside source and splits, but for the source's files."""
    return {
        "annotations": annotations and str(annotations.resolve()),
        "slices": asdict(slices),
        "custom": {name: str(value) for name, value in asdict(custom).items() if value is not None},
    }


def _find_original(name: str, path: Path, slices: SliceConfig) -> tuple[FoundSamples, Source]:
    from vesalius.data.catalog import find_card
    from vesalius.data.prepare import find_samples

    card = find_card(name)
    with Source(path) as source:  # what is read of tables is closed even where nothing fits
        return find_samples(card, source, slices), source


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


def _print_prepared(report: PrepareReport, name: str, *, has_prompts: bool) -> None:
    print_table(("split", "records"), [*report.records.items(), ("all", sum(report.records.values()))])
    earlier = f"; {report.resumed} samples were there from an earlier run" if report.resumed else ""
    say(f"Prepared {name} in {report.dest}: {report.images} images, {report.empty} empty masks{earlier}.")
    for what, problems in (("note", report.notes), ("left out", report.problems)):
        more = f"{what}: {{}} more, listed in {report.dest / 'prepare.json'}"
        say_first([f"{what}: {problem}" for problem in problems], SHOWN, more)
    if not has_prompts:
        say(f"Records have p0 (empty) and p1 (the object's name); more: vesalius prompts generate {report.dest}")


def data_check(
    folder: Path,
    /,
    *,
    out: OutPath = None,
    similarity: float = 0.9,
    group_regex: GroupRegex = None,
    group_field: str | None = None,
    jobs: int | None = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong with a data set: files, masks, prompts, duplicates, leaks.

    Exit codes:
        1: There is an error or a warning; notes do not count.

    Examples:
        vesalius data check kvasir
        vesalius data check kvasir --group-regex "^[^_]+" -o checked

    Documentation:
        docs/data-check.md

    Args:
        folder: Folder with images/, masks/ and anns/.
        out: Folder for check.json (everything) and check.html (one page with pictures).
        similarity: Correlation from which two images count as near-duplicates, 0.5 to 1.
        group_field: Field of the records that names the patient or video.
        jobs: Files read at the same time; by default one for each core that may be used.
        as_json: Print one JSON object.
    """
    from vesalius.data.check import CheckSettings, Grouping, check_dataset
    from vesalius.data.check.report import FILES, NUMBERS_NAME, PAGE_NAME, write_check_page
    from vesalius.processes import count_cores

    settings = CheckSettings(similarity, Grouping(group_regex, group_field), count_cores() if jobs is None else jobs)
    origin = {"data": str(folder.resolve()), "similarity": similarity, **asdict(settings.grouping)}
    claim = Claim(out, "data check", origin, FILES, overwrite)
    claim.check()
    with progress_bar() as bar:
        report = check_dataset(folder, settings, bar)
        claim.make()
        if out is not None:
            write_json(out / NUMBERS_NAME, report.to_dict())
            write_check_page(report, out / PAGE_NAME, bar)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_checked(report)
    if out is not None:
        say(f"Written: {out / NUMBERS_NAME}, {out / PAGE_NAME}")
    if report.wrong:
        sys.exit(1)


def _print_checked(report: "CheckReport") -> None:
    from vesalius.data.check import read_kinds

    by_kind, kinds = report.by_kind(), read_kinds()
    rows = [
        (
            str(kinds[each.kind].severity),
            kinds[each.kind].title,
            each.findings,
            *(each.splits[split] or None for split in SPLITS),
        )
        for each in report.counts()
    ]
    if rows:
        title = f"{report.root}: {report.images:,} images"
        print_table(("", "what", "findings", *SPLITS), rows, title=title)
    for kind, found in by_kind.items():
        severity = kinds[kind].severity
        lines = [f"{severity}: {finding.message} ({_where(finding)})" for finding in found]
        say_first(lines, EXAMPLES, f"{severity}: … {{}} more: {kinds[kind].title}")
    for leak in report.leaks:
        if leak.images:
            say(f"{leak.images} of {leak.of} {leak.scored} images resemble a {leak.seen} image.")
    verdict = "Something is wrong." if report.wrong else "Nothing is wrong."
    rate = report.images / report.seconds if report.seconds else 0.0
    say(f"{verdict} {report.images:,} images and their masks in {report.seconds:.1f} s, {rate:.0f} a second.")


def _where(finding: "CheckFinding") -> str:
    """The first places of a finding: "train 12, test 3"."""
    records = [
        place.split if place.record is None else f"{place.split} {place.record}"
        for place in finding.places
        if place.split
    ]
    if not records:
        return "no record"
    return ", ".join(records[:EXAMPLES]) + (" …" if len(records) > EXAMPLES else "")


def data_slices(
    source: Path,
    out: Annotated[Path, Parameter(alias="-o")],
    /,
    *,
    settings: Annotated[CutSettings, Flat] = CutSettings(),  # noqa: B008 - frozen
    split: Annotated[SplitConfig, Flat] = SplitConfig(),  # noqa: B008 - frozen
    modality: str | None = None,
    protocol: str | None = None,
    stations: tuple[str, ...] = (),
    organs: tuple[str, ...] = (),
    overwrite: bool = False,
    as_json: AsJson = False,
) -> None:
    """Cut volumes into labelled slices for naming: slices/*.png and slices.jsonl.

    SOURCE is a TotalSegmentator folder (CT or MR, any version), a folder with ct.nii.gz or mr.nii.gz beside
    segmentation.nii.gz and labels.json, or a series.toml. Of a single NIfTI volume or DICOM series without outlines,
    --modality, --protocol, --stations and --organs say what all its slices show; what is not said stays uncertain.

    An interrupted run goes on with the same command. What cannot be used is named and left out.

    Examples:
        vesalius data slices Totalsegmentator_dataset slices
        vesalius data slices head.nii.gz slices --modality MR --stations head

    Documentation:
        docs/anatomy-data.md

    Args:
        source: Where the volumes are.
        out: Folder for the slices.
        settings: Which slices, and how they look.
        split: Sizes of the splits, for patients whom meta.csv or series.toml put into none.
        modality: CT or MR, of a single series whose header does not tell.
        protocol: T1, T2, FLAIR, DWI, ADC or STIR, of a single series.
        stations: Stations on every slice of a single series.
        organs: Organs on every slice of a single series.
        overwrite: Replace all slices in the folder; without it, those of other volumes that were cut in the same way
            stay, and these are added.
        as_json: Print one JSON object.
    """
    from vesalius.data.slices import cut_slices, find_volumes
    from vesalius.data.slices.run import steps_of

    description = SeriesDescription(
        modality, protocol, *(tuple(map(SliceRange, names)) for names in (stations, organs))
    )
    check_description(description, "command line")
    volumes = find_volumes(source, description if description != SeriesDescription() else None)
    with watch("Cutting volumes", sum(steps_of(volume) for volume in volumes)) as advance:
        report = cut_slices(volumes, out, settings, split, advance, overwrite=overwrite)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_slices(report)


def _print_slices(report: "CutReport") -> None:
    splits = [(split, each["slices"], each["patients"]) for split, each in report.splits().items()]
    print_table(("split", "slices", "patients"), splits)
    for kind in ("stations", "organs"):
        states = report.states(kind)
        told = {name: each for name, each in states.items() if each["uncertain"] < len(report.rows)}
        rows = [(name, each["present"], each["uncertain"]) for name, each in told.items()]
        print_table((kind, "slices that show it", "uncertain"), rows)
        if len(told) < len(states):
            say(f"{kind} that nothing here tells: {', '.join(sorted(states.keys() - told.keys()))}")
    earlier = f" ({report.resumed} in an earlier run)" if report.resumed else ""
    volumes = "volume" if report.volumes == 1 else "volumes"
    kept = f", beside {report.kept} of other volumes" if report.kept else ""
    say(f"Cut {report.volumes} {volumes}{earlier} into {len(report.rows) - report.kept} slices in {report.dest}{kept}.")
    more = f"left out: {{}} more, listed in {report.dest / 'summary.json'}"
    say_first([f"left out: {problem}" for problem in report.problems], SHOWN, more)
