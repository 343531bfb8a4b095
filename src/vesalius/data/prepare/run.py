"""Prepare a data set: every item once, then the records of each split."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from vesalius import __version__
from vesalius.data.annotations import DESCRIPTION, ImageRecord, write_target
from vesalius.data.prepare.items import Found, Item, Outline, PrepareReport, Problem, stem_of
from vesalius.data.prepare.journal import Entry, Example, Journal, format_records, stamp_of, write_item
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.splitting import Given, SplitConfig, assign_splits
from vesalius.data.prepare.tables import SPLITS
from vesalius.errors import DataError, MissingPackageError, OutputError, VesaliusError
from vesalius.files import read_json, write_json, write_text
from vesalius.folders import Claim
from vesalius.imaging.formats import read_start


class Work:
    """Goes through items and keeps what came of each.

    Args:
        source: What they are read from.
        journal: What earlier runs did, and where to note what this one does.
        given: Names to follow.
    """

    def __init__(self, source: Source, journal: Journal, given: Given | None) -> None:
        self.source, self.journal, self.given = source, journal, given
        self.entries: dict[str, Entry] = {}
        """Item -> what it gave."""
        self.problems: list[Problem] = []
        self.resumed = 0
        """Items that an earlier run had finished."""
        self._all_names = tuple(given.names) if given else ()

    def do(self, item: Item) -> None:
        """Write an item, unless that is done; what cannot be read becomes a problem.

        Raises:
            OutputError: If a file cannot be written.
            MissingPackageError: If a package that reads the item is not installed.
        """
        try:
            names = wanted_names(item, self.given)
            stamp = stamp_of(item, self.source, self._all_names if names is None else names)
            entry = self.journal.finished(item, stamp)
            self.resumed += entry is not None
            entry = entry or write_item(item, self.source, self.journal, self._name, stamp)
        except (OutputError, MissingPackageError):
            raise
        except (VesaliusError, OSError) as error:
            self.problems.append(Problem(self.source.describe(item.inputs[0]), str(error)))
            return
        self.entries[item.key] = entry
        self.problems += entry.problems

    def _name(self, outline: Outline) -> tuple[str, str] | None:
        if self.given is None:
            return outline.image_stem + outline.picture.suffix, outline.mask_stem + ".png"
        record = self.given.names.get(outline.mask_stem)
        fits = record is not None and stem_of(record.img_name) == outline.image_stem
        return (record.img_name, record.mask_name) if record and fits else None


def wanted_names(item: Item, given: Given | None) -> tuple[str, ...] | None:
    """Given file names of what an item may give; None if any name will do, or only reading the item tells."""
    if given is None or item.mask_stems is None:
        return None
    records = (given.names.get(stem) for stem in item.mask_stems)
    return tuple(name for record in records if record for name in (record.img_name, record.mask_name))


@dataclass(frozen=True)
class Assembled:
    """The rows of every annotation file."""

    records: Mapping[str, Sequence[ImageRecord]]
    problems: tuple[Problem, ...] = ()


def keep_given(given: Given, entries: Iterable[Entry]) -> Assembled:
    """The given rows, in their order, whose image and mask have been written."""
    written = {(example.image, example.mask) for entry in entries for example in entry.examples}
    records: dict[str, list[ImageRecord]] = {}
    problems = list(given.problems)
    for split, rows in given.rows.items():
        records[split] = []
        for row in rows:
            names = (row.record.img_name, row.record.mask_name)
            if names in written:
                records[split].append(row.record)
            else:
                message = f"'{names[0]}' with '{names[1]}' is not in the source, or cannot be read; left out."
                problems.append(Problem(row.place, message))
    return Assembled(records, tuple(problems))


def draw_splits(items: Sequence[Item], entries: Mapping[str, Entry], config: SplitConfig) -> Assembled:
    """Rows in the items' order; groups stay together, and where the authors put them.

    Raises:
        DataError: If one group is put into two splits.
    """
    done = [item for item in items if item.key in entries]
    groups: dict[str, Counter[str]] = {}
    for item in done:
        strata = groups.setdefault(item.group, Counter())
        strata.update(f"{example.kind}, empty: {example.empty}" for example in entries[item.key].examples)
    splits = assign_splits(groups, _fixed(done), config)
    records: dict[str, list[ImageRecord]] = {split: [] for split in SPLITS}
    for item in done:
        records[splits[item.group]] += [_to_record(example) for example in entries[item.key].examples]
    return Assembled(records)


def _fixed(items: Iterable[Item]) -> dict[str, str]:
    fixed: dict[str, Item] = {}
    for item in items:
        if item.split is None:
            continue
        first = fixed.setdefault(item.group, item)
        if first.split != item.split:
            places = f"'{first.key}' is in {first.split} and '{item.key}' in {item.split}"
            raise DataError(f"Group '{item.group}' crosses splits: {places}; put all of it into one.")
    return {group: item.split for group, item in fixed.items() if item.split}


def _to_record(example: Example) -> ImageRecord:
    return ImageRecord(example.image, example.mask, example.prompts, target=example.target)


SUMMARY = "prepare.json"
HASHES = "annotations_sha256"
"""Field of the summary: split -> what was written, so that changes made since are not lost."""
PNG = b"\x89PNG"

Records = Mapping[str, Sequence[ImageRecord]]


@dataclass(frozen=True)
class Plan:
    """What is to become of the items."""

    name: str
    """Data set."""
    split: SplitConfig = SplitConfig()
    """Used where neither the authors nor annotation files say."""
    given: Given | None = None
    """Annotation files to follow."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What else decides the result, as JSON, so that another preparation does not take its place."""
    overwrite: bool = False
    """Replace what was prepared in the folder from something else, or changed there since."""


def prepare(
    found: Found, source: Source, dest: Path, plan: Plan, on_item: Callable[[], None] = lambda: None
) -> PrepareReport:
    """Write images, masks and annotation files; what an earlier run has finished is kept.

    Annotation files and the summary, prepare.json, come last, so a folder that has them is complete. Items that cannot
    be read are left out and reported.

    Args:
        found: What the source holds.
        source: The original, which is only read.
        dest: Folder for the result: new, empty, or begun by an earlier run.
        plan: Names, splits and prompts.
        on_item: Called after every item.

    Raises:
        DataError: If the folder is used otherwise, or nothing could be prepared.
        OutputError: If the folder holds what was prepared from something else, annotation files in it were changed
            since, or a file cannot be written.
    """
    _check_apart(source.root, dest)
    items = [item for item in found.items if wanted_names(item, plan.given) != ()]
    if not items:
        raise _nothing(source, [*found.problems, *(plan.given.problems if plan.given else ())])
    journal = Journal(dest, plan.name)
    claim = Claim(dest, "data prepare", _describe(source, plan), (), plan.overwrite)
    claim.check()
    journal.open()
    claim.make()
    work = Work(source, journal, plan.given)
    for item in items:
        work.do(item)
        on_item()
    entries = work.entries
    made = keep_given(plan.given, entries.values()) if plan.given else draw_splits(items, entries, plan.split)
    report = _summarise(found, plan, work, made)
    if not any(made.records.values()):
        raise _nothing(source, report.problems)
    texts = {split: format_records(rows) for split, rows in made.records.items()}
    changed = [] if plan.overwrite else _find_changed(dest, texts)
    notes = [Problem(f"anns/{split}.json", "was changed since, and stays as it is.") for split in changed]
    report = replace(report, notes=(*report.notes, *notes))
    _write(report, texts, changed, plan, source)
    targets = {example.target for entry in entries.values() for example in entry.examples}
    if plan.overwrite or not (dest / DESCRIPTION).exists():
        write_target(dest, targets.pop() if len(targets) == 1 else "")
    work.journal.remove_others(entries)
    return report


def _find_changed(dest: Path, texts: Mapping[str, str]) -> list[str]:
    """Splits whose annotation file somebody changed since it was written, with new prompts for example.

    Raises:
        OutputError: If one of them would have to be written anew.
    """
    before = read_json(dest / SUMMARY) if (dest / SUMMARY).is_file() else {}
    hashes = before.get(HASHES) if isinstance(before, dict) else None
    changed = []
    for split, text in texts.items():
        path = dest / "anns" / f"{split}.json"
        written = hashes.get(split) if isinstance(hashes, dict) else None
        there = _hash(path.read_bytes()) if path.is_file() else None
        if there in (None, written, _hash(text.encode())):
            continue
        if written != _hash(text.encode()):
            remedy = "name another folder, or write it anew with --overwrite, which loses those changes"
            raise OutputError(f"{path}: was changed since it was prepared, and other records are due; {remedy}.")
        changed.append(split)
    return changed


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _describe(source: Source, plan: Plan) -> dict[str, object]:
    drawn = None if plan.given else asdict(plan.split)
    return {"data": plan.name, "source": str(source.root.resolve()), "split": drawn, **plan.settings}


def _summarise(found: Found, plan: Plan, work: Work, made: Assembled) -> PrepareReport:
    rows = [row for rows in made.records.values() for row in rows]
    empty = {(each.image, each.mask) for entry in work.entries.values() for each in entry.examples if each.empty}
    return PrepareReport(
        dest=work.journal.dest,
        records={split: len(rows) for split, rows in made.records.items()},
        images=len({row.img_name for row in rows}),
        empty=sum((row.img_name, row.mask_name) in empty for row in rows),
        resumed=work.resumed,
        problems=(*found.problems, *work.problems, *made.problems),
        notes=(*_notes(found, plan, made.records), *_disguised(work)),
    )


def _nothing(source: Source, problems: Sequence[Problem]) -> DataError:
    why = f" The first of {len(problems)} problems: {problems[0]}" if problems else ""
    return DataError(f"{source.root}: nothing of it could be prepared.{why}")


def _notes(found: Found, plan: Plan, records: Records) -> list[Problem]:
    if plan.given is None:
        empty = [split for split, rows in records.items() if not rows]
        return [*found.leaks, *(Problem(f"anns/{split}.json", "has no record.") for split in empty)]
    others = sum(wanted_names(item, plan.given) == () for item in found.items)
    message = f"{others} images with masks are in none of the annotation files, and were left out."
    return [Problem("annotations", message)] if others else []


def _disguised(work: Work) -> list[Problem]:
    """Files whose given name promises another format than they have."""
    if work.given is None:
        return []
    files = {path for entry in work.entries.values() for each in entry.examples for path in work.journal.files(each)}
    count = sum(path.suffix.lower() != ".png" and read_start(path).startswith(PNG) for path in files)
    message = f"{count} files are PNG under another suffix, so that no pixel changes; readers go by the content."
    return [Problem("annotations", message)] if count else []


def _write(report: PrepareReport, texts: Mapping[str, str], changed: Sequence[str], plan: Plan, source: Source) -> None:
    for split, text in texts.items():
        if split not in changed:
            write_text(report.dest / "anns" / f"{split}.json", text)
    summary = {**report.to_dict(), "data": plan.name, "source": str(source.root), "vesalius": __version__}
    summary[HASHES] = {split: _hash(text.encode()) for split, text in texts.items()}
    if plan.given is None:
        summary["split"] = asdict(plan.split)
    # How often it was interrupted, and where it lies, are no properties of the data.
    write_json(report.dest / SUMMARY, {key: value for key, value in summary.items() if key not in ("resumed", "dest")})


def _check_apart(source: Path, dest: Path) -> None:
    one, other = source.resolve(), dest.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise DataError(f"{dest}: lies within the source {source}, or around it; name a folder apart from it.")
