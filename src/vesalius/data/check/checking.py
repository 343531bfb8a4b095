"""`check_dataset`: read everything once, then check pixels, patients, duplicates and wordings.

The checks of pixels and of patients are here; duplicates and wordings have files of their own.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.progress import Progress

from vesalius.data.annotations import SPLITS, compile_group_regex, find_group, tell_size
from vesalius.data.check.duplicates import check_contradictions, check_duplicates, count_leaks, find_likenesses
from vesalius.data.check.facts import FileFacts, MaskFacts, Uses, ValueKind, check_folders, examine_files, gather_uses
from vesalius.data.check.findings import CheckFinding, PlacedRecord, read_splits
from vesalius.data.check.report import CheckReport
from vesalius.data.check.wordings import check_wordings, denials
from vesalius.errors import ConfigError
from vesalius.processes import check_jobs

PLAIN = (ValueKind.BINARY, ValueKind.ARTEFACTS)
"""Masks whose area means something; of others, the values are what is wrong."""
SHOWN = 8
"""Values that a message lists at most."""


def _check_pixels(rows: Iterable[PlacedRecord], images: Uses, masks: Uses, facts: FileFacts) -> Iterator[CheckFinding]:
    """Sizes, slices and constant values of images; sizes, values and areas of masks."""
    yield from _check_images(images, facts)
    yield from _check_values(masks, facts)
    for row in rows:
        yield from _check_row(row, facts)


def _check_images(images: Uses, facts: FileFacts) -> Iterator[CheckFinding]:
    for file, image in facts.images.items():
        places = tuple(row.at(file) for row in images[file])
        if image.slices > 1:
            yield CheckFinding("several_slices", f"{file} has {image.slices} slices; only the first is used.", places)
        if image.blank:
            yield CheckFinding("blank_image", f"{file} has the same value everywhere.", places)


def _check_values(masks: Uses, facts: FileFacts) -> Iterator[CheckFinding]:
    for file, mask in facts.masks.items():
        places = tuple(row.at(file) for row in masks[file])
        if mask.kind is not ValueKind.BINARY:
            details = {"values": list(mask.values), "between": round(mask.between, 6), "inside": round(mask.share, 6)}
            yield CheckFinding(f"{mask.kind}_in_mask", _tell(file, mask), places, details)


def _check_row(row: PlacedRecord, facts: FileFacts) -> Iterator[CheckFinding]:
    image, mask = facts.images.get(row.image), facts.masks.get(row.mask)
    if mask is None:
        return
    if image is not None and image.size != mask.size:
        message = (
            f"{row.mask} is {tell_size(mask.size)}, expected {row.image}'s {tell_size(image.size)} (height × width)."
        )
        yield row.finding("size_mismatch", message, row.mask)
    if mask.kind not in PLAIN:
        return
    if mask.share == 0 and not row.record.absent and not denials(row.record.prompts):
        yield row.finding("empty_mask", f"{row.mask}: nothing is marked, and no prompt says so.", row.mask)
    if mask.share == 1:
        yield row.finding("full_mask", f"{row.mask}: every pixel is marked.", row.mask)


def _tell(file: str, mask: MaskFacts) -> str:
    share = f"{mask.share:.2%} of the pixels read as inside"
    match mask.kind:
        case ValueKind.COLOUR:
            return f"{file} is in colour; {share}."
        case ValueKind.ARTEFACTS:
            between = f"{mask.between:.2%} of the pixels are neither near black nor near white"
            return f"{file} holds {len(mask.values)} values, {_list(mask.values)}; {between}."
        case _:
            return f"{file} holds the values {_list(mask.values)}; {share}."


def _list(values: tuple[float, ...]) -> str:
    texts = [f"{value:g}" for value in values]
    if len(texts) <= SHOWN:
        return ", ".join(texts)
    half = SHOWN // 2
    return f"{', '.join(texts[:half])} … {', '.join(texts[-half:])}"


@dataclass(frozen=True)
class Grouping:
    """How a record says which patient, video or examination it belongs to."""

    regex: str | None = None
    """Searched in the image's name; its first bracket names the group, without brackets the whole match."""
    field: str | None = None
    """A field of the record."""

    def __post_init__(self) -> None:
        if self.regex is not None and self.field is not None:
            raise ConfigError("Groups are told by --group-regex or by --group-field; choose one.")
        compile_group_regex(self.regex or "")


def _check_groups(rows: Sequence[PlacedRecord], grouping: Grouping) -> Iterator[CheckFinding]:
    """Groups in several splits, and images without a group.

    Raises:
        ConfigError: If no record has a group.
    """
    if grouping == Grouping() or not rows:
        return
    groups: dict[str, list[PlacedRecord]] = {}
    lacking = []
    for row in rows:
        name = _name_group(row, grouping)
        if name is None:
            lacking.append(row)
        else:
            groups.setdefault(name, []).append(row)
    if not groups:
        raise ConfigError(_nothing_found(rows[0], grouping))
    for row in lacking:
        yield row.finding("no_group", f"{row.image} belongs to no group.")
    yield from _check_splits(groups)


def _name_group(row: PlacedRecord, grouping: Grouping) -> str | None:
    if grouping.field is not None:
        value = row.fields.get(grouping.field)
        return None if value is None or value == "" else str(value)
    return find_group(compile_group_regex(grouping.regex or ""), row.record.img_name)


def _check_splits(groups: Mapping[str, Sequence[PlacedRecord]]) -> Iterator[CheckFinding]:
    for name, rows in groups.items():
        counts = {split: sum(row.split == split for row in rows) for split in SPLITS}
        if sum(count > 0 for count in counts.values()) > 1:
            where = ", ".join(f"{split} ({count})" for split, count in counts.items() if count)
            message = f"The group '{name}' has images in {where}."
            yield CheckFinding(
                "group_across_splits", message, tuple(row.at(row.image) for row in rows), {"group": name}
            )


def _nothing_found(row: PlacedRecord, grouping: Grouping) -> str:
    if grouping.field is not None:
        fields = ", ".join(map(str, row.fields))
        return (
            f"--group-field: no record has a field '{grouping.field}'; {row.split}, record {row.number} has {fields}."
        )
    return f"--group-regex: '{grouping.regex}' matches no name; the first is '{row.record.img_name}'."


LEAST = 0.5
"""Below this similarity, pictures of one kind resemble each other anyway."""


@dataclass(frozen=True)
class CheckSettings:
    """Settings of `check_dataset`."""

    similarity: float = 0.9
    """Correlation from which two images are near-duplicates, 0.5 to 1."""
    grouping: Grouping = field(default_factory=Grouping)
    """How a record says which patient it belongs to; by default patients are unknown."""
    jobs: int = 1
    """Processes that read files at the same time."""

    def __post_init__(self) -> None:
        if not LEAST <= self.similarity <= 1:
            raise ConfigError(f"--similarity: expected {LEAST} to 1, got {self.similarity}.")
        check_jobs(self.jobs)


def check_dataset(root: Path, settings: CheckSettings | None = None, bar: Progress | None = None) -> CheckReport:
    """Look for everything that is wrong with a data set in the benchmark's layout.

    Args:
        root: Folder with ``images/``, ``masks/`` and ``anns/``.
        settings: What counts as a near-duplicate or a group, and how many processes read.
        bar: Where progress is shown; nowhere by default.

    Raises:
        DataError: If the folder is no data set at all.
        ConfigError: If the setting for groups fits no record.
    """
    settings, bar = settings or CheckSettings(), bar or Progress(disable=True)
    start = time.perf_counter()
    rows, findings = read_splits(root)
    complete = not findings
    findings += _check_groups(rows, settings.grouping)
    images, masks = gather_uses(rows)
    findings += check_folders(root, images, masks, complete=complete)
    facts = examine_files(root, images, masks, jobs=settings.jobs, bar=bar)
    findings += facts.findings
    findings += _check_pixels(rows, images, masks, facts)
    findings += check_wordings(rows, facts)
    groups = find_likenesses(facts.images, settings.similarity, bar)
    findings += check_duplicates(groups, images)
    findings += check_contradictions(root, groups, images, facts)
    records = Counter(row.split for row in rows)
    return CheckReport(
        root=root,
        records={split: records[split] for split in SPLITS},
        images=len(facts.images),
        findings=findings,
        leaks=count_leaks(groups, images),
        settings=asdict(settings),
        seconds=time.perf_counter() - start,
        rows=rows,
    )
