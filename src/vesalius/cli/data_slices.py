"""``vesalius data slices SOURCE OUT``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.console import print_json, print_table, say
from vesalius.data.anatomy import CutSettings, Said
from vesalius.data.anatomy.series_table import check_said
from vesalius.data.anatomy.settings import SliceRange
from vesalius.data.prepare.splitting import SplitConfig

if TYPE_CHECKING:
    from vesalius.data.anatomy import CutReport

SHOWN = 20
"""Problems printed; summary.json has all."""
Flat = Parameter(name="*")


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
    as_json: Annotated[bool, Parameter(name="--json")] = False,
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
    from vesalius.console import progress_bar
    from vesalius.data.anatomy import cut_slices, find_volumes
    from vesalius.data.anatomy.run import steps_of

    said = Said(modality, protocol, *(tuple(map(SliceRange, names)) for names in (stations, organs)))
    check_said(said, "command line")
    volumes = find_volumes(source, said if said != Said() else None)
    with progress_bar() as bar:
        task = bar.add_task("Cutting volumes", total=sum(steps_of(volume) for volume in volumes))
        report = cut_slices(volumes, out, settings, split, lambda steps: bar.advance(task, steps), overwrite=overwrite)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report)


def _print(report: "CutReport") -> None:
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
    for problem in report.problems[:SHOWN]:
        say(f"left out: {problem}")
    if len(report.problems) > SHOWN:
        say(f"left out: {len(report.problems) - SHOWN} more, listed in {report.dest / 'summary.json'}")
