"""A score card as Markdown."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from vesalius.console import markdown_table, to_link, to_markdown
from vesalius.evaluation.audit.card import Card
from vesalius.evaluation.audit.line import Line
from vesalius.evaluation.calibration import Calibration
from vesalius.evaluation.uncertainty import RiskCoverage
from vesalius.files import write_text


def write_page(card: Card, title: str, pictures: Sequence[Path], path: Path) -> None:
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


def render_body(card: Card) -> list[str]:
    """The card's sentences and tables, line by line."""
    first, *others = card.conclusion
    return [
        f"**{to_markdown(first)}**",
        *map(to_markdown, others),
        "",
        *map(to_markdown, (describe_scope(card), *card.notes)),
        "",
        "| exchange | value | verdict |",
        "|---|---|---|",
        *_lines(card.lines),
        "",
        markdown_table(("can its own doubt be trusted?", "value", "good"), describe_trust(card)),
    ]


def describe_scope(card: Card) -> str:
    """What was measured on how much, and how, in one line."""
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


def describe_trust(card: Card) -> Iterator[tuple[str, str, str]]:
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
        yield f"the same, of {what} it is unsure of", str(found.doubtful_ece), "near 0"
    yield f"Brier score of {what}", str(found.brier), "near 0"


def _risk(what: str, found: RiskCoverage) -> tuple[str, str, str]:
    good = f"near {found.best:.3f} (perfect), below {found.chance:.3f} (chance)"
    return f"risk over coverage (AURC), by {what}", str(found.aurc), good
