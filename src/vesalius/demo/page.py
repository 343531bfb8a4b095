"""What the demo found, summed up, and the HTML pages of it: index.html (page.html) and targets.html.

The demo asks the model for phrases on pictures of one origin after the other (`DemoSection`), and names further
pictures (`NamedPicture`). `summarise_findings` counts both. All that the model learnt is listed by part of the body
(`TargetRegion`). `render_pages` fills the pages.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from vesalius.knowledge import Knowledge, LearntTarget
from vesalius.pages import render_page

Verdict = Literal["right", "wrong", "unsure"]

PAGES = ("index.html", "targets.html")
UNLEARNT = ("fracture", "kidney stone", "a cat", "left kidney")
"""Phrases that show how phrases are answered that the model is not asked."""
NEARLY_EMPTY = 0.01
"""Share of the pixels below which a mask counts as "nothing found"."""


@dataclass(frozen=True)
class PhraseAnswer:
    """The model's answer to one phrase on one picture."""

    phrase: str
    share: float
    """Share of the picture's pixels that are marked, 0 to 1."""
    dice: float | None
    """Dice with the true mask; None where the phrase names what the picture does not show."""
    picture: str
    """Path of the overlay, relative to the page."""

    @property
    def result(self) -> str:
        """The number that judges it."""
        return f"marks {percent(self.share)}" if self.dice is None else f"Dice {self.dice:.3f}"


@dataclass(frozen=True)
class AskedPicture:
    """One picture and all answers about it."""

    title: str
    picture: str
    answers: tuple[PhraseAnswer, ...]


@dataclass(frozen=True)
class DemoSection:
    """Pictures of one origin."""

    title: str
    intro: str
    pictures: tuple[AskedPicture, ...]


@dataclass(frozen=True)
class Judgement:
    """One kind of label of a picture: what was said, and what is true."""

    kind: str
    truth: str
    said: str | None
    """Label that was given; None when unsure."""
    probability: float | None
    """Probability of the label; None if it comes from the header."""
    source: str
    """Where the label comes from: "header" or "pixels"."""

    @property
    def verdict(self) -> Verdict:
        """Whether that is the truth; no answer is neither right nor wrong."""
        if self.said is None:
            return "unsure"
        return "right" if self.said == self.truth else "wrong"

    @property
    def mark(self) -> str:
        """The verdict as the page shows it, with the truth where that differs."""
        return {"right": "✓ right", "wrong": f"✗ is {self.truth}", "unsure": f"? is {self.truth}"}[self.verdict]

    @property
    def origin(self) -> str:
        """Where the label comes from, and its probability."""
        return self.source if self.probability is None else f"{self.source} {self.probability:.2f}"


@dataclass(frozen=True)
class NamedPicture:
    """A picture and what was said about it."""

    title: str
    remark: str
    picture: str
    judgements: tuple[Judgement, ...]


@dataclass(frozen=True)
class TargetAnswer:
    """The model's answer to a target's plain name on a picture that shows the target."""

    title: str
    """What the picture is."""
    picture: str
    """Path of the overlay, relative to the page."""
    existence: float | None
    """0 to 1; None where the model does not judge it."""
    share: float
    """Share of the picture's pixels that are marked, 0 to 1."""

    @property
    def result(self) -> str:
        """Existence, where there is one, and area."""
        area = f"marks {percent(self.share)}"
        return area if self.existence is None else f"existence {self.existence:.2f}, {area}"


@dataclass(frozen=True)
class TargetEntry:
    """A learnt target, and how it may be asked for."""

    learnt: LearntTarget
    names: tuple[str, ...]
    """Further names that are understood."""
    answers: tuple[TargetAnswer, ...] = ()
    """One for each picture that may be shown."""


@dataclass(frozen=True)
class TargetRegion:
    """The learnt targets of one part of the body."""

    title: str
    entries: tuple[TargetEntry, ...]


@dataclass(frozen=True)
class Findings:
    """Everything the demo shows."""

    model: str
    sections: tuple[DemoSection, ...]
    named: tuple[NamedPicture, ...]
    skipped: tuple[str, ...]
    """Pictures that could not be shown, and why."""
    regions: tuple[TargetRegion, ...] = ()
    """What the model learnt; empty if it does not say so."""

    @property
    def portrayed(self) -> tuple[tuple[TargetEntry, TargetAnswer], ...]:
        """All answers about targets, each with its target."""
        entries = (entry for region in self.regions for entry in region.entries)
        return tuple((entry, answer) for entry in entries for answer in entry.answers)


def summarise_findings(findings: Findings) -> list[tuple[str, str, str]]:
    """Pictures, question and result: a row for every phrase of every section, and one for each source of names."""
    rows = [row for section in findings.sections for row in _summarise_section(section)]
    for source in ("header", "pixels"):
        judged = [each for picture in findings.named for each in picture.judgements if each.source == source]
        if judged:
            asked = ", ".join(sorted({each.kind for each in judged}))
            rows.append((f"{len(findings.named)} × sample, by its {source}", asked, _score(judged)))
    return rows


def percent(share: float) -> str:
    """A share as text, never rounded down to nothing.

    >>> percent(0.0), percent(0.00001), percent(0.127)
    ('0 %', '< 0.1 %', '12.7 %')
    """
    if share == 0:
        return "0 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def _summarise_section(section: DemoSection) -> Iterator[tuple[str, str, str]]:
    by_phrase: dict[str, list[PhraseAnswer]] = {}
    for answer in (answer for picture in section.pictures for answer in picture.answers):
        by_phrase.setdefault(answer.phrase, []).append(answer)
    for phrase, answers in by_phrase.items():
        yield f"{len(answers)} × {section.title}", f"“{phrase}”", _outcome(answers)


def _score(judged: Sequence[Judgement]) -> str:
    right, unsure = (sum(each.verdict == verdict for each in judged) for verdict in ("right", "unsure"))
    return f"{right} of {len(judged)} right" + (f", {unsure} unsure" if unsure else "")


def _outcome(answers: Sequence[PhraseAnswer]) -> str:
    dices = [answer.dice for answer in answers if answer.dice is not None]
    if dices:
        return f"mean Dice {fmean(dices):.3f} (lowest {min(dices):.3f})"
    shares = [answer.share for answer in answers]
    empty = sum(share < NEARLY_EMPTY for share in shares)
    return f"marks {percent(fmean(shares))} of pixels; under {100 * NEARLY_EMPTY:g} % in {empty} of {len(shares)}"


def render_pages(
    findings: Findings, knowledge: Knowledge, credits_: str, facts: Mapping[str, str]
) -> Mapping[str, str]:
    """The whole pages, by the names of their files.

    Args:
        findings: What to show.
        knowledge: What the model learnt; a model that does not say what it learnt is asked every phrase.
        credits_: Origin of the sample images.
        facts: For the footer, such as the version.
    """
    replies = {each: knowledge.understand(each).remark for each in UNLEARNT}
    told = {"model": findings.model, "credits": credits_, "facts": list(facts.items())}
    index = render_page(
        "demo/page.html",
        **told,
        summary=summarise_findings(findings),
        skipped=findings.skipped,
        sections=findings.sections,
        named=findings.named,
        learnt=len(knowledge.targets),
        unlearnt=[(each, reply or "outlined wherever the model finds it likely") for each, reply in replies.items()],
    )
    targets = render_page("demo/targets.html", **told, regions=findings.regions, pictures=len(findings.portrayed))
    return dict(zip(PAGES, (index, targets), strict=True))
