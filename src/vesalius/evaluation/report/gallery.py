"""The pictures of a report: drawn with the model at hand, kept beside the rows for later.

Rows hold no masks. ``evaluate`` therefore asks the model once more about the few images that a report shows, and keeps
the pictures in one file; a report of rows alone has none.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.errors import DataError
from vesalius.evaluation.report.examples import KINDS, MOST, Example
from vesalius.evaluation.report.tiles import LARGEST_TILE, TILES, draw_tiles
from vesalius.evaluation.rows import Row
from vesalius.files import write_json
from vesalius.models import Segmenter
from vesalius.models.asking import ask, encode
from vesalius.models.devices import Precision
from vesalius.models.text_cache import TextCache
from vesalius.prompts import variants

GALLERY_NAME = "pictures.json"
LARGEST = 2 * len(KINDS) * MOST * len(TILES) * LARGEST_TILE
"""Bytes of a file that is still read: the most pictures there may be, as text, and what is said of them."""


@dataclass(frozen=True)
class Shown:
    """An example and its pictures."""

    example: Example
    tiles: dict[str, bytes]
    """A JPEG file for each of ``tiles.TILES``."""


def draw_gallery(
    model: Segmenter,
    dataset: SegmentationDataset,
    examples: Sequence[Example],
    *,
    precision: Precision = "32",
    on_image: Callable[[], None] = lambda: None,
) -> list[Shown]:
    """Ask the model again and draw its answers.

    Args:
        model: The one that was evaluated, on any device; it is put in evaluation mode.
        dataset: The split that it was evaluated on.
        examples: Answers to draw.
        precision: Of computation.
        on_image: Called after each, for progress.

    Raises:
        DataError: If the data set has no such record.
        ImageError: If a file cannot be read.
    """
    model.eval()
    shown, texts = [], TextCache(model)
    for example in examples:
        sample = _find_sample(dataset, example.row)
        shown.append(Shown(example, _draw(model, sample, example.row.prompt, texts, precision)))
        on_image()
    return shown


def _find_sample(dataset: SegmentationDataset, row: Row) -> Sample:
    """An image may have several records; the one that asked this and has this mask."""
    for index, record in enumerate(dataset.records):
        asked = variants(record.prompts, row.family) if row.family in record.prompts else ()
        if record.img_name == row.image and row.prompt in asked:
            sample = dataset[index]
            if int((sample.mask > 0.5).sum()) == row.true_pixels:
                return sample
    raise DataError(
        f"{dataset.root}/anns/{dataset.split}.json: no record of '{row.image}' that asks '{row.prompt}' and has a mask "
        f"of {row.true_pixels:,} pixels; the rows are of other data. Evaluate again."
    )


def _draw(model: Segmenter, sample: Sample, prompt: str, texts: TextCache, precision: Precision) -> dict[str, bytes]:
    truth = sample.mask[0] > 0.5
    size, asked = (truth.shape[0], truth.shape[1]), [prompt if model.reads_text else ""]
    (answer,) = ask(model, encode(model, sample.image[None], precision), asked, texts, size, precision)
    return draw_tiles(sample.image.numpy().transpose(1, 2, 0), truth.numpy(), (answer.logits[0, 0] > 0).numpy())


def write_gallery(shown: Sequence[Shown], path: Path) -> None:
    """Write the pictures and what they show as one JSON file.

    Raises:
        OutputError: If it cannot be written.
    """
    pictures = [
        {**asdict(each.example), "tiles": {name: _to_text(tile) for name, tile in each.tiles.items()}} for each in shown
    ]
    write_json(path, {"pictures": pictures})


def read_gallery(path: Path) -> list[Shown]:
    """Read what ``write_gallery`` wrote; nothing if there is no such file.

    Raises:
        DataError: If the file is too large, damaged, or of something else.
    """
    if not path.is_file():
        return []
    remedy = "remove it, or evaluate again"
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path}: expected {LARGEST:,} bytes at most, got {path.stat().st_size:,}; {remedy}.")
    try:
        return [_to_shown(row) for row in json.loads(path.read_text(encoding="utf-8"))["pictures"]]
    except (OSError, KeyError, TypeError, ValueError, RecursionError, binascii.Error) as error:
        raise DataError(f"{path}: not the pictures of an evaluation ({error!r}); {remedy}.") from error


def _to_shown(content: Mapping[str, Any]) -> Shown:
    if content["kind"] not in KINDS:
        raise ValueError(f"no kind is called {content['kind']!r}")
    mean, lowest, highest = (float(content[name]) for name in ("mean", "lowest", "highest"))
    example = Example(content["kind"], Row(**content["row"]), mean, lowest, highest, int(content["answers"]))
    return Shown(example, {name: base64.b64decode(content["tiles"][name], validate=True) for name in TILES})


def _to_text(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")
