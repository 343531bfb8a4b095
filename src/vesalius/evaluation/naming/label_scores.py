"""Scores and truth of images, label by label, the settings of an evaluation, and draws of patients."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ConfigError, DataError, unknown_name
from vesalius.evaluation.statistics import CELLS, Array, Bools, Bootstrap, draw_weights
from vesalius.prompts.anatomy import STATIONS, AnatomyLabel, LabelKind, say_only
from vesalius.prompts.anatomy_captions import match_statements


@dataclass(frozen=True)
class NamingSettings:
    """What counts, and how intervals are drawn.

    Raises:
        ConfigError: If a number is out of its range or a station does not exist.
    """

    min_patients: int = 10
    """Patients who must show a label for it to enter macro means."""
    bootstrap: Bootstrap = field(default_factory=lambda: Bootstrap(resamples=2000))
    """Draws, confidence and seed."""
    stratified: bool = True
    """Draw patients of each modality apart, so that every draw holds as many of each."""
    stations: tuple[str, ...] = STATIONS
    """Stations to choose among; ``PAPER_STATIONS`` for the paper's five."""
    caption_wordings: int = 1
    """Wordings of a caption in the contradiction experiment, whose vectors are averaged; the first is the paper's."""

    def __post_init__(self) -> None:
        for name in ("min_patients", "caption_wordings"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 1 or more, got {getattr(self, name)}.")
        for station in self.stations:
            if station not in STATIONS:
                raise ConfigError(unknown_name("station", station, STATIONS))
        if len(self.stations) < 2:
            raise ConfigError(f"stations: expected two or more to choose among, got {len(self.stations)}.")


USUAL_SETTINGS = NamingSettings()


PRESENT, ABSENT, UNCERTAIN = 1, 0, -1


@dataclass(frozen=True, eq=False)
class LabelScores:
    """N images and L labels.

    Raises:
        DataError: If shapes do not fit together, a truth is none, or a score is not finite.
    """

    labels: tuple[str, ...]
    scores: Array
    """Cosine similarities, logits or probabilities, [N, L]; higher is surer. Only their order matters to most."""
    truth: NDArray[np.int8]
    """1 present, 0 absent, -1 uncertain, [N, L]; what is uncertain counts nowhere."""
    patients: tuple[str, ...]
    """Patient of each image; intervals draw patients."""
    groups: tuple[str, ...]
    """Group of each image, such as its modality; measured apart, and kept in proportion when drawing."""

    def __post_init__(self) -> None:
        shape = (len(self.patients), len(self.labels))
        if self.scores.shape != shape or self.truth.shape != shape or len(self.groups) != shape[0]:
            raise DataError(
                f"{shape[0]} patients and {shape[1]} labels need scores and truth {shape} and a group for each image; "
                f"got {self.scores.shape}, {self.truth.shape} and {len(self.groups)} groups."
            )
        if not shape[0] or not shape[1]:
            raise DataError(f"nothing to evaluate: {shape[0]} images and {shape[1]} labels.")
        if not np.isin(self.truth, (PRESENT, ABSENT, UNCERTAIN)).all():
            raise DataError("truth is 1 (present), 0 (absent) or -1 (uncertain); found other numbers.")
        if not np.isfinite(self.scores[self.known]).all():
            place = int(np.flatnonzero(~np.isfinite(np.where(self.known, self.scores, 0)).all(1))[0])
            raise DataError(f"scores must be finite numbers; image {place} of '{self.patients[place]}' has others.")

    @cached_property
    def present(self) -> Bools:
        """[N, L]."""
        return np.asarray(self.truth == PRESENT)

    @cached_property
    def known(self) -> Bools:
        """[N, L]; False where uncertain."""
        return np.asarray(self.truth != UNCERTAIN)

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """Number of each image's patient, [N], from 0 without gaps."""
        numbers: NDArray[np.intp] = np.unique(self.patients, return_inverse=True)[1]
        return numbers

    def patients_of(self, chosen: Bools) -> NDArray[np.intp]:
        """Number of patients with a chosen image, for each column of [N, L]."""
        return np.array([len(np.unique(self.clusters[column])) for column in chosen.T])

    def index_select(self, rows: NDArray[np.intp]) -> "LabelScores":
        """Some of the images."""
        patients, groups = (tuple(each[row] for row in rows) for each in (self.patients, self.groups))
        return LabelScores(self.labels, self.scores[rows], self.truth[rows], patients, groups)


def truth_of(shown: Sequence[AnatomyLabel], kind: LabelKind, labels: Sequence[str]) -> NDArray[np.int8]:
    """Which labels are present.

    >>> slice_shows = AnatomyLabel("CT", organs=frozenset({"liver"}), uncertain=frozenset({"lungs"}))
    >>> truth_of([slice_shows], "organs", ["liver", "lungs", "brain"])
    array([[ 1, -1,  0]], dtype=int8)

    Args:
        shown: What N images show.
        kind: What the labels are.
        labels: L organs or stations.

    Returns:
        1 present, 0 absent, -1 uncertain, [N, L].

    Raises:
        PromptError: If a label does not exist.
    """
    matched = match_statements(shown, [say_only(kind, label) for label in labels])
    return np.where(matched.known, matched.true, UNCERTAIN).astype(np.int8)


def check_apart(first: Collection[str], second: Collection[str], splits: str) -> None:
    """See that two splits share no patient.

    Args:
        first: Patients of one.
        second: Patients of the other.
        splits: Both splits, such as "validation and test".

    Raises:
        DataError: Naming the first patient who is in both.
    """
    if both := sorted(set(first) & set(second)):
        raise DataError(f"{len(both)} patients are in {splits}, the first is '{both[0]}'; split by patient.")


def draw_patients(case: LabelScores, settings: Bootstrap, *, stratified: bool) -> Iterator[Array]:
    """How often each image is in each draw, in blocks.

    Args:
        case: Whose images.
        settings: Number of draws and seed.
        stratified: Draw, from the patients of each group, as many as there are; a patient is of the group of most of
            their images. Where a group has a single patient, who would then never vary, all are drawn together.

    Yields:
        Weights [r, N], ``settings.resamples`` rows in all.
    """
    strata = _strata(case) if stratified else []
    if len(strata) < 2 or min(map(len, strata)) < 2:
        yield from draw_weights(case.clusters, settings)
        return
    generator, block = np.random.default_rng(settings.seed), max(1, CELLS // len(case.patients))
    for start in range(0, settings.resamples, block):
        rows = min(block, settings.resamples - start)
        weights = np.zeros((rows, int(case.clusters.max()) + 1))
        for members in strata:
            count = len(members)
            weights[:, members] = generator.multinomial(count, np.full(count, 1 / count), size=rows)
        yield weights[:, case.clusters]


def _strata(case: LabelScores) -> list[NDArray[np.intp]]:
    """Patients by the group of most of their images."""
    groups, numbers = np.unique(case.groups, return_inverse=True)
    counts = np.zeros((int(case.clusters.max()) + 1, len(groups)))
    np.add.at(counts, (case.clusters, numbers), 1)
    own = counts.argmax(1)
    return [np.flatnonzero(own == group) for group in np.unique(own)]
