"""The folder that ``vesalius evaluate --out`` leaves: what was scored, by which rule, and every row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vesalius.data.datasets import SegmentationDataset
from vesalius.data.fingerprints import Seen
from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.rows import Row, read_rows, write_rows
from vesalius.evaluation.segmentation import Evaluation
from vesalius.files import read_json, sha256_of, write_json
from vesalius.provenance import list_versions

ROWS_NAME = "rows.parquet"
EVALUATION_NAME = "evaluation.json"
FIELDS = ("model", "data", "split", "rule")
SEEN = "seen_in_training"
MANIFEST = "manifest"
"""Field of ``evaluation.json`` that says how it was made."""
FILES = (EVALUATION_NAME, ROWS_NAME)


@dataclass(frozen=True)
class StoredEvaluation:
    """One model on one split, and what its folder says of it."""

    name: str
    """Name of the evaluation beside others."""
    model: str
    data: str
    """Folder of the data set, as it was given."""
    split: str
    rule: str
    """Threshold, resolution and what empty masks count."""
    evaluation: Evaluation
    """All rows. One that was read does not know its tolerance; ``rule`` has it."""
    manifest: Mapping[str, object] = field(default_factory=dict)
    """How it was made, and with which versions; empty if nothing says so."""
    seen: str = ""
    """How many of the images the model was trained on, in words; "" if unknown."""
    group_regex: str | None = None
    """Expression that named the patient in an image's file name when it was made."""

    @property
    def rows(self) -> Sequence[Row]:
        """One an image, prompt family and wording."""
        return self.evaluation.rows


def describe_evaluation(
    evaluation: Evaluation,
    dataset: SegmentationDataset,
    *,
    model: str,
    manifest: Mapping[str, object],
    group_regex: str | None = None,
    seen: Seen | None = None,
    on_metric: Callable[[], None] = lambda: None,
) -> dict[str, object]:
    """What ``evaluation.json`` says.

    Args:
        evaluation: What was found.
        dataset: The split it was found on.
        model: What was scored, as it was given.
        manifest: How it was made; JSON.
        group_regex: Names the patient in an image's file name.
        seen: Which of the images the model was trained on, if somebody looked.
        on_metric: Called after each of the evaluation's metrics, for progress.
    """
    return {
        "model": model,
        "data": str(dataset.root.resolve()),
        "split": dataset.split,
        "versions": list_versions("scipy"),
        **({SEEN: _describe_seen(evaluation, seen)} if seen else {}),
        MANIFEST: manifest,
        **evaluation.to_dict(group_regex=group_regex, on_metric=on_metric),
    }


def _describe_seen(evaluation: Evaluation, seen: Seen) -> dict[str, object]:
    others = evaluation.without(seen.names)
    return {**seen.to_dict(), "mean_dice_of_others": others.mean("dice") if seen.known and others.rows else None}


def write_evaluation(evaluation: Evaluation, content: Mapping[str, object], folder: Path) -> StoredEvaluation:
    """Write the rows and what ``describe_evaluation`` said of them.

    Returns:
        What ``read_evaluation`` would read, with the evaluation itself, which keeps the intervals that it has drawn.

    Raises:
        OutputError: If the folder cannot be written.
    """
    write_rows(evaluation.rows, folder / ROWS_NAME)
    write_json(folder / EVALUATION_NAME, content)
    return StoredEvaluation(name=folder.resolve().name, evaluation=evaluation, **_read_about(folder / EVALUATION_NAME))


def read_evaluations(folders: Sequence[Path]) -> list[StoredEvaluation]:
    """Read evaluations and call each by its folder's name, or by its whole path where two have the same name.

    Raises:
        ConfigError: If a folder is given twice.
        DataError: If a folder is missing or holds no evaluation.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, resolved, strict=True):
        if resolved.count(place) > 1:
            raise ConfigError(f"{folder} is given twice; expected different evaluations.")
    names = [place.name for place in resolved]
    return [
        read_evaluation(folder, name=name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]


def identify_evaluation(folder: Path) -> dict[str, str]:
    """What tells an evaluation from others, and from itself made anew: its folder and its rows.

    Raises:
        DataError: If the folder is missing or holds no evaluation.
    """
    _check_there(folder)
    return {"folder": str(folder.resolve()), "rows": sha256_of(folder / ROWS_NAME)}


def read_evaluation(folder: Path, *, name: str | None = None) -> StoredEvaluation:
    """Read one evaluation; its name is the folder's unless given.

    Raises:
        DataError: If the folder is missing or holds no evaluation.
    """
    remedy = _check_there(folder)
    about, rows = _read_about(folder / EVALUATION_NAME), read_rows(folder / ROWS_NAME)
    if not rows:
        raise DataError(f"{folder / ROWS_NAME}: no rows; {remedy}")
    return StoredEvaluation(name=name or folder.resolve().name, evaluation=Evaluation(tuple(rows)), **about)


def _check_there(folder: Path) -> str:
    """Refuse what is no folder of an evaluation; how one is made."""
    remedy = f"make it with: vesalius evaluate MODEL --data DIR --out {folder}"
    for path in (folder / EVALUATION_NAME, folder / ROWS_NAME):
        if not path.is_file():
            raise DataError(f"{folder}: expected the folder of an evaluation, but there is no {path}; {remedy}")
    return remedy


def _read_about(path: Path) -> dict[str, Any]:
    """Fields of ``StoredEvaluation`` that the description tells."""
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(content.get(each), str) for each in FIELDS):
        got = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(f"{path}: expected an object with the texts {', '.join(FIELDS)}; got {got}.")
    seen, made, versions = (content.get(name) for name in (SEEN, MANIFEST, "versions"))
    text = seen.get("text") if isinstance(seen, dict) else None
    manifest = made if isinstance(made, dict) else {}
    return {
        **{each: content[each] for each in FIELDS},
        "manifest": manifest | ({"versions": versions} if versions else {}),
        "seen": text if isinstance(text, str) else "",
        "group_regex": _find_group_regex(manifest),
    }


def _find_group_regex(manifest: Mapping[str, object]) -> str | None:
    settings = manifest.get("settings")
    regex = settings.get("group_regex") if isinstance(settings, dict) else None
    return regex if isinstance(regex, str) else None
