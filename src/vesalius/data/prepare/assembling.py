"""From finished items to the records of each split."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vesalius.data.annotations import ImageRecord
from vesalius.data.prepare.given import Given
from vesalius.data.prepare.items import Item
from vesalius.data.prepare.journal import Entry, Example
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.splitting import SplitConfig, assign_splits
from vesalius.data.prepare.tables import SPLITS
from vesalius.errors import DataError


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
