"""The table of a folder of slices, ``slices.jsonl``: one JSON object a picture."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vesalius.errors import DataError, PromptError
from vesalius.files import parse_json, to_json, write_text
from vesalius.prompts.anatomy import AnatomyLabel

TABLE = "slices.jsonl"
PICTURES = "slices"
SETS = ("stations", "organs", "uncertain")


@dataclass(frozen=True)
class SliceRow:
    """One picture, where it comes from and what it shows."""

    file: str
    """Path within the folder."""
    volume: str
    patient: str
    split: str
    position_mm: float | None
    """Along the slice normal (axial: towards the head)."""
    index: int
    """Place among all slices of the volume in this plane, in display order."""
    window: str | None
    """Name of the CT window."""
    obliquity: float
    """Degrees between the slice and its plane."""
    label: AnatomyLabel

    def to_dict(self) -> dict[str, object]:
        """As it stands in the table."""
        label = {
            "modality": self.label.modality,
            "protocol": self.label.protocol,
            "plane": self.label.plane,
            **{name: sorted(getattr(self.label, name)) for name in SETS},
        }
        return {**{name: value for name, value in vars(self).items() if name != "label"}, **label}


def to_row(content: Mapping[str, object], place: str) -> SliceRow:
    """Read one row.

    Raises:
        DataError: If a field is missing or of another form, or a label is unknown.
    """
    try:
        sets = {name: frozenset(_names(content[name])) for name in SETS}
        position = content["position_mm"]
        return SliceRow(
            file=str(content["file"]),
            volume=str(content["volume"]),
            patient=str(content["patient"]),
            split=str(content["split"]),
            position_mm=None if position is None else float(str(position)),
            index=int(str(content["index"])),
            window=_text_or_none(content["window"]),
            obliquity=float(str(content["obliquity"])),
            label=AnatomyLabel(
                modality=_text_or_none(content["modality"]),
                protocol=_text_or_none(content["protocol"]),
                plane=_text_or_none(content["plane"]),
                **sets,
            ),
        )
    except (KeyError, TypeError, ValueError, OverflowError, PromptError) as error:
        raise DataError(f"{place}: is no row of {TABLE} ({error}); cut the slices again.") from error


def write_slice_table(folder: Path, rows: Iterable[SliceRow]) -> None:
    """Write ``slices.jsonl``.

    Raises:
        OutputError: If it cannot be written.
    """
    lines = [to_json(row.to_dict(), indent=None, ascii_only=False) + "\n" for row in rows]
    write_text(folder / TABLE, "".join(lines))


def read_slice_table(folder: Path) -> list[SliceRow]:
    """Read ``slices.jsonl``.

    Raises:
        DataError: If it is missing or damaged, or a picture lies outside the folder; the message names the line.
    """
    path = folder / TABLE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read; expected what 'vesalius data slices' writes.") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        rows.append(to_row(_parse(line, place), place))
        parts = PurePosixPath(rows[-1].file)
        if parts.is_absolute() or ".." in parts.parts:
            raise DataError(f"{place}: '{rows[-1].file}' lies outside the folder.")
    return rows


def _parse(line: str, place: str) -> Mapping[str, object]:
    content = parse_json(line, place)
    if not isinstance(content, dict):
        raise DataError(f"{place}: expected an object, got {type(content).__name__}.")
    return content


def _names(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"expected a list of names, got {value!r}")
    return value


def _text_or_none(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"expected a name, got {value!r}")
    return value
