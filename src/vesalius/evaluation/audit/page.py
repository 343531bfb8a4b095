"""A score card as Markdown, and the worst answers as pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vesalius.console import markdown_table, to_link, to_markdown, to_terminal
from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.evaluation.audit.card import AuditCard, Line
from vesalius.evaluation.audit.session import PromptSession, SubstitutionResult
from vesalius.evaluation.calibration import Calibration, RiskCoverage, disagreement_map
from vesalius.evaluation.metrics import EMPTY_AREA
from vesalius.files import write_text
from vesalius.imaging import overlay, write_rgb
from vesalius.imaging.slices import SKY
from vesalius.models import Segmenter
from vesalius.models.choices import Precision
from vesalius.models.inference import TextCache, encode

PAGE_NAME, NUMBERS_NAME, ANSWERS_NAME = "audit.md", "audit.json", "answers.parquet"
FILES = (PAGE_NAME, NUMBERS_NAME, ANSWERS_NAME)
"""What an audit leaves in its folder, beside the pictures of `find_worst`."""
SIDE = 320
"""Width and height of a panel, pixels."""
TEXT = 15
"""Height of letters, pixels."""
LINES = 3
"""Lines of text under a panel."""
GAP = 8
"""Space between panels, pixels."""
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Worst:
    """A result worth looking at."""

    why: str
    result: SubstitutionResult
    picture: str
    """File name of its picture."""


def find_worst(results: Sequence[SubstitutionResult], count: int) -> list[Worst]:
    """The worst results by three criteria; no image twice for the same one.

    Args:
        results: All of an audit.
        count: Results a criterion, at most. The criteria: Dice lost by other true words, area of the mask for what is
            not there, change of the mask by one flipped attribute.
    """
    worded = [each for each in results if each.test == "wording" and each.true_pixels]
    absent = [each for each in results if each.test == "absent"]
    flipped = [each for each in results if each.test == "flip"]
    return [
        *_top(worded, lambda each: each.reference_dice - each.dice, "Dice {0:.2f} became {1:.2f}", count),
        *_top(absent, lambda each: each.area, "{2:.0%} of the image marked; it is not there", count),
        *_top(flipped, lambda each: each.change, "mask changed by {3:.2f} (1 - Dice)", count),
    ]


def _top(
    results: Sequence[SubstitutionResult], badness: Callable[[SubstitutionResult], float], why: str, count: int
) -> Iterator[Worst]:
    worst: dict[str, SubstitutionResult] = {}
    for each in sorted(results, key=lambda each: (-badness(each), each.image, each.prompt)):
        worst.setdefault(each.image, each)
    for rank, each in enumerate(islice(worst.values(), count), 1):
        if badness(each) >= EMPTY_AREA:
            picture = f"{each.test}_{rank}_{Path(each.image).stem}.png"
            yield Worst(why.format(each.reference_dice, each.dice, each.area, each.change), each, picture)


def draw_worst(
    model: Segmenter,
    dataset: SegmentationDataset,
    results: Sequence[SubstitutionResult],
    out: Path,
    *,
    count: int,
    precision: Precision = "32",
    on_picture: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Predict the worst results once more and draw them.

    Args:
        model: The one that was audited.
        dataset: Its data.
        results: All of the audit.
        out: Folder for the pictures.
        count: Pictures a criterion of ``find_worst``, at most.
        precision: Of computation.
        on_picture: Called after each, for progress.

    Raises:
        OutputError: If a picture cannot be written.
    """
    texts, paths = TextCache(model), []
    for worst in find_worst(results, count):
        sample = dataset[worst.result.record]
        wordings = [each.prompt for each in results if (each.record, each.test) == (worst.result.record, "wording")]
        features = encode(model, sample.image[None], precision)
        panels = _panels(PromptSession(model, sample, features, texts, precision), sample, worst, wordings)
        paths.append(out / worst.picture)
        write_rgb(paths[-1], np.concatenate(panels, axis=1))
        on_picture()
    return paths


def _panels(session: PromptSession, sample: Sample, worst: Worst, wordings: Sequence[str]) -> list[Pixels]:
    rgb, result = sample.image.numpy().transpose(1, 2, 0), worst.result
    truth = session.truth[0].numpy()
    before, after = (session.answer(prompt).mask[0].numpy() for prompt in (result.reference, result.prompt))
    panels = [
        _panel(overlay(rgb, truth, SKY), f"truth: {result.image}"),
        _panel(overlay(rgb, before), f'asked: "{result.reference}" (Dice {result.reference_dice:.2f})'),
        _panel(overlay(rgb, after), f'asked: "{result.prompt}": {worst.why}'),
    ]
    if result.test == "wording":
        prompts = dict.fromkeys([result.reference, *wordings])
        masks = np.stack([session.answer(prompt).mask[0].numpy() for prompt in prompts])
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


def write_audit_page(card: AuditCard, title: str, pictures: Sequence[Path], path: Path) -> None:
    """Write the card as a page of Markdown.

    Args:
        card: What an audit found.
        title: What was audited on what.
        pictures: Files beside the page to show.
        path: Of the page.

    Raises:
        OutputError: If it cannot be written.
    """
    shown = [line for each in pictures for line in (f"![{to_markdown(each.name)}]({to_link(each.name)})", "")]
    text = "\n".join([f"# {to_markdown(title)}", "", *render_body(card), "", *shown]).rstrip() + "\n"
    write_text(path, text)


def render_body(card: AuditCard) -> list[str]:
    """The card's sentences and tables, line by line."""
    first, *others = card.conclusion
    return [
        f"**{to_markdown(first)}**",
        *map(to_markdown, others),
        "",
        *map(to_markdown, (describe_scope(card), *card.notes)),
        "",
        "| substitution | value | verdict |",
        "|---|---|---|",
        *_lines(card.lines),
        "",
        markdown_table(("can its confidence be trusted?", "value", "good"), describe_trust(card)),
    ]


def describe_scope(card: AuditCard) -> str:
    """Images, metric and rule in one line."""
    asked = f"{card.images} of {card.available} records" if card.images < card.available else f"{card.images} records"
    rule = f"means over images with 95 % bootstrap intervals; {card.rule}"
    return f"{asked}; Dice on being asked for the plain name {card.plain_dice}; {rule}."


def group_lines(lines: Sequence[Line]) -> Iterator[tuple[str, str, list[Line]]]:
    """Lines by their question: the question, what is good, and the lines."""
    for (title, good), several in groupby(lines, lambda line: (line.title, line.good)):
        yield title, good, list(several)


def _lines(lines: Sequence[Line]) -> Iterator[str]:
    for title, good, several in group_lines(lines):
        yield f"| **{to_markdown(title)}** | *good: {to_markdown(good)}* | |"
        for line in several:
            yield f"| {' | '.join(map(to_markdown, (line.kind, line.value, line.verdict)))} |"


def describe_trust(card: AuditCard) -> Iterator[tuple[str, str, str]]:
    """Calibration and risk in rows of name, value and what a good value is."""
    trust = card.trust
    yield from _calibration("pixels", trust.pixels)
    if trust.existence:
        yield from _calibration("existence", trust.existence)
    yield _risk("soft Dice confidence", trust.by_confidence)
    if trust.by_agreement:
        yield _risk("agreement of wordings", trust.by_agreement)


def _calibration(what: str, found: Calibration) -> Iterator[tuple[str, str, str]]:
    yield f"calibration error (ECE) of {what}", str(found.ece), "near 0"
    if found.doubtful_ece:
        yield f"the same, of uncertain {what}", str(found.doubtful_ece), "near 0"
    yield f"Brier score of {what}", str(found.brier), "near 0"


def _risk(what: str, found: RiskCoverage) -> tuple[str, str, str]:
    good = f"near {found.best:.3f} (perfect), below {found.chance:.3f} (chance)"
    return f"risk over coverage (AURC), by {what}", str(found.aurc), good
