"""The worst answers of an audit as pictures: the truth, the answers before and after the exchange, and the words."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vesalius.console import to_terminal
from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.evaluation.audit.answers import Answer
from vesalius.evaluation.audit.checks import QUIET
from vesalius.evaluation.audit.witness import Witness
from vesalius.evaluation.uncertainty import disagreement_map
from vesalius.imaging import overlay, write_rgb
from vesalius.models import Segmenter
from vesalius.models.asking import encode
from vesalius.models.devices import Precision
from vesalius.models.text_cache import TextCache

SIDE = 320
"""Width and height of a panel, pixels."""
TEXT = 15
"""Height of letters, pixels."""
LINES = 3
"""Of text under a panel."""
GAP = 8
"""Between panels, pixels."""
BLUE = (86, 180, 233)
"""The truth; told from the answers' amber by colour-blind readers, too."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Worst:
    """An answer worth looking at."""

    why: str
    answer: Answer

    def name(self, rank: int) -> str:
        """Of its picture."""
        return f"{self.answer.test}_{rank}_{Path(self.answer.image).stem}.png"


def find_worst(answers: Sequence[Answer], count: int) -> list[Worst]:
    """The answers that show best what is wrong; no image twice for the same reason.

    Args:
        answers: All of an audit.
        count: For each of three reasons, at most: Dice lost by other true words, pixels marked of what is not there,
            and masks changed by one flipped attribute.
    """
    worded = [each for each in answers if each.test == "wording" and each.true_pixels]
    absent = [each for each in answers if each.test == "absent"]
    flipped = [each for each in answers if each.test == "flip"]
    return [
        *_top(worded, lambda each: each.reference_dice - each.dice, "Dice {0:.2f} became {1:.2f}", count),
        *_top(absent, lambda each: each.marked, "{2:.0%} of the image marked; it is not there", count),
        *_top(flipped, lambda each: each.change, "mask changed by {3:.2f} (1 - Dice)", count),
    ]


def _top(answers: Sequence[Answer], badness: Callable[[Answer], float], why: str, count: int) -> Iterator[Worst]:
    worst: dict[str, Answer] = {}
    for each in sorted(answers, key=lambda each: (-badness(each), each.image, each.prompt)):
        worst.setdefault(each.image, each)
    for each in islice(worst.values(), count):
        if badness(each) >= QUIET:
            yield Worst(why.format(each.reference_dice, each.dice, each.marked, each.change), each)


def draw_worst(
    model: Segmenter,
    dataset: SegmentationDataset,
    answers: Sequence[Answer],
    out: Path,
    *,
    count: int,
    precision: Precision = "32",
    on_picture: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Ask once more about the worst images and draw the answers.

    Args:
        model: The one that was audited.
        dataset: Its data.
        answers: All of the audit.
        out: Folder for the pictures.
        count: Pictures for each reason, at most.
        precision: Of computation.
        on_picture: Called after each, for progress.

    Raises:
        OutputError: If a picture cannot be written.
    """
    texts, ranks, paths = TextCache(model), dict.fromkeys((each.test for each in answers), 0), []
    for worst in find_worst(answers, count):
        ranks[worst.answer.test] += 1
        sample = dataset[worst.answer.record]
        wordings = [each for each in answers if each.record == worst.answer.record and each.test == "wording"]
        features = encode(model, sample.image[None], precision)
        panels = _panels(Witness(model, sample, features, texts, precision), sample, worst, wordings)
        paths.append(out / worst.name(ranks[worst.answer.test]))
        write_rgb(paths[-1], np.concatenate(panels, axis=1))
        on_picture()
    return paths


def _panels(witness: Witness, sample: Sample, worst: Worst, wordings: Sequence[Answer]) -> list[Pixels]:
    rgb, answer = sample.image.numpy().transpose(1, 2, 0), worst.answer
    truth = witness.truth[0].numpy()
    before, after = (witness.answer(prompt).mask[0].numpy() for prompt in (answer.reference, answer.prompt))
    panels = [
        _panel(overlay(rgb, truth, BLUE), f"truth: {answer.image}"),
        _panel(overlay(rgb, before), f'asked: "{answer.reference}" (Dice {answer.reference_dice:.2f})'),
        _panel(overlay(rgb, after), f'asked: "{answer.prompt}": {worst.why}'),
    ]
    if answer.test == "wording":
        prompts = dict.fromkeys([answer.reference, *(each.prompt for each in wordings)])
        masks = np.stack([witness.answer(prompt).mask[0].numpy() for prompt in prompts])
        panels.append(_panel(_heat(disagreement_map(masks)), f"bright: {len(masks)} wordings disagree"))
    return panels


def _heat(disagreement: NDArray[np.float64]) -> Pixels:
    grey = np.rint(255 * disagreement / max(float(disagreement.max()), 1e-9)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _panel(rgb: Pixels, caption: str) -> Pixels:
    """The picture, fitted into a square, and words below it."""
    picture = Image.fromarray(rgb)
    picture.thumbnail((SIDE, SIDE))
    canvas = Image.new("RGB", (SIDE + GAP, SIDE + (TEXT + 4) * LINES), "white")
    canvas.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    font = ImageFont.load_default(TEXT)
    ImageDraw.Draw(canvas).multiline_text((2, SIDE + 2), _fold(to_terminal(caption), font), fill="black", font=font)
    return np.asarray(canvas)


def _fold(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Lines no wider than a panel; what does not fit is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= SIDE - 4 or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines[:LINES]) + (" …" if len(lines) > LINES else "")
