"""The findings as one HTML page."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from string import Template

from findings import Answer, Findings, Judgement, NamedPicture, Part, Strip, summarise

from vesalius.console import to_html, to_link
from vesalius.knowledge import MODALITY_NAMES, Knowledge, LearntTarget

TEMPLATE = Path(__file__).parent / "page.html"
UNLEARNT = ("fracture", "kidney stone", "a cat", "left kidney")
"""Phrases whose answers show what becomes of a phrase before the model is asked."""


def render(findings: Findings, knowledge: Knowledge, credits_: str, facts: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        findings: What to show.
        knowledge: What the model learnt.
        credits_: Where the sample images come from.
        facts: For the footer, such as the version.
    """
    rows = [(row.pictures, row.asked, row.outcome) for row in summarise(findings)]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
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
    return f'<tr class="{each.verdict}"><th scope="row">{to_html(each.aspect)}</th>{row}</tr>'
