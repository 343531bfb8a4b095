"""What the demo found, apart from how it is shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

Verdict = Literal["right", "wrong", "unsure"]

NEARLY_EMPTY = 0.01
"""A mask that marks a smaller share of the pixels counts as "nothing found"."""


@dataclass(frozen=True)
class Answer:
    """One phrase asked of one picture."""

    phrase: str
    share: float
    """Of the picture's pixels that are marked."""
    dice: float | None
    """Against the truth; None where the phrase names what the picture does not show."""
    picture: str
    """The overlay, relative to the page."""

    @property
    def result(self) -> str:
        """The number that judges it."""
        return f"marks {percent(self.share)}" if self.dice is None else f"Dice {self.dice:.3f}"


@dataclass(frozen=True)
class Strip:
    """One picture and all answers about it."""

    title: str
    picture: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Part:
    """Pictures of one origin."""

    title: str
    intro: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Judgement:
    """One aspect of a picture: what was said, and what is true."""

    aspect: str
    truth: str
    said: str | None
    """None when unsure."""
    probability: float | None
    """None if the header said it."""
    source: str
    """Of the answer: "header" or "pixels"."""

    @property
    def verdict(self) -> Verdict:
        """Whether that is the truth; no answer is neither right nor wrong."""
        if self.said is None:
            return "unsure"
        return "right" if self.said == self.truth else "wrong"

    @property
    def origin(self) -> str:
        """Where the answer comes from, and how likely it was held."""
        return self.source if self.probability is None else f"{self.source} {self.probability:.2f}"


@dataclass(frozen=True)
class NamedPicture:
    """A picture and what was said about it."""

    title: str
    remark: str
    picture: str
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class Summary:
    """One phrase over all pictures of a part."""

    pictures: str
    """Their number and origin."""
    asked: str
    outcome: str


@dataclass(frozen=True)
class Findings:
    """Everything the demo shows."""

    model: str
    parts: tuple[Part, ...]
    named: tuple[NamedPicture, ...]
    skipped: tuple[str, ...]
    """What could not be shown, and why."""


def summarise(findings: Findings) -> list[Summary]:
    """A row for every phrase of every part, and one for each source of names."""
    rows = [row for part in findings.parts for row in _summarise_part(part)]
    for source in ("header", "pixels"):
        judged = [each for picture in findings.named for each in picture.judgements if each.source == source]
        if judged:
            asked = ", ".join(sorted({each.aspect for each in judged}))
            rows.append(Summary(f"{len(findings.named)} × sample, by its {source}", asked, _score(judged)))
    return rows


def percent(share: float) -> str:
    """A share as text, never rounded down to nothing.

    >>> percent(0.0), percent(0.00001), percent(0.127)
    ('0 %', '< 0.1 %', '12.7 %')
    """
    if share == 0:
        return "0 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def _summarise_part(part: Part) -> Iterator[Summary]:
    for phrase in dict.fromkeys(answer.phrase for strip in part.strips for answer in strip.answers):
        answers = [answer for strip in part.strips for answer in strip.answers if answer.phrase == phrase]
        yield Summary(f"{len(answers)} × {part.title}", f"“{phrase}”", _outcome(answers))


def _score(judged: Sequence[Judgement]) -> str:
    right, unsure = (sum(each.verdict == verdict for each in judged) for verdict in ("right", "unsure"))
    return f"{right} of {len(judged)} right" + (f", {unsure} unsure" if unsure else "")


def _outcome(answers: Sequence[Answer]) -> str:
    dices = [answer.dice for answer in answers if answer.dice is not None]
    if dices:
        return f"mean Dice {fmean(dices):.3f} (lowest {min(dices):.3f})"
    shares = [answer.share for answer in answers]
    empty = sum(share < NEARLY_EMPTY for share in shares)
    return f"marks {percent(fmean(shares))} of pixels; under {100 * NEARLY_EMPTY:g} % in {empty} of {len(shares)}"
