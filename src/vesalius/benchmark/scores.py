"""What the finished cells of a benchmark found, row by row and column by column."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

from vesalius.benchmark.cells import Cell
from vesalius.benchmark.published import Publication
from vesalius.benchmark.running import Outcome
from vesalius.evaluation.rows import Row
from vesalius.evaluation.statistics import Interval, summarise
from vesalius.evaluation.stored import read_evaluation


@dataclass(frozen=True)
class Score:
    """Dice of one model on one data set, over its seeds."""

    label: str
    model: str
    data: str
    mean: Interval | None
    """Over images, each with its mean over seeds and prompt families; None if no seed was finished."""
    present: Interval | None
    """The same without images whose true mask is empty; None if the data set has none of them."""
    seeds: Mapping[int, float]
    """Mean of each finished seed."""
    published: float | None
    failures: tuple[str, ...]
    """Why seeds are missing."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def collect_scores(
    outcomes: Sequence[Outcome], publication: Publication | None = None, *, on_score: Callable[[], None] = lambda: None
) -> list[Score]:
    """Summarise what cells left on disk.

    Args:
        outcomes: Of all cells; those that differ in their seed alone become one score.
        publication: Whose numbers to put beside ours.
        on_score: Called after each score, for progress.

    Raises:
        DataError: If a finished cell cannot be read.
    """
    scores = []
    for same in _group(outcomes):
        scores.append(_summarise(same, publication))
        on_score()
    return scores


def _group(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.cell.data.name, outcome.cell.entry.label), []).append(outcome)
    return list(groups.values())


def _summarise(outcomes: Sequence[Outcome], publication: Publication | None) -> Score:
    cell = outcomes[0].cell
    rows = {each.cell.seed: _read(each.cell) for each in outcomes if each.failure is None}
    # An image's rows of all seeds together: its score is then its mean over seeds.
    together = list(chain.from_iterable(rows.values()))
    empty = any(row.true_pixels == 0 for row in together)
    return Score(
        label=cell.entry.label,
        model=cell.entry.model,
        data=cell.data.name,
        mean=_mean(together),
        present=_mean(together, present_only=True) if empty else None,
        seeds={seed: found.value for seed, each in rows.items() if (found := _mean(each))},
        published=publication.find(cell.entry.model, cell.data.name) if publication else None,
        failures=tuple(f"{each.cell}: {each.failure}" for each in outcomes if each.failure is not None),
    )


def _read(cell: Cell) -> Sequence[Row]:
    return read_evaluation(cell.folder).rows


def _mean(rows: Sequence[Row], *, present_only: bool = False) -> Interval | None:
    overall = summarise(rows, "dice", present_only=present_only).overall
    return overall.mean if overall else None
