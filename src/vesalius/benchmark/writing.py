"""A benchmark's table for people (Markdown), spreadsheets (CSV) and programs (JSON)."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from vesalius.benchmark.making import Making
from vesalius.benchmark.report import BenchmarkReport
from vesalius.benchmark.scores import Score
from vesalius.benchmark.table import Table, data_title
from vesalius.console import markdown_table, to_markdown
from vesalius.files import to_utf8, write_json, write_text, writing

TEXT_NAME, SHEET_NAME, JSON_NAME = "table.md", "table.csv", "table.json"
SHEET = ("data", "model", "dice", "low", "high", "images", "dice_present", "images_present", "seeds", "published")


def write_benchmark(report: BenchmarkReport, out: Path) -> None:
    """Write table.md, table.csv and table.json.

    Raises:
        OutputError: If the folder cannot be written.
    """
    write_text(out / TEXT_NAME, _to_markdown(report))
    with (
        writing(out / SHEET_NAME) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        sheet = csv.DictWriter(file, SHEET)
        sheet.writeheader()
        sheet.writerows(to_utf8(_to_sheet_row(score)) for score in report.scores)
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
        "images_present": present and present.n,
        "seeds": len(score.seeds),
        "published": score.published,
    }


def _to_markdown(report: BenchmarkReport) -> str:
    blocks = [f"# {to_markdown(report.recipe.title)}", _set_table(report.table)]
    blocks += [_set_notes(report.table.notes)] if report.table.notes else []
    blocks += map(to_markdown, report.explain())
    if present := report.present_table:
        blocks += ["Images that show something alone:", _set_table(present)]
    if report.makings:
        blocks += ["## How each was made", _set_table(_arrange_makings(report.makings))]
        machines = to_markdown("; ".join(sorted({each.machine for each in report.makings})))
        blocks += [f"Minutes since the last interruption, on: {machines}."]
    return "\n\n".join(blocks) + "\n"


def _arrange_makings(makings: Sequence[Making]) -> Table:
    columns = ("model", "data set", "seed", "weights", "px", "precision", "learning rate", "epochs", "best",
               "validation Dice", "minutes training", "scoring")  # fmt: skip
    rows = tuple(
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
        for each in makings
    )
    return Table(columns, rows, ())


def _set_table(table: Table) -> str:
    return markdown_table(table.columns, table.rows)


def _set_notes(notes: Sequence[str]) -> str:
    return "\n".join(f"{number}. {to_markdown(note)}" for number, note in enumerate(notes, 1))
