"""Scores of several evaluations side by side, on the images and prompts that all of them have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.rows import TITLES, Row, ScoreTable, select, tabulate
from vesalius.evaluation.stored import StoredEvaluation
from vesalius.prompts import sort_families


def agree_on_groups(evaluations: Sequence[StoredEvaluation], group_regex: str | None) -> str | None:
    """The expression that names patients for all evaluations: the one given, else the one that they were made with.

    Raises:
        ConfigError: If none is given and two were made with different ones.
    """
    if group_regex is not None:
        return group_regex
    made = {each.group_regex: each.name for each in evaluations if each.group_regex is not None}
    if len(made) > 1:
        (one, first), (other, second) = list(made.items())[:2]
        raise ConfigError(
            f"Evaluations name patients differently: {first} by '{one}', {second} by '{other}'. "
            "Choose one expression with --group-regex."
        )
    return next(iter(made), None)


@dataclass(frozen=True)
class Pairing:
    """Tables of equal shape, with gaps in the same places."""

    tables: tuple[ScoreTable, ...]
    notes: tuple[str, ...]
    """Sentences on what was left out or differs."""


def pair(
    evaluations: Sequence[StoredEvaluation],
    metric: str = "dice",
    *,
    present_only: bool = False,
    group_regex: str | None = None,
) -> Pairing:
    """Keep the images and families that all evaluations have, image × family by image × family.

    Args:
        evaluations: Two or more.
        metric: One of ``rows.METRICS``.
        present_only: Leave out images whose true mask is empty.
        group_regex: Names the cluster in an image's file name, see ``name_clusters``; by default as for ``compare``.

    Raises:
        ConfigError: As for ``compare``.
        DataError: If data (names and sizes of files), split, rule or true masks differ, no prompt is shared, or fewer
            than two images are left.
    """
    if len(evaluations) < 2:
        raise ConfigError(f"Comparing needs two evaluations or more; got {len(evaluations)}.")
    for other in evaluations[1:]:
        _check_same(evaluations[0], other)
    regex = agree_on_groups(evaluations, group_regex)
    tables = [tabulate(each.rows, metric, present_only=present_only, group_regex=regex) for each in evaluations]
    images = set.intersection(*(set(table.images) for table in tables))
    families = sort_families(list(set.intersection(*(set(table.families) for table in tables))))
    if not families:
        asked = "; ".join(
            f"{each.name} asked {', '.join(table.families)}" for each, table in zip(evaluations, tables, strict=True)
        )
        raise DataError(f"No prompt was asked in all evaluations: {asked}. Evaluate again with the same --prompts.")
    aligned, gaps = _align(tables, sorted(images), families)
    if len(aligned[0].images) < 2:
        names = ", ".join(each.name for each in evaluations)
        raise DataError(f"{names} have {len(aligned[0].images)} images with {TITLES[metric]} in common; needs 2.")
    notes = [*_tell_lost(evaluations, tables, images, families), *_tell_other_words(evaluations, images)]
    if group_regex is None and regex is not None:
        notes += _tell_ungrouped(evaluations, regex)
    if gaps:
        notes.append(f"{gaps} pairs of image and prompt have no {TITLES[metric]} in some evaluation; left out of all.")
    return Pairing(tuple(aligned), tuple(notes))


def _check_same(one: StoredEvaluation, other: StoredEvaluation) -> None:
    facts = {
        "data": (PurePath(one.data).name, PurePath(other.data).name, "--data"),
        "splits": (one.split, other.split, "--split"),
        "rules": (one.rule, other.rule, "settings"),
    }
    for fact, (first, second, option) in facts.items():
        if first != second:
            raise DataError(
                f"Evaluations of different {fact} cannot be paired: {one.name} has '{first}', {other.name} '{second}'. "
                f"Evaluate both with the same {option}."
            )
    truths = _true_pixels(one.rows)
    for image, pixels in _true_pixels(other.rows).items():
        if truths.get(image, pixels) != pixels:
            raise DataError(
                f"Evaluations of different masks cannot be paired: that of '{image}' has {_list(truths[image])} pixels "
                f"in {one.name} and {_list(pixels)} in {other.name}. Evaluate both on the same files."
            )
    if _differ("files_sha256", one, other):
        raise DataError(
            f"Evaluations of different data cannot be paired: images and masks of {one.name} have other names or sizes "
            f"than those of {other.name}. Evaluate both on the same files."
        )


def _differ(kind: str, *evaluations: StoredEvaluation) -> bool:
    """Whether data are known to differ, by a hash of ``provenance.identify_data``."""
    told = (each.manifest.get("data") for each in evaluations)
    return len({data[kind] for data in told if isinstance(data, Mapping) and isinstance(data.get(kind), str)}) > 1


def _true_pixels(rows: Iterable[Row]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for row in rows:
        found.setdefault(row.image, set()).add(row.true_pixels)
    return found


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(f"{number:,}" for number in sorted(numbers))


def _align(
    tables: Sequence[ScoreTable], images: Sequence[str], families: Sequence[str]
) -> tuple[list[ScoreTable], int]:
    """Tables of these images and families, and the number of cells that not all of them have."""
    chosen = [select(table, images, families) for table in tables]
    known = ~np.isnan(np.stack([table.scores for table in chosen]))
    everywhere: NDArray[np.bool_] = np.logical_and.reduce(known)
    blanked = [replace(table, scores=np.where(everywhere, table.scores, np.nan)) for table in chosen]
    images = [image for image, cells in zip(images, everywhere, strict=True) if cells.any()]
    families = [family for family, cells in zip(families, everywhere.T, strict=True) if cells.any()]
    return [select(table, images, families) for table in blanked], int((known.any(0) & ~everywhere).sum())


def _tell_lost(
    evaluations: Sequence[StoredEvaluation], tables: Sequence[ScoreTable], images: set[str], families: Sequence[str]
) -> Iterator[str]:
    for each, table in zip(evaluations, tables, strict=True):
        lost = len(table.images) - len(images)
        if lost:
            yield f"{lost} of {each.name}'s {len(table.images)} images are not in every evaluation; left out."
        missing = [family for family in table.families if family not in families]
        if missing:
            yield f"{each.name}'s prompts {', '.join(missing)} are not in every evaluation; left out."


def _tell_ungrouped(evaluations: Sequence[StoredEvaluation], regex: str) -> Iterator[str]:
    names = [each.name for each in evaluations if each.group_regex is None]
    if names:
        yield f"{', '.join(names)}: made without --group-regex; patients are named by '{regex}', as in the others."


def _tell_other_words(evaluations: Sequence[StoredEvaluation], images: set[str]) -> Iterator[str]:
    words = [_wordings(each.rows, images) for each in evaluations]
    for each, own in zip(evaluations[1:], words[1:], strict=True):
        other = [place for place in own.keys() & words[0].keys() if own[place] != words[0][place]]
        if other:
            yield (
                f"{each.name} was asked in other words than {evaluations[0].name} in {len(other)} pairs of image and "
                "prompt; the difference is one of models and words together."
            )
        elif _differ("annotations_sha256", evaluations[0], each):
            yield f"{each.name} was made with other annotations than {evaluations[0].name}; the words are the same."


def _wordings(rows: Iterable[Row], images: set[str]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.image in images:
            found.setdefault((row.image, row.family), []).append(row.prompt)
    return found
