"""Groups of images that belong together, such as those of a patient, and the splits they lie in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vesalius.data.check.findings import Finding
from vesalius.data.check.rows import SPLITS, Row
from vesalius.data.groups import compile_group_regex, find_group
from vesalius.errors import ConfigError


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


def check_groups(rows: Sequence[Row], grouping: Grouping) -> Iterator[Finding]:
    """Groups in several splits, and images without a group.

    Raises:
        ConfigError: If no record has a group.
    """
    if grouping == Grouping() or not rows:
        return
    groups: dict[str, list[Row]] = {}
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
        yield Finding("no_group", f"{row.image} belongs to no group.", (row.at(row.image),))
    yield from _check_splits(groups)


def _name_group(row: Row, grouping: Grouping) -> str | None:
    if grouping.field is not None:
        value = row.fields.get(grouping.field)
        return None if value is None or value == "" else str(value)
    return find_group(compile_group_regex(grouping.regex or ""), row.record.img_name)


def _check_splits(groups: Mapping[str, Sequence[Row]]) -> Iterator[Finding]:
    for name, rows in groups.items():
        counts = {split: sum(row.split == split for row in rows) for split in SPLITS}
        if sum(count > 0 for count in counts.values()) > 1:
            where = ", ".join(f"{split} ({count})" for split, count in counts.items() if count)
            message = f"The group '{name}' has images in {where}."
            yield Finding("group_across_splits", message, tuple(row.at(row.image) for row in rows), {"group": name})


def _nothing_found(row: Row, grouping: Grouping) -> str:
    if grouping.field is not None:
        fields = ", ".join(map(str, row.fields))
        return (
            f"--group-field: no record has a field '{grouping.field}'; {row.split}, record {row.number} has {fields}."
        )
    return f"--group-regex: '{grouping.regex}' matches no name; the first is '{row.record.img_name}'."
