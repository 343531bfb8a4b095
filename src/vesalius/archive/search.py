"""Search an index: every vector is compared, so nothing that is there is missed.

A slice's score is the sum of the log-probabilities of all labels that were named, of the words that its series'
description should have, and of the likeness of its vector to that of the phrase or picture.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.archive.encoding import SliceEncoder
from vesalius.archive.index import ArchiveIndex, FoundPlace, Halves
from vesalius.archive.query import TEXT_FIELDS, PhraseReading, Where, read_search_phrase
from vesalius.errors import ConfigError, ImageError
from vesalius.imaging.search import find_series
from vesalius.knowledge import Knowledge
from vesalius.naming.labeller import render_for_model, shows_anything
from vesalius.processes import count_cores
from vesalius.prompts.lexicon import to_words
from vesalius.prompts.modalities import modalities
from vesalius.runtime.contract import Floats

ROWS_AT_ONCE = 8192
"""Rows that are converted and compared together; they fit into a processor's cache."""
VECTOR_WEIGHT = 0.1
"""Weight of the likeness to a phrase, in log-odds, beside the labels that it names; chosen by
experiments/benchmarks/archive_search.py, each of its phrases left out in turn."""
SORTED_AT_ONCE = 1000
"""Answers that are sorted before any of the rest is."""
LEAST = 1e-3
"""Least probability that a label or description is given, so that one that is missed does not rule a slice out."""
PLACES = 5
"""Largest number of places listed of one slice."""


@dataclass(frozen=True)
class FoundSlice:
    """One slice that was found."""

    score: float
    """Higher is better; comparable within one search."""
    likeness: float | None
    """Cosine of its vector and the phrase's or picture's; None if none was compared."""
    places: tuple[FoundPlace, ...]
    """Where it lies, in the order of paths; up to ``PLACES``."""
    more_places: int
    """Number of further places."""
    labels: tuple[tuple[str, str, float], ...]
    """Question, label and probability of what is named."""

    def to_dict(self) -> dict[str, object]:
        """The answer as JSON's types."""
        first = self.places[0]
        return {
            "score": self.score,
            "likeness": self.likeness,
            **_place_dict(first),
            "also": [_place_dict(each) for each in self.places[1:]],
            "more_places": self.more_places,
            "labels": [
                {"question": question, "label": label, "probability": value} for question, label, value in self.labels
            ],
            "header": {name: text for name, text in first.header.items() if text},
        }

    def tell(self) -> dict[str, str]:
        """Path, slice, labels and header in words."""
        first = self.places[0]
        stack = f" of stack {first.place.stack}" if first.place.stack > 1 else ""
        return {
            "path": first.place.file,
            "slice": f"slice {first.place.slice}{stack}",
            "labels": ", ".join(f"{label} {value:.2f}" for _, label, value in self.labels),
            "header": " · ".join(dict.fromkeys(text for text in first.header.values() if text)),
        }


def _place_dict(found: FoundPlace) -> dict[str, object]:
    return {"path": found.place.file, "stack": found.place.stack, "slice": found.place.slice}


@dataclass(frozen=True)
class SearchRequest:
    """What is asked for; conditions alone list slices in the order of the index."""

    phrase: str = ""
    like: Floats | None = None
    """Unit vector of a picture, [width]."""
    where: Where = Where()
    limit: int = 10
    """Largest number of answers."""
    per_series: bool = False
    """Whether only the best slice of each series is an answer."""


class _SeriesTexts:
    """What an index says of its series."""

    def __init__(self, index: ArchiveIndex) -> None:
        self.headers = list(index.headers())
        self.sources = {number: source for number, source, _ in self.headers}

    @cached_property
    def series_of_words(self) -> Mapping[str, list[int]]:
        """Word of descriptions -> series that have it; descriptions that are alike are read once."""
        alike: dict[str, list[int]] = {}
        for number, _, header in self.headers:
            alike.setdefault(_text_of(header), []).append(number)
        found: dict[str, list[int]] = {}
        for text, series in alike.items():
            for word in set(to_words(text)):
                found.setdefault(word, []).extend(series)
        return found


class ArchiveSearch:
    """Searches one index with the model that it was made with.

    Args:
        index: An open index.
        encoder: Its model.
        knowledge: What the model learnt.
        vector_weight: See ``VECTOR_WEIGHT``.
    """

    def __init__(
        self,
        index: ArchiveIndex,
        encoder: SliceEncoder,
        knowledge: Knowledge,
        vector_weight: float = VECTOR_WEIGHT,
    ) -> None:
        self._index, self._encoder, self._knowledge, self._weight = index, encoder, knowledge, vector_weight
        with index.unchanged() as self._version:
            self._texts = _SeriesTexts(index)
        self._columns = {pair: column for column, pair in enumerate(index.facts.labels)}

    def read(self, phrase: str) -> PhraseReading:
        """How a phrase is read."""
        with self._as_it_is():
            return self._read(phrase)

    def search(self, asked: SearchRequest) -> tuple[PhraseReading | None, list[FoundSlice]]:
        """Find slices, the best first.

        Returns:
            How the phrase was read, and the answers.

        Raises:
            ConfigError: If nothing is asked for, or the limit is below 1.
        """
        if not asked.phrase.strip() and asked.like is None and asked.where == Where():
            raise ConfigError("Nothing to search for: give a phrase, --like IMAGE or --where FIELD=VALUE.")
        if asked.limit < 1:
            raise ConfigError(f"--limit {asked.limit}: expected 1 or more.")
        if not self._index.facts.study_date and any(name == "StudyDate" for name, _ in asked.where.fields):
            raise ConfigError("--where StudyDate: this index keeps no dates; index again with --study-date.")
        with self._as_it_is():
            reading = self._read(asked.phrase) if asked.phrase.strip() else None
            rows = np.flatnonzero(self._allowed(asked.where))
            scores, likeness = self._score(reading, asked.like, rows)
            return reading, self._answer(rows, scores, likeness, asked)

    @contextmanager
    def _as_it_is(self) -> Iterator[None]:
        """Let the index stay as it is until the block ends, though a run may be writing it."""
        with self._index.unchanged() as version:
            if version != self._version:
                self._texts, self._version = _SeriesTexts(self._index), version
            yield

    def _read(self, phrase: str) -> PhraseReading:
        return read_search_phrase(phrase, self._texts.series_of_words, [each.name for each in self._knowledge.targets])

    def _allowed(self, where: Where) -> NDArray[np.bool_]:
        """Which rows meet the conditions."""
        allowed = np.ones(self._index.rows, np.bool_)
        allowed[self._index.holes()] = False
        labels, least = self._index.labels(), self._encoder.calibration.least_probability
        for pair in where.labels:
            allowed &= np.asarray(labels[:, self._columns[pair]]) >= least
        if where.fields:
            series = [number for number, source, header in self._texts.headers if where.allows(source, header)]
            meets = np.zeros_like(allowed)
            meets[self._index.rows_of_series(series)] = True
            allowed &= meets
        return allowed

    def _score(
        self, reading: PhraseReading | None, like: Floats | None, rows: NDArray[np.int64]
    ) -> tuple[Floats, Floats | None]:
        """Scores and likenesses of rows, [R]; vectors of zeros, of slices that show nothing, score minus infinity."""
        scores = np.zeros(len(rows), np.float32)
        likeness = None
        if reading is not None:
            scores += self._label_scores(reading, rows) + self._header_scores(reading, rows)
            scores += self._kind_scores(reading, rows)
            if reading.vector_phrase:
                likeness = cosine_similarities(
                    self._index.vectors(), self._encoder.encode_phrase(reading.vector_phrase), rows
                )
                weight = self._weight if reading.labels else 1.0
                scores += np.float32(weight * self._encoder.runtime.logit_scale) * likeness
        if like is not None:
            likeness = cosine_similarities(self._index.vectors(), like, rows)
            scores += np.float32(self._encoder.runtime.logit_scale) * likeness
        if likeness is not None:
            unlike = np.flatnonzero(likeness == 0)
            scores[unlike[~self._index.vectors()[rows[unlike]].any(axis=1)]] = -np.inf
        return scores, likeness

    def _label_scores(self, reading: PhraseReading, rows: NDArray[np.int64]) -> Floats:
        scores, labels = np.zeros(len(rows), np.float32), self._index.labels()
        for pair in reading.labels:
            found = np.asarray(labels[:, self._columns[pair]], np.float32)[rows]
            scores += np.log(np.maximum(found, LEAST))
        return scores

    def _kind_scores(self, reading: PhraseReading, rows: NDArray[np.int64]) -> Floats:
        """Of targets, the log-probability that a slice is of a kind of picture on which they were learnt.

        A target that was learnt on kinds without a label, or nobody knows on which, is as likely everywhere.
        """
        scores, labels = np.zeros(len(rows), np.float32), self._index.labels()
        kinds = {each.name: each.modalities for each in self._knowledge.targets}
        for part in reading.parts:
            if part.use == "target" and not any(question == "modality" for question, _ in reading.labels):
                known = [modalities()[kind].label for kind in kinds[part.label] if kind in modalities()]
                columns = [self._columns["modality", label] for label in known]
                if columns:
                    shown = [np.asarray(labels[:, column], np.float32)[rows] for column in columns]
                    scores += np.log(np.maximum(np.max(shown, axis=0), LEAST))
        return scores

    def _header_scores(self, reading: PhraseReading, rows: NDArray[np.int64]) -> Floats:
        scores = np.zeros(len(rows), np.float32)
        for word in reading.words("header"):
            has = np.isin(rows, self._index.rows_of_series(self._texts.series_of_words[word]))
            scores += np.where(has, np.float32(0), np.float32(np.log(LEAST)))
        return scores

    def _answer(
        self, rows: NDArray[np.int64], scores: Floats, likeness: Floats | None, asked: SearchRequest
    ) -> list[FoundSlice]:
        answers: list[FoundSlice] = []
        series: set[int] = set()
        for place in best_first(scores):
            if np.isneginf(scores[place]):
                break
            row = int(rows[place])
            found = self._places(row, asked.where)
            if not found or (asked.per_series and found[0].series in series):
                continue
            series.add(found[0].series)
            alike = None if likeness is None else float(likeness[place])
            more = max(0, len(found) - PLACES)
            answers.append(FoundSlice(float(scores[place]), alike, tuple(found[:PLACES]), more, self._name(row)))
            if len(answers) == asked.limit:
                break
        return answers

    def _places(self, row: int, where: Where) -> list[FoundPlace]:
        """Places of a slice in series that meet the conditions."""
        found = self._index.places(row)
        if not where.fields:
            return found
        return [each for each in found if where.allows(self._texts.sources[each.series], each.header)]

    def _name(self, row: int) -> tuple[tuple[str, str, float], ...]:
        least, values = self._encoder.calibration.least_probability, self._index.labels()[row]
        pairs = zip(self._index.facts.labels, values.tolist(), strict=True)
        return tuple((question, label, value) for (question, label), value in pairs if value >= least)


def _text_of(header: Mapping[str, str]) -> str:
    return " ".join(header[name] for name in TEXT_FIELDS)


def cosine_similarities(vectors: Halves, vector: Floats, rows: NDArray[np.int64]) -> Floats:
    """Cosines of rows and one vector, exactly, by all cores.

    Args:
        vectors: Unit vectors [N, E], in memory or on disk.
        vector: Unit vector [E].
        rows: Rows to compare, ascending, [R].

    Returns:
        [R].
    """
    found = np.empty(len(rows), np.float32)
    whole = len(rows) == len(vectors)

    def fill(start: int) -> None:
        some = slice(start, start + ROWS_AT_ONCE)
        found[some] = vectors[some if whole else rows[some]].astype(np.float32) @ vector

    starts = range(0, len(rows), ROWS_AT_ONCE)
    if len(starts) == 1:
        fill(0)
        return found
    with ThreadPoolExecutor(count_cores()) as threads:
        list(threads.map(fill, starts))
    return found


def best_first(scores: Floats) -> Iterator[int]:
    """Places of scores in descending order, equal ones by place; the first are there before the rest is sorted."""
    count = min(SORTED_AT_ONCE, len(scores))
    if count < len(scores):
        least = np.partition(scores, len(scores) - count)[len(scores) - count]
        first = np.flatnonzero(scores > least)
        yield from first[np.argsort(-scores[first], kind="stable")].tolist()
        rest = np.flatnonzero(scores <= least)
        yield from (int(place) for place in rest[np.argsort(-scores[rest], kind="stable")])
        return
    yield from np.argsort(-scores, kind="stable").tolist()


def encode_picture(encoder: SliceEncoder, path: Path, number: int | None = None) -> Floats:
    """The vector of one slice of a file, or of a folder with one series.

    Args:
        encoder: The model.
        path: File or folder.
        number: Slice, from 1 in display order; the middle one by default.

    Returns:
        Unit vector [width].

    Raises:
        ConfigError: If there is no such slice.
        ImageError: If it cannot be read or shows nothing, or a folder holds several series.
    """
    found = find_series(path)
    if len(found) > 1:
        raise ImageError(f"{path}: holds {len(found)} series; name one file, or the folder of one series.")
    slices = found[0].read_largest().slices()
    if number is not None and not 1 <= number <= len(slices):
        raise ConfigError(f"--slice {number}: {path} has slices 1 to {len(slices)}.")
    place = len(slices) // 2 if number is None else number - 1
    rgb = render_for_model(slices, place, encoder.side)
    if not shows_anything(rgb):
        raise ImageError(
            f"{path}: slice {place + 1} holds one value throughout, so nothing is like it; choose another."
        )
    return np.asarray(encoder.encode([rgb])[0])
