"""What the demo found, and the HTML page that shows it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from statistics import fmean
from string import Template
from typing import Literal

from vesalius.console import to_html, to_link
from vesalius.knowledge import MODALITY_NAMES, Knowledge, LearntTarget

Verdict = Literal["right", "wrong", "unsure"]

UNLEARNT = ("fracture", "kidney stone", "a cat", "left kidney")
"""Phrases whose answers show what becomes of a phrase before the model is asked."""
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
    """A label of a picture: what was said, and what is true."""

    kind: str
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
            asked = ", ".join(sorted({each.kind for each in judged}))
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


def render(findings: Findings, knowledge: Knowledge, credits_: str, facts: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        findings: What to show.
        knowledge: What the model learnt.
        credits_: Where the sample images come from.
        facts: For the footer, such as the version.
    """
    rows = [(row.pictures, row.asked, row.outcome) for row in summarise(findings)]
    return Template(files(__package__).joinpath("page.html").read_text(encoding="utf-8")).substitute(
        model=to_html(f"“{findings.model}”"),
        summary=table(("pictures", "asked", "result"), rows),
        skipped="".join(f'<p class="skipped">{to_html(line)}</p>' for line in findings.skipped),
        parts="".join(_part(part) for part in findings.parts),
        named="".join(_named(picture) for picture in findings.named),
        learnt=table(("target", "learnt on", "training pictures"), map(_target, knowledge.targets)),
        unlearnt=table(("asked for", "answer"), ((each, _reply(knowledge, each)) for each in UNLEARNT)),
        credits=to_html(credits_),
        facts=" · ".join(f"{to_html(name)} {to_html(value)}" for name, value in facts.items()),
    )


def _target(each: LearntTarget) -> tuple[str, str, int]:
    return each.phrase, ", ".join(MODALITY_NAMES.get(kind, kind) for kind in each.modalities), each.pictures


def _reply(knowledge: Knowledge, phrase: str) -> str:
    """What a user is told; a model that does not tell what it learnt is asked everything."""
    understood = knowledge.understand(phrase)
    return understood.remark or "outlined wherever the model finds it likely"


def today() -> str:
    """The date, for the footer."""
    return date.today().isoformat()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; every cell is escaped."""
    head = "".join(f'<th scope="col">{to_html(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{to_html(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _part(part: Part) -> str:
    strips = "".join(_strip(strip) for strip in part.strips)
    head = f"<h2>{to_html(part.title)}</h2><p>{to_html(part.intro)}</p>"
    return f'<section>{head}<div class="strips">{strips}</div></section>'


def _strip(strip: Strip) -> str:
    tiles = _tile(strip.picture, "image", "", "") + "".join(_answer(answer) for answer in strip.answers)
    return f'<article><h3>{to_html(strip.title)}</h3><div class="tiles">{tiles}</div></article>'


def _answer(answer: Answer) -> str:
    kind = "absent" if answer.dice is None else "present"
    return _tile(answer.picture, f"“{answer.phrase}”", answer.result, kind)


def _tile(picture: str, caption: str, result: str, kind: str) -> str:
    source, text = to_html(to_link(picture)), to_html(caption)
    image = f'<a href="{source}"><img src="{source}" alt="{text}" loading="lazy"></a>'
    return f'<figure class="{kind}">{image}<figcaption>{text}<b>{to_html(result)}</b></figcaption></figure>'


def _named(picture: NamedPicture) -> str:
    rows = "".join(_judgement(each) for each in picture.judgements)
    source, title = to_html(to_link(picture.picture)), to_html(picture.title)
    return (
        f'<article class="named"><a href="{source}"><img src="{source}" alt="{title}" loading="lazy"></a>'
        f"<div><h3>{title}</h3><p>{to_html(picture.remark)}</p><table>{rows}</table></div></article>"
    )


def _judgement(each: Judgement) -> str:
    mark = {"right": "✓ right", "wrong": f"✗ is {each.truth}", "unsure": f"? is {each.truth}"}[each.verdict]
    row = "".join(f"<td>{to_html(cell)}</td>" for cell in (each.said or "unsure", each.origin, mark))
    return f'<tr class="{each.verdict}"><th scope="row">{to_html(each.kind)}</th>{row}</tr>'
