"""Cut all volumes of a source into one folder of labelled slices; an interrupted run goes on where it stopped.

``.volumes/NAME.json`` notes what a volume gave once all its pictures are written; the table and ``summary.json`` come
last.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL import Image

from vesalius import __version__
from vesalius.data.annotations import SPLITS
from vesalius.data.prepare.samples import Problem, to_slug
from vesalius.data.prepare.splitting import SplitConfig
from vesalius.data.slices.cutting import cut
from vesalius.data.slices.outlines import mask_files
from vesalius.data.slices.sources import CutSettings, LabelledVolume, Subject, assign_split, check_splits
from vesalius.data.slices.table import PICTURES, TABLE, SliceRow, read_slice_table, to_row, write_table
from vesalius.data.slices.visibility import read_rules
from vesalius.errors import DataError, VesaliusError
from vesalius.files import read_json, write_json, writing
from vesalius.folders import Claim, read_notes
from vesalius.prompts.anatomy import ORGANS, STATIONS

COMMAND = "data slices"
FOLDER = ".volumes"


@dataclass(frozen=True)
class CutJournal:
    """The journal of one folder of slices.

    Raises:
        DataError: If the folder holds anything else.
        OutputError: If its made.json is damaged.
    """

    dest: Path

    def __post_init__(self) -> None:
        dest = self.dest
        if dest.exists() and not dest.is_dir():
            raise DataError(f"{dest}: is a file; name a folder for the slices.")
        ours = (dest / FOLDER).is_dir() or (dest / TABLE).is_file() or COMMAND in read_notes(dest)
        if not ours and dest.is_dir() and any(dest.iterdir()):
            raise DataError(f"{dest}: holds files that are no slices; name a new or an empty folder.")

    def finished(self, name: str, stamp: str) -> list[SliceRow] | None:
        """Rows of a volume that was cut from the same files in the same way, if all its pictures are there."""
        before, rows = self._read(name)
        there = before == stamp and all((self.dest / row.file).is_file() for row in rows)
        return rows if there else None

    def _read(self, name: str) -> tuple[object, list[SliceRow]]:
        """Stamp and rows of a volume; of a damaged note, nothing."""
        path = self._path(name)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return content.get("stamp"), [to_row(row, str(path)) for row in content["rows"]]
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError, DataError):
            return None, []

    def image_of(self, name: str) -> str | None:
        """The file that the volume of this name was cut from; None if none is noted."""
        try:
            content = read_json(self._path(name))
        except DataError:
            return None
        image = content.get("image") if isinstance(content, dict) else None
        return image if isinstance(image, str) else None

    def begin(self, name: str) -> set[str]:
        """Forget what an earlier run made of a volume, as its pictures will be overwritten; gives their files."""
        files = {row.file for row in self._read(name)[1]}
        self._path(name).unlink(missing_ok=True)
        return files

    def add(self, name: str, image: Path, stamp: str, rows: Sequence[SliceRow]) -> None:
        """Note that a volume is finished.

        Raises:
            OutputError: If that cannot be written.
        """
        note = {"stamp": stamp, "image": str(image.resolve()), "rows": [row.to_dict() for row in rows]}
        write_json(self._path(name), note)

    def remove_others(
        self, rows: Iterable[SliceRow], names: Iterable[str], before: Iterable[str], *, everything: bool
    ) -> None:
        """Delete pictures that no row names any more.

        Args:
            rows: All of the table.
            names: Volumes of this run.
            before: Pictures that earlier runs made of them.
            everything: Delete those of all other volumes, too, and the notes on them.
        """
        wanted = {self.dest / row.file for row in rows}
        notes = {self._path(name) for name in names}
        inside = (self.dest / PICTURES).resolve()
        paths = [self.dest / file for file in before]
        if everything:
            paths = [*(self.dest / PICTURES).glob("*.png"), *(self.dest / FOLDER).glob("*.json")]
        for path in paths:
            if path not in wanted and path not in notes and (everything or path.resolve().is_relative_to(inside)):
                path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.dest / FOLDER / f"{name}.json"


def stamp_of(volume: LabelledVolume, settings: CutSettings) -> str:
    """Changes when a volume, one of its files, what is said of it or the settings change."""
    parts = [__version__, repr(volume), repr(settings)]
    for path in volume.inputs:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        states = [each.stat() for each in files if each.is_file()]
        parts.append(f"{len(states)}:{sum(each.st_size for each in states)}:{[each.st_mtime_ns for each in states]}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


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
            stamp = stamp_of(volume, settings)
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
    write_table(dest, rows)
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
    return 1 + len(mask_files(volume.outlines, read_rules().structures))


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
