"""Splits: those of authors, those of existing annotation files, and seeded ones by group that share out classes."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PureWindowsPath

from vesalius.data.annotations import SPLITS, ImageRecord, read_annotation_list, to_record
from vesalius.data.catalog import DataSetCard, MetadataTable
from vesalius.data.prepare.samples import Problem, without_suffix
from vesalius.data.prepare.sources import Source, match_files
from vesalius.data.prepare.tables import Row, parse_csv, to_split
from vesalius.errors import ConfigError, DataError
from vesalius.imaging.formats import file_stem


@dataclass(frozen=True)
class SplitConfig:
    """How large the splits are, where neither authors nor annotation files say."""

    val: float = 0.1
    """Part of the records for validation."""
    test: float = 0.1
    """Part of the records for testing."""
    seed: int = 0
    """Decides which groups go where."""

    def __post_init__(self) -> None:
        if min(self.val, self.test) < 0 or self.val + self.test >= 1:
            raise ConfigError(f"--val and --test are parts with a sum below 1, got {self.val} and {self.test}.")


def assign_splits(
    groups: Mapping[str, Counter[str]], fixed: Mapping[str, str], config: SplitConfig
) -> Mapping[str, str]:
    """Give every group a split.

    Large groups first, the rest in random order; each goes where it brings the counts of its strata closest to the
    splits' shares. Where some splits are fixed, the other groups are divided among the rest.

    Args:
        groups: Group -> how many records of each stratum it has.
        fixed: Group -> split, for those that are decided.
        config: Shares and seed.

    Example:
        >>> groups = {f"patient {number}": Counter(benign=1) for number in range(10)}
        >>> Counter(assign_splits(groups, {}, SplitConfig()).values())
        Counter({'train': 8, 'val': 1, 'test': 1})
    """
    free = sorted(groups.keys() - fixed.keys())
    random.Random(config.seed).shuffle(free)
    free.sort(key=lambda group: -groups[group].total())
    total: Counter[str] = Counter()
    for group in free:
        total.update(groups[group])
    shares = _shares(set(fixed.values()), config)
    counts: dict[str, Counter[str]] = {split: Counter() for split in shares}
    splits = dict(fixed)
    for group in free:
        splits[group] = min(shares, key=lambda split: _cost(groups[group], counts[split], total, shares[split]))
        counts[splits[group]].update(groups[group])
    return splits


def _shares(fixed: set[str], config: SplitConfig) -> dict[str, float]:
    wanted = {"train": 1 - config.val - config.test, "val": config.val, "test": config.test}
    left = {split: share for split, share in wanted.items() if split not in fixed and share > 0}
    left = left or {split: share for split, share in wanted.items() if share > 0}
    return {split: share / sum(left.values()) for split, share in left.items()}


def _cost(group: Counter[str], count: Counter[str], total: Counter[str], share: float) -> float:
    """Change of the squared distance to the share, summed over strata; rare ones count as much as frequent ones."""
    return sum(
        ((count[stratum] + size - share * total[stratum]) ** 2 - (count[stratum] - share * total[stratum]) ** 2)
        / total[stratum]
        for stratum, size in group.items()
    )


@dataclass(frozen=True)
class ExistingRecord:
    """One record, and where it stands."""

    place: str
    record: ImageRecord


@dataclass(frozen=True)
class ExistingAnnotations:
    """The annotation files of a folder."""

    rows: Mapping[str, tuple[ExistingRecord, ...]]
    """Split -> records in their order, doubled ones included."""
    problems: tuple[Problem, ...]
    """Rows that are no records."""

    @cached_property
    def names(self) -> Mapping[str, ImageRecord]:
        """Stem of the mask -> the first record that names it."""
        names: dict[str, ImageRecord] = {}
        for rows in self.rows.values():
            for row in rows:
                names.setdefault(without_suffix(row.record.mask_name), row.record)
        return names


def read_existing(folder: Path) -> ExistingAnnotations:
    """Read train.json, val.json and test.json; a list may be empty.

    Args:
        folder: Where they lie, or the folder above their anns/.

    Raises:
        DataError: If a file is missing or of another form; single rows that are wrong become problems.
    """
    home = folder / "anns" if (folder / "anns").is_dir() else folder
    rows: dict[str, tuple[ExistingRecord, ...]] = {}
    problems: list[Problem] = []
    for split in SPLITS:
        rows[split] = tuple(_read_rows(home / f"{split}.json", problems))
    return ExistingAnnotations(rows, tuple(problems))


def _read_rows(path: Path, problems: list[Problem]) -> list[ExistingRecord]:
    rows = []
    remedy = "--annotations needs train.json, val.json and test.json"
    for index, row in enumerate(read_annotation_list(path, remedy, may_be_empty=True)):
        place = f"{path}, record {index}"
        try:
            rows.append(ExistingRecord(place, to_record(row, place)))
        except DataError as error:
            problems.append(Problem(place, str(error)))
    return rows


@dataclass(frozen=True)
class SourceMetadata:
    """What the tables say."""

    groups: Mapping[str, str] = field(default_factory=dict)
    """Image -> group."""
    splits: Mapping[str, str] = field(default_factory=dict)
    """Image or group -> split."""
    problems: tuple[Problem, ...] = ()
    leaks: tuple[Problem, ...] = ()
    """A table of groups that is not there."""


def read_metadata(card: DataSetCard, source: Source) -> SourceMetadata:
    """Read the tables and lists that the catalog names, where the source has them."""
    from_lists = _read_lists(card, source)
    if card.table is None:
        return SourceMetadata(splits=from_lists)
    path = _find(card.table.file, source)
    if path is None:
        return SourceMetadata(splits=from_lists, leaks=_missing(card.table, source))
    return _read_table(card.table, source, path)


def _read_table(table: MetadataTable, source: Source, path: str) -> SourceMetadata:
    groups: dict[str, str] = {}
    splits: dict[str, str] = {}
    problems = []
    for number, row in enumerate(parse_csv(source.read_text(path), table.separator), start=2):
        place = f"{source.describe(path)}, line {number}"
        try:
            name = file_stem(PureWindowsPath(_cell(row, table.key)).name)  # takes both slashes
            if table.group:
                groups[name] = _cell(row, table.group)
            if table.split and (split := to_split(row.get(table.split))):
                splits[name] = split
        except DataError as error:
            problems.append(Problem(place, f"{error} The row is ignored."))
    return SourceMetadata(groups, splits, tuple(problems))


def _cell(row: Row, column: str) -> str:
    if row.get(column) is None:
        raise DataError(f"has no '{column}'; its columns are {', '.join(row)}.")
    return str(row[column])


def _read_lists(card: DataSetCard, source: Source) -> dict[str, str]:
    splits: dict[str, str] = {}
    for split, pattern in card.lists.items():
        if path := _find(pattern, source):
            splits |= dict.fromkeys(source.read_text(path).split(), split)
    return splits


def _missing(table: MetadataTable, source: Source) -> tuple[Problem, ...]:
    if not table.group:
        return ()
    name = table.file.replace("\\", "")
    what = f"has no {name} that tells '{table.group}', so related images may lie in different splits"
    return (Problem(str(source.root), f"{what}; put it beside the images if you can get it."),)


def _find(pattern: str, source: Source) -> str | None:
    found = match_files(pattern, source)
    return found[0].path if found else None
