"""Prompts for a data set on disk: each record's, from its mask and image, into its annotation file."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from vesalius.data.annotations import (
    ImageRecord,
    annotations_path,
    ask_for_absent,
    asks_for_absent,
    read_annotation_list,
    read_pair,
    to_record,
)
from vesalius.data.prepare.samples import Problem
from vesalius.errors import DataError, ImageError, MissingPackageError
from vesalius.files import to_json, write_text
from vesalius.prompts import AttributeRules, FamilySet, ObjectWords, Templates, sort_families, variants, write_prompts
from vesalius.prompts.attributes import Attributes, describe

Row = dict[str, object]
TO_THE_LAYOUT = "bring images and masks into this layout with `vesalius data prepare custom`"


@dataclass(frozen=True)
class PromptPlan:
    """Settings of `generate_prompts`."""

    templates: Templates
    rules: AttributeRules
    outlined: str | None = None
    """What masks outline; overrides what the data say."""
    told: str | None = None
    """What all masks of the folder outline, where a record does not say; without it, what its p1 says."""
    family_set: str | None = None
    """Set of prompt families; by default the object's."""
    replace: bool = False
    """Replace families that a record has already."""
    absent: bool = False
    """Add a record to each image that asks for what such pictures never show."""


@dataclass
class PromptReport:
    """What came of one annotation file."""

    file: str
    records: int = 0
    """Rows it had, without those about absent things."""
    written: int = 0
    """Records that got new prompts."""
    complete: int = 0
    """Records that had all already."""
    empty: int = 0
    """Records read whose mask is empty."""
    absent: int = 0
    """Records about absent things that were added."""
    lacking: dict[str, list[str]] = field(default_factory=dict)
    """Object -> families left out, because they need words that it does not have."""
    problems: list[Problem] = field(default_factory=list)
    """Records that stay as they were, and why."""

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Entry:
    """A usable row and what its mask shows."""

    row: Row
    record: ImageRecord
    outlined: ObjectWords
    family_set: FamilySet
    attributes: Attributes | None = None
    size: tuple[int, int] = (0, 0)


def generate_prompts(
    root: Path, split: str, plan: PromptPlan, *, out: Path | None = None, on_record: Callable[[], None] = lambda: None
) -> PromptReport:
    """Write the prompts of one split.

    Rows that cannot be used stay as they are and are reported; fields of other programs stay, too.

    Args:
        root: Folder with images/, masks/ and anns/.
        split: Name of an annotation file.
        plan: What to write.
        out: Folder for the new annotation file, which otherwise takes the place of the old one.
        on_record: Called after each row, for progress.

    Raises:
        DataError: If there is no such annotation file, or it is no list of records.
        PromptError: If the plan's set is not among its templates.
        OutputError: If the result cannot be written.
    """
    rows = read_annotation_list(annotations_path(root, split), TO_THE_LAYOUT)
    report = PromptReport(f"anns/{split}.json", records=sum(not asks_for_absent(row) for row in rows))
    entries = _read_entries(root, rows, plan, report, on_record)
    report.complete = report.records - len(entries) - len(report.problems)
    _fill_entries(entries, plan, report)
    if plan.absent:
        asked = [(each.record, each.size, each.family_set.never) for each in entries]
        extra = ask_for_absent(root, asked)
        rows, report.absent = [row for row in rows if not asks_for_absent(row)] + extra, len(extra)
    if out or report.written or plan.absent:
        _write_rows(out / f"{split}.json" if out else annotations_path(root, split), rows)
    return report


def _write_rows(path: Path, rows: Sequence[object]) -> None:
    write_text(path, to_json(rows, indent=1, ascii_only=False) + "\n")


def _read_entries(
    root: Path, rows: Sequence[object], plan: PromptPlan, report: PromptReport, on_record: Callable[[], None]
) -> list[_Entry]:
    """What is to be worded, and what else its images show; the report gets the rest."""
    unfinished = _find_unfinished(rows, plan)
    entries: list[_Entry] = []
    for number, row in enumerate(rows):
        place = f"{report.file}, record {number}"
        try:
            found = _read_row(row, plan, place)
            if found and (found.record.img_name in unfinished or plan.replace or plan.absent):
                attributes, size = _describe_record(root, found.record, plan.rules)
                entries.append(replace(found, attributes=attributes, size=size))
        except (DataError, ImageError, MissingPackageError) as error:
            report.problems.append(Problem(place, str(error)))
        on_record()
    return entries


def _find_unfinished(rows: Sequence[object], plan: PromptPlan) -> set[str]:
    """Images of which a record lacks prompts; all that they show has to be known to word it."""
    found = set()
    for row in rows:
        with suppress(DataError):  # told where the row is read
            entry = _read_row(row, plan, "")
            if entry and not entry.family_set.families.keys() <= entry.record.prompts.keys():
                found.add(entry.record.img_name)
    return found


def _read_row(row: object, plan: PromptPlan, place: str) -> _Entry | None:
    """An entry whose mask has not been read yet; None for a record about something absent."""
    if asks_for_absent(row):
        return None
    asked = {**row, "prompts": row.get("prompts") or {"p0": ""}} if isinstance(row, dict) else row
    record = to_record(asked, place)
    assert isinstance(row, dict)
    outlined = plan.templates.find_object(plan.outlined or record.target or plan.told or _say_object(record))
    return _Entry(row, record, outlined, plan.templates.find_set(plan.family_set or outlined.family_set))


def _say_object(record: ImageRecord) -> str:
    said = variants(record.prompts, "p1")[0] if "p1" in record.prompts else ""
    if not said or said.endswith("."):
        got = f"p1 is '{said}'" if said else "there is no p1"
        remedy = 'say it once in dataset.json, {"target": "polyp"}, or name it with --class'
        raise DataError(f"what the mask outlines is unknown: {got}; {remedy}.")
    return said


def _describe_record(
    root: Path, record: ImageRecord, rules: AttributeRules
) -> tuple[Attributes | None, tuple[int, int]]:
    picture, mask = read_pair(root, record)
    return describe(mask, picture.rgb, rules), (mask.shape[0], mask.shape[1])


def _fill_entries(entries: Sequence[_Entry], plan: PromptPlan, report: PromptReport) -> None:
    present: dict[str, list[str]] = {}
    for entry in entries:
        if entry.attributes:
            present.setdefault(entry.record.img_name, []).append(entry.outlined.name)
    for entry in entries:
        words = entry.attributes.to_dict() if entry.attributes else None
        names = list(dict.fromkeys(present.get(entry.record.img_name, ())))
        file_name = f"{entry.record.img_name} {entry.record.mask_name}"
        made = write_prompts(entry.family_set, entry.outlined, words, file_name=file_name, present=names)
        old = entry.record.prompts if entry.row.get("prompts") else {}
        prompts = {**old, **made} if plan.replace else {**made, **old}
        report.written += prompts != old
        report.complete += prompts == old
        report.empty += words is None
        entry.row["prompts"] = {family: prompts[family] for family in sort_families(prompts)}
        if left_out := [family for family in entry.family_set.families if family not in made]:
            report.lacking[entry.outlined.name] = left_out
