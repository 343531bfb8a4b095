"""Cut all volumes of a source into one folder of labelled slices; an interrupted run goes on where it stopped.

The table and ``summary.json`` come last.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL import Image

from vesalius import __version__
from vesalius.data.annotations import SPLITS
from vesalius.data.prepare.samples import Problem, to_slug
from vesalius.data.prepare.splitting import SplitConfig
from vesalius.data.slices.cutting import cut
from vesalius.data.slices.journal import COMMAND, CutJournal, stamp_volume
from vesalius.data.slices.outlines import mask_files
from vesalius.data.slices.sources import CutSettings, LabelledVolume, Subject, assign_split, check_splits
from vesalius.data.slices.table import PICTURES, TABLE, SliceRow, read_slice_table, write_slice_table
from vesalius.data.slices.visibility import read_visibility_rules
from vesalius.errors import DataError, VesaliusError
from vesalius.files import write_json, writing
from vesalius.folders import Claim
from vesalius.prompts.anatomy import ORGANS, STATIONS

SUMMARY = "summary.json"
KINDS: Mapping[str, Sequence[str]] = {"stations": STATIONS, "organs": ORGANS}


@dataclass(frozen=True)
class CutReport:
    """What became of a source."""

    dest: Path
    rows: Sequence[SliceRow]
    volumes: int
    """Volumes that were cut, earlier runs included."""
    resumed: int
    """Volumes that an earlier run had finished."""
    problems: Sequence[Problem]
    """Volumes that were left out."""
    kept: int = 0
    """Slices among the rows that were cut from other sources before."""

    def to_dict(self) -> dict[str, object]:
        """For ``--json`` and ``summary.json``."""
        return {
            "dest": str(self.dest),
            "slices": len(self.rows),
            "volumes": self.volumes,
            "resumed": self.resumed,
            "kept": self.kept,
            "patients": len({row.patient for row in self.rows}),
            "splits": self.splits(),
            "planes": dict(Counter(row.label.plane for row in self.rows)),
            "stations": self.states("stations"),
            "organs": self.states("organs"),
            "problems": [asdict(problem) for problem in self.problems],
        }

    def splits(self) -> Mapping[str, Mapping[str, int]]:
        """Split -> its slices and patients."""
        patients = {split: [row.patient for row in self.rows if row.split == split] for split in SPLITS}
        return {split: {"slices": len(own), "patients": len(set(own))} for split, own in patients.items()}

    def states(self, kind: str) -> Mapping[str, Mapping[str, int]]:
        """Label -> slices on which it is present, and uncertain; labels that are neither anywhere are left out.

        Args:
            kind: "stations" or "organs".
        """
        present = Counter(name for row in self.rows for name in getattr(row.label, kind))
        uncertain = Counter(name for row in self.rows for name in row.label.uncertain)
        names = [name for name in KINDS[kind] if present[name] or uncertain[name]]
        return {
            name: {"present": present[name], "uncertain": uncertain[name]}
            for name in sorted(names, key=lambda name: -present[name])
        }


def cut_slices(
    volumes: Sequence[LabelledVolume],
    dest: Path,
    settings: CutSettings,
    splits: SplitConfig,
    on_step: Callable[[int], None] = lambda steps: None,
    *,
    overwrite: bool = False,
) -> CutReport:
    """Cut volumes into ``slices/*.png`` and ``slices.jsonl``; what an earlier run has finished is kept.

    Slices of other volumes that were cut into the folder in the same way stay, and these are added to them. The table
    and ``summary.json`` come last, so a folder that has them is complete.

    Args:
        volumes: What to cut.
        dest: Folder for the result: new, empty, or begun by an earlier run.
        settings: Which slices, and how they look.
        splits: Sizes of the splits, for patients whose split the source does not give.
        on_step: Called with a number of finished `steps_of` a volume.
        overwrite: Replace whatever slices are in the folder, also if they were cut in another way.

    Raises:
        DataError: If the folder is used otherwise, a patient is in two splits, or nothing could be cut.
        OutputError: If the folder holds slices that were cut in another way, or a file cannot be written.
    """
    named, journal = _by_slug(volumes), CutJournal(dest)
    claim = Claim(dest, COMMAND, {"settings": asdict(settings), "split": asdict(splits)}, (TABLE,), overwrite)
    claim.check()
    kept = [] if overwrite else _others(dest, journal, named)
    subjects = {row.volume: Subject(row.patient, row.split) for row in kept}
    check_splits(subjects | {volume.name: volume.subject for volume in volumes}, splits)
    claim.make()
    cut_rows: dict[str, list[SliceRow]] = {}
    problems: list[Problem] = []
    resumed = 0
    before: set[str] = set()
    for slug, volume in named.items():
        steps = _Steps(steps_of(volume), on_step)
        try:
            stamp = stamp_volume(volume, settings)
            rows = journal.finished(slug, stamp)
            resumed += rows is not None
            if rows is None:
                before |= journal.begin(slug)
                rows = _cut_volume(slug, volume, dest, settings, steps.on_mask)
                journal.add(slug, volume.image, stamp, rows)
            cut_rows[slug] = [replace(row, split=assign_split(volume.subject, splits)) for row in rows]
        except VesaliusError as error:
            problems.append(Problem(volume.name, str(error)))
        on_step(steps.left)
    if not cut_rows:
        why = f" The first of {len(problems)} problems: {problems[0]}" if problems else ""
        raise DataError(f"nothing could be cut.{why}")
    rows = [*kept, *(row for own in cut_rows.values() for row in own)]
    rows = sorted(rows, key=lambda row: to_slug(row.volume)) if kept else rows
    report = CutReport(dest, rows, len(cut_rows), resumed, problems, len(kept))
    write_slice_table(dest, rows)
    described = {key: value for key, value in report.to_dict().items() if key not in ("dest", "resumed")}
    write_json(
        dest / SUMMARY,
        {**described, "settings": asdict(settings), "split": asdict(splits), "vesalius": __version__},
    )
    journal.remove_others(rows, named, before, everything=overwrite)
    return report


def _others(dest: Path, journal: CutJournal, named: Mapping[str, LabelledVolume]) -> list[SliceRow]:
    """Rows of volumes that were cut before and are not among these.

    Raises:
        DataError: If one of these has the name of another volume that was.
    """
    for slug, volume in named.items():
        before = journal.image_of(slug)
        if before not in (None, str(volume.image.resolve())):
            other = f"{volume.image} would take the place of {before}, which has the same name"
            raise DataError(f"{dest}: {other}; rename one, name another folder, or replace all with --overwrite.")
    rows = read_slice_table(dest) if (dest / TABLE).is_file() else []
    return [row for row in rows if to_slug(row.volume) not in named]


def steps_of(volume: LabelledVolume) -> int:
    """Steps of progress that a volume takes: one, and one for each mask volume."""
    if volume.outlines is None or volume.names is not None:
        return 1
    return 1 + len(mask_files(volume.outlines, read_visibility_rules().structures))


class _Steps:
    """Steps of progress that are left of a volume."""

    def __init__(self, left: int, on_step: Callable[[int], None]) -> None:
        self.left, self._on_step = left, on_step

    def on_mask(self) -> None:
        if self.left > 1:
            self.left -= 1
            self._on_step(1)


def _cut_volume(
    slug: str, volume: LabelledVolume, dest: Path, settings: CutSettings, on_mask: Callable[[], None]
) -> list[SliceRow]:
    """Write the pictures of a volume; which split they belong to is left open."""
    rows = []
    for picture in cut(volume, settings, on_mask):
        look = f"_{to_slug(picture.window)}" if picture.window and len(settings.windows) > 1 else ""
        file = f"{PICTURES}/{slug}_{picture.plane}_{picture.slice.index:04d}{look}.png"
        with writing(dest / file) as unfinished:
            Image.fromarray(picture.levels).save(unfinished, format="PNG")
        rows.append(
            SliceRow(
                file=file,
                volume=volume.name,
                patient=volume.subject.patient,
                split="",
                position_mm=None if picture.slice.position_mm is None else round(picture.slice.position_mm, 3),
                index=picture.slice.index,
                window=picture.window,
                obliquity=round(picture.obliquity, 1),
                label=picture.label,
            )
        )
    if not rows:
        raise DataError(f"{volume.image}: has no slice with tissue.")
    return rows


def _by_slug(volumes: Sequence[LabelledVolume]) -> dict[str, LabelledVolume]:
    named: dict[str, LabelledVolume] = {}
    for volume in volumes:
        other = named.setdefault(to_slug(volume.name), volume)
        if other is not volume:
            raise DataError(f"{other.image} and {volume.image} would write files of the same names; rename one.")
    return named
