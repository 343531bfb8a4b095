"""Prepare a data set: every sample once, then the records of each split, then the summary."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from vesalius import __version__
from vesalius.data.annotations import DESCRIPTION, SPLITS, ImageRecord, annotations_path, write_target
from vesalius.data.prepare.journal import FinishedSample, PrepareJournal, format_records, stamp_sample, write_sample
from vesalius.data.prepare.samples import FoundSamples, Outline, PrepareReport, Problem, SourceSample, without_suffix
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.splitting import ExistingAnnotations, SplitConfig, assign_splits
from vesalius.errors import DataError, MissingPackageError, OutputError, VesaliusError
from vesalius.files import read_json, write_json, write_text
from vesalius.folders import Claim
from vesalius.imaging.formats import read_start

SUMMARY = "prepare.json"
HASHES = "annotations_sha256"
"""Field of the summary: split -> hash of what was written, so that later changes by hand are not lost."""
PNG = b"\x89PNG"

Records = Mapping[str, Sequence[ImageRecord]]
"""Split -> rows of its annotation file."""


@dataclass(frozen=True)
class PreparePlan:
    """How the samples are named and split."""

    name: str
    """Name of the data set."""
    split: SplitConfig = SplitConfig()
    """Sizes of the splits where neither the authors nor annotation files decide."""
    existing: ExistingAnnotations | None = None
    """Annotation files whose names, splits and prompts are kept."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Whatever else decides the result, as JSON, so that another preparation does not take its place."""
    overwrite: bool = False
    """Replace what was prepared in the folder from something else, or changed there since."""


@dataclass
class Prepared:
    """What came of the samples."""

    entries: dict[str, FinishedSample] = field(default_factory=dict)
    """Sample -> what it gave."""
    problems: list[Problem] = field(default_factory=list)
    """Samples, or parts of them, that were left out."""
    resumed: int = 0
    """Samples that an earlier run had finished."""


def prepare(
    found: FoundSamples, source: Source, dest: Path, plan: PreparePlan, on_sample: Callable[[], None] = lambda: None
) -> PrepareReport:
    """Write images, masks and annotation files; what an earlier run has finished is kept.

    Annotation files and the summary, prepare.json, come last, so a folder that has them is complete. Samples that
    cannot be read are left out and reported.

    Args:
        found: What the source holds.
        source: The original, which is only read.
        dest: Folder for the result: new, empty, or begun by an earlier run.
        plan: Names, splits and prompts.
        on_sample: Called after every sample, for progress.

    Raises:
        DataError: If the folder is used otherwise, or nothing could be prepared.
        OutputError: If the folder holds what was prepared from something else, annotation files in it were changed
            since, or a file cannot be written.
    """
    _check_apart(source.root, dest)
    samples = [sample for sample in found.samples if wanted_names(sample, plan.existing) != ()]
    if not samples:
        raise _nothing(source, [*found.problems, *(plan.existing.problems if plan.existing else ())])
    journal = PrepareJournal(dest, plan.name)
    claim = Claim(dest, "data prepare", _describe(source, plan), (), plan.overwrite)
    claim.check()
    journal.open()
    claim.make()
    done = _write_samples(samples, source, journal, plan.existing, on_sample)
    if plan.existing:
        records, lost = keep_existing(plan.existing, done.entries.values())
    else:
        records, lost = draw_splits(samples, done.entries, plan.split), []
    problems = (*found.problems, *done.problems, *lost)
    if not any(records.values()):
        raise _nothing(source, problems)
    texts = {split: format_records(rows) for split, rows in records.items()}
    changed = [] if plan.overwrite else _find_changed(dest, texts)
    notes = [Problem(f"anns/{split}.json", "was changed since, and stays as it is.") for split in changed]
    report = _summarise(journal, done, records, problems)
    report = replace(report, notes=(*_notes(found, plan, records), *_disguised(journal, done, plan), *notes))
    _write(report, texts, changed, plan, source)
    targets = {record.target for entry in done.entries.values() for record in entry.examples}
    if plan.overwrite or not (dest / DESCRIPTION).exists():
        write_target(dest, targets.pop() if len(targets) == 1 else "")
    journal.remove_others(done.entries)
    return report


def _write_samples(
    samples: Iterable[SourceSample],
    source: Source,
    journal: PrepareJournal,
    existing: ExistingAnnotations | None,
    on_sample: Callable[[], None],
) -> Prepared:
    """Write every sample that is not finished; what cannot be read becomes a problem."""
    done = Prepared()
    all_names = tuple(existing.names) if existing else ()
    for sample in samples:
        try:
            names = wanted_names(sample, existing)
            stamp = stamp_sample(sample, source, all_names if names is None else names)
            entry = journal.finished(sample, stamp)
            done.resumed += entry is not None
            entry = entry or write_sample(sample, source, journal, lambda outline: _name(outline, existing), stamp)
            done.entries[sample.key] = entry
            done.problems += entry.problems
        except (OutputError, MissingPackageError):
            raise
        except (VesaliusError, OSError) as error:
            done.problems.append(Problem(source.describe(sample.inputs[0]), str(error)))
        on_sample()
    return done


def _name(outline: Outline, existing: ExistingAnnotations | None) -> tuple[str, str] | None:
    if existing is None:
        return outline.image_stem + outline.picture.suffix, outline.mask_stem + ".png"
    record = existing.names.get(outline.mask_stem)
    fits = record is not None and without_suffix(record.img_name) == outline.image_stem
    return (record.img_name, record.mask_name) if record and fits else None


def wanted_names(sample: SourceSample, existing: ExistingAnnotations | None) -> tuple[str, ...] | None:
    """File names that annotations ask of a sample; None if any name will do, or only reading the sample tells."""
    if existing is None or sample.mask_stems is None:
        return None
    records = (existing.names.get(stem) for stem in sample.mask_stems)
    return tuple(name for record in records if record for name in (record.img_name, record.mask_name))


def keep_existing(
    existing: ExistingAnnotations, entries: Iterable[FinishedSample]
) -> tuple[dict[str, list[ImageRecord]], list[Problem]]:
    """The existing rows, in their order, whose image and mask have been written, and problems with all others."""
    written = {(record.image, record.mask) for entry in entries for record in entry.examples}
    records: dict[str, list[ImageRecord]] = {split: [] for split in existing.rows}
    problems = list(existing.problems)
    for split, rows in existing.rows.items():
        for row in rows:
            names = (row.record.img_name, row.record.mask_name)
            if names in written:
                records[split].append(row.record)
            else:
                message = f"'{names[0]}' with '{names[1]}' is not in the source, or cannot be read; left out."
                problems.append(Problem(row.place, message))
    return records, problems


def draw_splits(
    samples: Sequence[SourceSample], entries: Mapping[str, FinishedSample], config: SplitConfig
) -> dict[str, list[ImageRecord]]:
    """Rows in the samples' order; groups stay together, and where the authors put them.

    Raises:
        DataError: If one group is put into two splits.
    """
    done = [sample for sample in samples if sample.key in entries]
    groups: dict[str, Counter[str]] = {}
    for sample in done:
        strata = groups.setdefault(sample.group, Counter())
        strata.update(f"{record.kind}, empty: {record.empty}" for record in entries[sample.key].examples)
    splits = assign_splits(groups, _fixed(done), config)
    records: dict[str, list[ImageRecord]] = {split: [] for split in SPLITS}
    for sample in done:
        records[splits[sample.group]] += [
            ImageRecord(record.image, record.mask, record.prompts, target=record.target)
            for record in entries[sample.key].examples
        ]
    return records


def _fixed(samples: Iterable[SourceSample]) -> dict[str, str]:
    fixed: dict[str, SourceSample] = {}
    for sample in samples:
        if sample.split is None:
            continue
        first = fixed.setdefault(sample.group, sample)
        if first.split != sample.split:
            places = f"'{first.key}' is in {first.split} and '{sample.key}' in {sample.split}"
            raise DataError(f"Group '{sample.group}' crosses splits: {places}; put all of it into one.")
    return {group: sample.split for group, sample in fixed.items() if sample.split}


def _find_changed(dest: Path, texts: Mapping[str, str]) -> list[str]:
    """Splits whose annotation file was changed since it was written, with new prompts for example.

    Raises:
        OutputError: If one of them would have to be replaced.
    """
    before = read_json(dest / SUMMARY) if (dest / SUMMARY).is_file() else {}
    hashes = before.get(HASHES) if isinstance(before, dict) else None
    changed = []
    for split, text in texts.items():
        path = annotations_path(dest, split)
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


def _describe(source: Source, plan: PreparePlan) -> dict[str, object]:
    drawn = None if plan.existing else asdict(plan.split)
    return {"data": plan.name, "source": str(source.root.resolve()), "split": drawn, **plan.settings}


def _summarise(
    journal: PrepareJournal, done: Prepared, records: Records, problems: tuple[Problem, ...]
) -> PrepareReport:
    rows = [row for rows in records.values() for row in rows]
    empty = {(each.image, each.mask) for entry in done.entries.values() for each in entry.examples if each.empty}
    return PrepareReport(
        dest=journal.dest,
        records={split: len(rows) for split, rows in records.items()},
        images=len({row.img_name for row in rows}),
        empty=sum((row.img_name, row.mask_name) in empty for row in rows),
        resumed=done.resumed,
        problems=problems,
    )


def _nothing(source: Source, problems: Sequence[Problem]) -> DataError:
    why = f" The first of {len(problems)} problems: {problems[0]}" if problems else ""
    return DataError(f"{source.root}: nothing of it could be prepared.{why}")


def _notes(found: FoundSamples, plan: PreparePlan, records: Records) -> list[Problem]:
    if plan.existing is None:
        empty = [split for split, rows in records.items() if not rows]
        return [*found.leaks, *(Problem(f"anns/{split}.json", "has no record.") for split in empty)]
    others = sum(wanted_names(sample, plan.existing) == () for sample in found.samples)
    message = f"{others} images with masks are in none of the annotation files, and were left out."
    return [Problem("annotations", message)] if others else []


def _disguised(journal: PrepareJournal, done: Prepared, plan: PreparePlan) -> list[Problem]:
    """Files whose existing name promises another format than they have."""
    if plan.existing is None:
        return []
    files = {path for entry in done.entries.values() for each in entry.examples for path in journal.files(each)}
    count = sum(path.suffix.lower() != ".png" and read_start(path).startswith(PNG) for path in files)
    message = f"{count} files are PNG under another suffix, so that no pixel changes; readers go by the content."
    return [Problem("annotations", message)] if count else []


def _write(
    report: PrepareReport, texts: Mapping[str, str], changed: Sequence[str], plan: PreparePlan, source: Source
) -> None:
    for split, text in texts.items():
        if split not in changed:
            write_text(annotations_path(report.dest, split), text)
    summary = {**report.to_dict(), "data": plan.name, "source": str(source.root), "vesalius": __version__}
    summary[HASHES] = {split: _hash(text.encode()) for split, text in texts.items()}
    if plan.existing is None:
        summary["split"] = asdict(plan.split)
    # How often it was interrupted, and where it lies, are no properties of the data.
    write_json(report.dest / SUMMARY, {key: value for key, value in summary.items() if key not in ("resumed", "dest")})


def _check_apart(source: Path, dest: Path) -> None:
    one, other = source.resolve(), dest.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise DataError(f"{dest}: lies within the source {source}, or around it; name a folder apart from it.")
