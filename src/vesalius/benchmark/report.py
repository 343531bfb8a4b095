"""The result of a benchmark: scores of all cells, the table beside published numbers, as Markdown, CSV and JSON."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from vesalius.benchmark.cells import RunInfo, describe_span, read_run_info
from vesalius.benchmark.recipe import BenchmarkRecipe, Publication
from vesalius.benchmark.running import CellOutcome
from vesalius.console import markdown_table, to_markdown
from vesalius.data.catalog import read_catalog
from vesalius.evaluation.rows import Row
from vesalius.evaluation.segmentation import RULE
from vesalius.evaluation.statistics import Interval, summarise
from vesalius.evaluation.stored import read_evaluation
from vesalius.files import to_sheet, write_json, write_text, writing


@dataclass(frozen=True)
class Score:
    """Dice of one model on one data set, over its seeds."""

    label: str
    model: str
    data: str
    mean: Interval | None
    """Over images, each with its mean over seeds and prompt families; None if no seed was finished."""
    present: Interval | None
    """Mean over images whose true mask is not empty; None if all have one."""
    seeds: Mapping[int, float]
    """Mean of each finished seed."""
    published: float | None
    failures: tuple[str, ...]
    """Why seeds are missing."""


def collect_scores(
    outcomes: Sequence[CellOutcome],
    publication: Publication | None = None,
    *,
    on_score: Callable[[], None] = lambda: None,
) -> list[Score]:
    """Summarise what cells left on disk.

    Args:
        outcomes: Of all cells; those that differ in their seed alone become one score.
        publication: Whose numbers to put beside ours.
        on_score: Called after each score, for progress.

    Raises:
        DataError: If a finished cell cannot be read.
    """
    groups: dict[tuple[str, str], list[CellOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.cell.data.name, outcome.cell.entry.label), []).append(outcome)
    scores = []
    for same in groups.values():
        scores.append(_summarise(same, publication))
        on_score()
    return scores


def _summarise(outcomes: Sequence[CellOutcome], publication: Publication | None) -> Score:
    cell = outcomes[0].cell
    rows = {each.cell.seed: read_evaluation(each.cell.folder).rows for each in outcomes if each.failure is None}
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


def _mean(rows: Sequence[Row], *, present_only: bool = False) -> Interval | None:
    overall = summarise(rows, "dice", present_only=present_only).overall
    return overall.mean if overall else None


MISSING = "–"
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class ResultTable:
    """Text, ready to be set in any way."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    """Footnotes, to which raised numbers in cells refer from 1."""


def tabulate_scores(
    scores: Sequence[Score], publication: Publication | None = None, *, present_only: bool = False
) -> ResultTable:
    """Put scores where readers look for them.

    Args:
        scores: One or more, in the order in which models and data sets shall stand.
        publication: Has a column beside each of ours.
        present_only: Show the means without images whose true mask is empty.
    """
    places = {(score.label, score.data): score for score in scores}
    labels, sets = (tuple(dict.fromkeys(names)) for names in zip(*places, strict=True))
    notes: list[str] = []
    columns, rows = ["model"], [[label] for label in labels]
    for data in sets:
        columns += [data_title(data), publication.short] if publication else [data_title(data)]
        for label, row in zip(labels, rows, strict=True):
            score = places[label, data]
            row.append(_format(score, present_only=present_only) + _raise_notes(score, notes))
            if publication:
                row.append(MISSING if score.published is None else f"{score.published:.3f}")
    return ResultTable(tuple(columns), tuple(map(tuple, rows)), tuple(notes))


def data_title(name: str) -> str:
    """Title of a data set, where the catalog knows its folder."""
    card = read_catalog().get(name)
    return card.title if card else name


def _format(score: Score, *, present_only: bool) -> str:
    """Such as "0.812 [0.779, 0.840]", and where there are several seeds, their lowest and highest mean."""
    found = score.present if present_only else score.mean
    if found is None:
        return MISSING
    if present_only or len(score.seeds) < 2:
        return str(found)
    return f"{found}; seeds {min(score.seeds.values()):.3f} to {max(score.seeds.values()):.3f}"


def _raise_notes(score: Score, notes: list[str]) -> str:
    """Add a score's failures to the notes, and give the numbers that refer to them."""
    notes += score.failures
    first = len(notes) - len(score.failures) + 1
    return " ".join(str(number).translate(_RAISED) for number in range(first, len(notes) + 1))


@dataclass(frozen=True)
class BenchmarkReport:
    """Scores, and how each came about."""

    recipe: BenchmarkRecipe
    scores: tuple[Score, ...]
    runs: tuple[RunInfo, ...]
    """How each finished cell was trained and scored."""

    @property
    def table(self) -> ResultTable:
        """Means over all images."""
        return tabulate_scores(self.scores, self.recipe.publication)

    @property
    def present_table(self) -> ResultTable | None:
        """Means over images that show something, of data sets where others do not; None if there are none."""
        sets = {score.data for score in self.scores if score.present}
        kept = [score for score in self.scores if score.data in sets]
        return tabulate_scores(kept, present_only=True) if kept else None

    def explain(self) -> list[str]:
        """What the numbers are, ours and the published ones, a sentence or two each."""
        counts = {score.data: score.mean.n for score in self.scores if score.mean}
        images = ", ".join(f"{data_title(data)} {count}" for data, count in counts.items()) or "none scored"
        finished = "the finished of " if any(score.seeds and score.failures for score in self.scores) else ""
        seeds = f"{finished}{len(self.recipe.seeds)} seeds, " if len(self.recipe.seeds) > 1 else ""
        prompts, published = self.recipe.prompts, self.recipe.publication
        families = f"the prompt families {', '.join(prompts)}" if prompts else "all prompt families"
        means = f"each with its mean over {seeds}{families} and all wordings"
        told = [
            f"Mean Dice over the test images ({images}), {means}; {RULE}.",
            "[low, high]: 95 % bootstrap interval, drawing images; it leaves out what another training would change.",
        ]
        told += [_explain_training(self.runs)] if self.runs else []
        if published is not None:
            source = f"{published.short}: {published.source}; {published.measure}."
            told.append(f"{source} Two numbers can be compared only where both models were trained alike.")
        return told

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "title": self.recipe.title,
            "caption": self.explain(),
            "scores": [asdict(score) for score in self.scores],
            "cells": [asdict(run) for run in self.runs],
        }


def build_benchmark_report(
    recipe: BenchmarkRecipe, outcomes: Sequence[CellOutcome], *, on_score: Callable[[], None] = lambda: None
) -> BenchmarkReport:
    """Read what cells left on disk.

    Args:
        recipe: What was to be done.
        outcomes: What became of all its cells.
        on_score: Called after each score, for progress.

    Raises:
        DataError: If a finished cell cannot be read.
    """
    scores = collect_scores(outcomes, recipe.publication, on_score=on_score)
    runs = [read_run_info(each.cell) for each in outcomes if each.failure is None]
    return BenchmarkReport(recipe, tuple(scores), tuple(runs))


def _explain_training(runs: Sequence[RunInfo]) -> str:
    weights = " or ".join(dict.fromkeys(each.weights for each in runs))
    sizes, epochs, batches, rates = (
        describe_span([getattr(each, name) for each in runs])
        for name in ("image_size", "epochs", "batch_size", "learning_rate")
    )
    return (
        f"Ours: training began with {weights} weights; {sizes} px, {epochs} epoch{'s' * (epochs != '1')}, batches of "
        f"{batches}, learning rate {rates}; the weights of the epoch with the best validation Dice are scored."
    )


TEXT_NAME, SHEET_NAME, JSON_NAME = "table.md", "table.csv", "table.json"


def write_benchmark(report: BenchmarkReport, out: Path) -> None:
    """Write table.md, table.csv and table.json.

    Raises:
        OutputError: If the folder cannot be written.
    """
    write_text(out / TEXT_NAME, _to_markdown(report))
    lines = [to_sheet(_to_sheet_row(score)) for score in report.scores]
    with writing(out / SHEET_NAME) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        sheet = csv.DictWriter(file, lines[0])
        sheet.writeheader()
        sheet.writerows(lines)
    write_json(out / JSON_NAME, report.to_dict())


def _to_sheet_row(score: Score) -> Mapping[str, object]:
    mean, present = score.mean, score.present
    return {
        "data": score.data,
        "model": score.label,
        "dice": mean and mean.value,
        "low": mean and mean.low,
        "high": mean and mean.high,
        "images": mean and mean.n,
        "dice_present": present and present.value,
        "low_present": present and present.low,
        "high_present": present and present.high,
        "images_present": present and present.n,
        "seeds": len(score.seeds),
        "seed_low": min(score.seeds.values(), default=None),
        "seed_high": max(score.seeds.values(), default=None),
        "published": score.published,
    }


def _to_markdown(report: BenchmarkReport) -> str:
    table, present = report.table, report.present_table
    blocks = [f"# {to_markdown(report.recipe.title)}", *_with_notes(table)]
    blocks += map(to_markdown, report.explain())
    if present:
        blocks += ["Images that show something alone:", *_with_notes(present)]
    if report.runs:
        blocks += ["## How each was made", _run_table(report.runs)]
        machines = to_markdown("; ".join(sorted({each.machine for each in report.runs})))
        blocks += [f"Minutes since the last interruption, on: {machines}."]
    return "\n\n".join(blocks) + "\n"


def _with_notes(table: ResultTable) -> list[str]:
    """A table, and the notes that it refers to by number."""
    notes = "\n".join(f"{number}. {to_markdown(note)}" for number, note in enumerate(table.notes, 1))
    return [markdown_table(table.columns, table.rows), *filter(None, (notes,))]


def _run_table(runs: Sequence[RunInfo]) -> str:
    columns = ("model", "data set", "seed", "weights", "px", "precision", "learning rate", "epochs", "best",
               "validation Dice", "minutes training", "scoring")  # fmt: skip
    return markdown_table(
        columns,
        [
            (
                each.label,
                data_title(each.data),
                str(each.seed),
                each.weights,
                str(each.image_size),
                each.precision,
                f"{each.learning_rate:g}",
                str(each.epochs),
                str(each.best_epoch),
                f"{each.val_dice:.3f}",
                f"{each.training_seconds / 60:.1f}",
                f"{each.scoring_seconds / 60:.1f}",
            )
            for each in runs
        ],
    )
