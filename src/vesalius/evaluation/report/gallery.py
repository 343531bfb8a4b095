"""The pictures of a report: which images, and each answer as four small pictures.

Rows hold no masks. ``evaluate`` therefore asks the model once more about the few images that a report shows, and keeps
the pictures in one file; a report of rows alone has none.
"""

import base64
import binascii
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.rows import Row, tabulate
from vesalius.files import write_json
from vesalius.imaging.slices import AMBER, SKY, overlay, shrink, to_bytes
from vesalius.models import Segmenter
from vesalius.models.choices import Precision
from vesalius.models.encoder import height_width
from vesalius.models.inference import TextCache, decode_prompts, encode
from vesalius.prompts import variants

KINDS = {"worst": "Worst", "median": "In the middle", "best": "Best", "false positive": "False positives"}
"""Why an image is shown, and the heading above such images."""
MOST = 6
"""Examples of a kind at most; a page should stay small."""


@dataclass(frozen=True)
class Example:
    """One answer about one image, and why it is shown."""

    kind: str
    """One of ``KINDS``."""
    row: Row
    """The answer: of all about the image, the one nearest to their mean; of a false positive, the largest."""
    mean: float
    """Dice of the image, over families and wordings."""
    lowest: float
    """Dice of its worst answer."""
    highest: float
    """Dice of its best answer."""
    answers: int
    """Wordings that it was asked."""


def choose_examples(rows: Iterable[Row], each: int) -> list[Example]:
    """Choose images by their mean Dice, and one answer about each.

    Images that show the target are ranked, ties by name; those without are false positives where something is marked.

    Args:
        rows: Rows of one evaluation.
        each: Examples of a kind at most, 0 to ``MOST``; fewer where there are not three times as many images.

    Raises:
        ConfigError: If ``each`` is out of its range.
    """
    if not 0 <= each <= MOST:
        raise ConfigError(f"Pictures of a kind: expected 0 to {MOST}, got {each}.")
    found = list(rows)
    present = _by_image(row for row in found if row.true_pixels)
    absent = _by_image(row for row in found if not row.true_pixels)
    return [*_choose_ranked(present, each), *_choose_false_positives(absent, each)]


def _by_image(rows: Iterable[Row]) -> dict[str, list[Row]]:
    ordered = sorted(rows, key=lambda row: (row.image, row.family, row.variant))
    return {image: list(group) for image, group in groupby(ordered, key=lambda row: row.image)}


def _choose_ranked(answers: dict[str, list[Row]], each: int) -> list[Example]:
    if not answers or not each:
        return []
    means = _means(answers)
    ranked = sorted(means, key=lambda image: (means[image], image))
    each = max(1, min(each, len(ranked) // 3))
    middle = (len(ranked) - each) // 2
    chosen: dict[str, str] = {}
    # An image of a tiny data set may be all three; it is then shown once.
    for kind, images in (
        ("worst", ranked[:each]),
        ("best", ranked[: -each - 1 : -1]),
        ("median", ranked[middle:][:each]),
    ):
        for image in images:
            chosen.setdefault(image, kind)
    examples = [
        _to_example(kind, _nearest(answers[image], means[image]), answers[image], means[image])
        for image, kind in chosen.items()
    ]
    return sorted(examples, key=lambda example: list(KINDS).index(example.kind))


def _means(answers: dict[str, list[Row]]) -> dict[str, float]:
    table = tabulate([row for rows in answers.values() for row in rows])
    return dict(zip(table.images, table.overall().tolist(), strict=True))


def _nearest(answers: Sequence[Row], mean: float) -> Row:
    return min(answers, key=lambda row: abs(row.dice - mean))


def _choose_false_positives(answers: dict[str, list[Row]], each: int) -> list[Example]:
    largest = {image: max(rows, key=lambda row: row.predicted_pixels) for image, rows in answers.items()}
    marked = [row for row in largest.values() if row.predicted_pixels]
    marked.sort(key=lambda row: (-row.predicted_pixels, row.image))
    means = _means(answers) if marked else {}
    return [_to_example("false positive", row, answers[row.image], means[row.image]) for row in marked[:each]]


def _to_example(kind: str, row: Row, answers: Sequence[Row], mean: float) -> Example:
    scores = [answer.dice for answer in answers]
    return Example(kind, row, mean, min(scores), max(scores), len(answers))


SIDE = 320
"""Pixels of a picture's longer side."""
QUALITIES = (80, 60, 40, 20, 5)
"""JPEG qualities; lower ones only for pictures that would be too large."""
LARGEST_TILE = 22_000
"""Bytes of a JPEG file; keeps the fullest page below 3 MB."""
TILES = ("image", "truth", "prediction", "errors")

VERMILION = (213, 94, 0)
YELLOW = (240, 228, 66)
"""With SKY, colours of Okabe and Ito's palette: distinct for colour-blind readers, and by lightness on a grey print."""
ERROR_COLOURS = {"both": SKY, "only predicted": VERMILION, "missed": YELLOW}
DIMMED = 0.4
"""Brightness of the grey picture behind the errors."""
OPAQUE = 0.8
"""Opacity of the colours of errors."""

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def draw_tiles(rgb: NDArray[np.float32], truth: Mask, found: Mask) -> dict[str, bytes]:
    """Draw an answer.

    Args:
        rgb: The image [H, W, 3] in [0, 1].
        truth: What is there, [H, W].
        found: What was marked, [H, W].

    Returns:
        A JPEG file for each of ``TILES``.
    """
    small = shrink(to_bytes(rgb), SIDE, Image.Resampling.BOX)
    true, marked = (shrink(mask.astype(np.uint8), SIDE, Image.Resampling.NEAREST) > 0 for mask in (truth, found))
    drawn = (small, overlay(small, true, SKY), overlay(small, marked, AMBER), _draw_errors(small, true, marked))
    return {name: _encode(tile) for name, tile in zip(TILES, drawn, strict=True)}


def _draw_errors(rgb: Picture, truth: Mask, found: Mask) -> Picture:
    grey = np.repeat(np.asarray(Image.fromarray(rgb).convert("L"), np.float32)[..., None] * DIMMED, 3, axis=2)
    for mask, colour in zip((truth & found, found & ~truth, truth & ~found), ERROR_COLOURS.values(), strict=True):
        grey[mask] = grey[mask] * (1 - OPAQUE) + np.array(colour, np.float32) * OPAQUE
    return np.rint(grey).astype(np.uint8)


def _encode(levels: Picture) -> bytes:
    picture = Image.fromarray(levels)
    for quality in QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= LARGEST_TILE:
            break
    return buffer.getvalue()


GALLERY_NAME = "pictures.json"
OLD_KINDS = {"false alarm": "false positive"}
"""Kinds as files of earlier versions call them."""
LARGEST = 2 * len(KINDS) * MOST * len(TILES) * LARGEST_TILE
"""Bytes of a file that is still read: the most pictures there may be, as text, and what is said of them."""


@dataclass(frozen=True)
class Shown:
    """An example and its pictures."""

    example: Example
    tiles: dict[str, bytes]
    """A JPEG file for each of ``TILES``."""


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
    features = encode(model, sample.image[None], precision)
    (answer,) = decode_prompts(model, features, [prompt], texts, height_width(sample.mask), precision)
    return draw_tiles(sample.image.numpy().transpose(1, 2, 0), sample.mask[0].numpy() > 0.5, answer.mask[0].numpy())


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
    kind = OLD_KINDS.get(content["kind"], content["kind"])
    if kind not in KINDS:
        raise ValueError(f"no kind is called {kind!r}")
    mean, lowest, highest = (float(content[name]) for name in ("mean", "lowest", "highest"))
    example = Example(kind, Row(**content["row"]), mean, lowest, highest, int(content["answers"]))
    return Shown(example, {name: base64.b64decode(content["tiles"][name], validate=True) for name in TILES})


def _to_text(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")
