"""The page of the paper's experiment: its table, its figures, the ablation that it lacks, and what to make of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from anatomy_measures import BOOTSTRAP, ENOUGH_PEOPLE, MEASURES, Drawn, Measured, People, guess_commonest
from anatomy_set import CHANGED, MOST_OF_A_SERIES
from anatomy_systems import LABELS, MULTI_POSITIVE, STARTS, SYSTEMS, WORDINGS, Start, System, count_true_others
from setting import describe_setting

from vesalius.evaluation.naming.figures import draw_preferences, draw_roc
from vesalius.evaluation.naming.measures import chance_of_top1
from vesalius.evaluation.statistics import Interval
from vesalius.files import write_text
from vesalius.prompts.anatomy import LabelKind

ROOT = Path(__file__).parents[2]
PAGE, IMAGES = ROOT / "docs" / "results" / "anatomy-results.md", ROOT / "docs" / "images"
FOUR = ("PMC", "PMC-M", "PMC-MS", "PMC-MSA")
BY_NAME = {each.name: each for each in SYSTEMS}
PAPER: Mapping[tuple[LabelKind, str], tuple[float, ...]] = {
    ("organs", "#1 MR"): (54, 62, 57, 91.62),
    ("organs", "#1 CT"): (33, 70.8, 63, 81.25),
    ("organs", "#2 CT"): (24, 58.5, 47, 81),
    ("stations", "#1 MR and CT"): (52, 49, 65, 75),
    ("stations", "#2 CT"): (45, 41, 60, 76),
}
"""Top-1 in set of the four in arXiv 2405.20735, per cent."""
STEPS_UP = (("PMC-M", "PMC"), ("PMC-MS", "PMC"), ("PMC-MSA", "PMC-M"), ("PMC-MSA", "PMC-MS"))
"""The paper's ordering: the first of each pair is better."""
PERCENT = ("top-1", "right")
"""Measures that are written in per cent begin or end so."""


@dataclass(frozen=True, eq=False)
class StartReport:
    """What all systems of one start gave."""

    name: str
    start: type[Start]
    systems: Mapping[System, Measured]
    seeds: int

    def drawn(self, system: str, measure: str) -> Drawn:
        """A measure of a system with the paper's loss."""
        return self.systems[BY_NAME[system]].measures[measure]


def write_page(people: People, reports: Sequence[StartReport], seeds: Sequence[int]) -> None:
    """Write the page and its figures.

    Args:
        people: Whose slices were asked about.
        reports: Of the starts that are done.
        seeds: Those that were to be done.
    """
    parts = [
        "# The paper's systems on people they never saw",
        f"Written by `python experiments/benchmarks/anatomy_tables.py ../shared/data`: {describe_setting()}.",
        *_describe(people, reports),
        *_lack(reports, seeds),
        "## Does the paper's ordering hold?",
        *_judge(reports),
    ]
    for report in reports:
        parts += _section(people, report)
    write_text(PAGE, "\n\n".join(parts) + "\n")


def _describe(people: People, reports: Sequence[StartReport]) -> Iterator[str]:
    slices = people.slices
    numbers = ", ".join(f"{people.count(people.modality == name)} with {name}" for name in sorted({*people.modality}))
    taught = "; ".join(
        f"{each.start.title}: {each.start.steps} steps of {each.start.batch}, {_count(each.seeds, 'seed')}"
        for each in reports
    )
    yield (
        f"{len(slices.labels):,} native slices of {people.count(people.sets['all'])} people "
        f"({numbers}), at most {MOST_OF_A_SERIES} of a series, labelled by looking (recipes/anatomy/README.md). People "
        "are held out in the five parts of [pocket-naming.md](pocket-naming.md), each with all their series; every "
        "slice is asked about once a seed, by systems that never saw the person. Nothing else is trained on. All "
        "systems of a start, part and seed begin with the same weights and see the same slices in the same batches for "
        f"the same number of steps: {taught}. Captions and losses are those of recipes/anatomy; augmented captions are "
        f"drawn from {WORDINGS} of each slice, augmented views from {CHANGED}. No setting was chosen on these people's "
        "results: learning rates, batches and steps were fixed beforehand."
    )
    yield (
        "**What cannot be reproduced here.** PubMedCLIP's weights cannot be had, so PMC, the paper's zero-shot system, "
        "is each start before any teaching. It has learnt no names: it says much the same of every slice, and is right "
        "where that is common. That PMC comes last says nothing of PubMedCLIP. The paper's slices are not public; its "
        "set #2 is the Visible Human, of whom only the head is here, one person in pictures whose shades are no "
        "Hounsfield units. Its column stands beside ours for the shape of the table."
    )
    yield (
        f"Every person counts once: a person's slices are averaged first. Brackets are 95 % intervals over people "
        f"({BOOTSTRAP.resamples:,} draws of whole people, CT and MR apart, seeds averaged within each draw); "
        "differences are paired, by the same draws. Intervals are not corrected for their number. Macro AUROC is the "
        f"mean over labels that {ENOUGH_PEOPLE} people or more show and as many do not, scores of all parts together. "
        "Stations are the paper's five. *Commonest* names what most of the other people show, and looks at no slice."
    )


def _lack(reports: Sequence[StartReport], seeds: Sequence[int]) -> Iterator[str]:
    """What was asked for and is not done."""
    done = {each.name: each.seeds for each in reports}
    lacking = [
        f"{_count(len(seeds) - done.get(name, 0), 'seed')} of {len(seeds)} of *{start.title}*"
        for name, start in STARTS.items()
        if done.get(name, 0) < len(seeds)
    ]
    lacking += [
        f"UniCL of *{each.start.title}*"
        for each in reports
        if each.name == "imagenet" and MULTI_POSITIVE[0] not in each.systems
    ]
    if lacking:
        yield f"**Not done yet**: {'; '.join(lacking)}. The same command goes on where it stopped."


def _judge(reports: Sequence[StartReport]) -> Iterator[str]:
    yield (
        "PMC < PMC-M, PMC-MS < PMC-MSA. Each cell is the difference that the ordering says is above 0; **bold** where "
        "its interval excludes 0."
    )
    for report in reports:
        rows = []
        for name, title in MEASURES.items():
            found = [(report.drawn(one, name) - report.drawn(other, name)) for one, other in STEPS_UP]
            rows.append(
                [
                    title.removesuffix(", %").removesuffix(" %"),
                    *(_signed(name, each) for each in found),
                    _verdict(found),
                ]
            )
        columns = ["", *(f"{one} − {other}" for one, other in STEPS_UP), "ordering"]
        yield f"**{report.start.title}**"
        yield _table(columns, rows)


def _verdict(found: Sequence[Drawn]) -> str:
    """Whether the ordering holds in one measure."""
    values, ends = [each.values[0] for each in found], [each.interval for each in found]
    if any(each.high is not None and each.high < 0 for each in ends):
        return "no: reversed somewhere"
    if min(values) <= 0:
        return "not seen"
    shown = sum(each.low is not None and each.low > 0 for each in ends)
    return "yes" if shown == len(found) else f"seen; {shown} of {len(found)} beyond chance"


def _section(people: People, report: StartReport) -> Iterator[str]:
    yield f"## {report.start.title}"
    yield "### Table III: top-1 in set, %"
    yield _paper_table(people, report)
    yield "### The same number of steps, image augmentation × language augmentation"
    yield _ablation(report)
    yield _effects(report)
    yield "### Figure 2: one-versus-rest ROC of organs, everybody together"
    yield _save(report, "roc_organs", _draw_roc(people, report))
    yield _organ_table(people, report)
    yield "### Figure 3: the true caption against a contradiction"
    yield _save(report, "contradictions", _draw_preferences(people, report))
    yield _preference_table(people, report)
    if MULTI_POSITIVE[0] in report.systems:
        yield "### Why: captions that are true of several slices of a batch"
        yield from _other_loss(people, report)


def _paper_table(people: People, report: StartReport) -> str:
    rows = []
    for kind, name in (*PAPER, ("organs", "all"), ("stations", "all")):
        chosen = people.sets[name]
        scores = guess_commonest(people, kind)
        cells = [
            people.mean(people.hits(kind, report.systems[BY_NAME[system]].answers[kind]), chosen) for system in FOUR
        ]
        shown = np.flatnonzero(chosen)
        chance = chance_of_top1(people.case(kind, scores[0]).index_select(shown))
        theirs = PAPER.get((kind, name))
        rows.append(
            [
                f"{kind}, {name}",
                f"{cells[0].people} / {cells[0].slices}",
                f"{100 * chance:.0f}",
                f"{100 * people.mean(people.hits(kind, scores), chosen).values[0]:.0f}",
                *(_percent(each.interval) for each in cells),
                "–" if theirs is None else " · ".join(f"{each:g}" for each in theirs),
            ]
        )
    spread = ", ".join(
        f"{name} {100 * each['organs']:.1f} and {100 * each['stations']:.1f}"
        for name in FOUR
        if (each := report.systems[BY_NAME[name]].spread)
    )
    note = f"Standard deviation over seeds, organs and stations of all, points: {spread}." if report.seeds > 1 else ""
    columns = ["", "people / slices", "chance", "commonest", *FOUR, "the paper's"]
    return "\n\n".join(part for part in (_table(columns, rows), note) if part)


def _ablation(report: StartReport) -> str:
    cells = {"PMC-MS": ("fixed", "as they are"), "MS + image": ("fixed", "augmented")}
    cells |= {"MS + language": ("augmented", "as they are"), "PMC-MSA": ("augmented", "augmented")}
    rows = [
        [*kinds, *(_value(measure, report.drawn(system, measure)) for measure in MEASURES)]
        for system, kinds in cells.items()
    ]
    return _table(["captions", "slices", *MEASURES.values()], rows)


def _effects(report: StartReport) -> str:
    """Means over the other factor, and what both together give beyond their sum."""
    rows = []
    for title, signs in (
        ("image augmentation", (-0.5, 0.5, -0.5, 0.5)),
        ("language augmentation", (-0.5, -0.5, 0.5, 0.5)),
        ("both, beyond the sum", (1, -1, -1, 1)),
    ):
        cells = []
        for measure in MEASURES:
            one, *others = (
                report.drawn(system, measure).scale(sign)
                for system, sign in zip(("PMC-MS", "MS + image", "MS + language", "PMC-MSA"), signs, strict=True)
            )
            cells.append(_signed(measure, sum(others, one)))
        rows.append([title, *cells])
    return _table(["adds", *MEASURES.values()], rows)


def _draw_roc(people: People, report: StartReport) -> str | None:
    counted, present = people.counted("organs"), people.truth["organs"] == 1
    labels = [
        (label, bool(counted[place]), people.count(present[:, place])) for place, label in enumerate(LABELS["organs"])
    ]
    shown: list[Any] = []
    for name in FOUR:
        one = report.systems[BY_NAME[name]]
        curves = [people.curve("organs", place, one.answers["organs"]) for place in range(len(labels))]
        results = [
            SimpleNamespace(label=label, counted=enough, patients=number, auroc=area.interval if curve else None)
            for (label, enough, number), area, curve in zip(labels, one.areas["organs"], curves, strict=True)
        ]
        rankings = [SimpleNamespace(curve=lambda curve=curve: curve) for curve in curves]
        result = SimpleNamespace(labels=results, judged=SimpleNamespace(rankings=rankings))
        shown.append(SimpleNamespace(name=name, label_kinds={"organs": result}))
    return draw_roc(shown, "organs")


def _organ_table(people: People, report: StartReport) -> str:
    rows = []
    for place, label in enumerate(LABELS["organs"]):
        number = people.count(people.truth["organs"][:, place] == 1)
        if number:
            areas = [report.systems[BY_NAME[name]].areas["organs"][place].interval for name in FOUR]
            name = label if people.counted("organs")[place] else f"{label} †"
            rows.append([name, str(number), *(_plain(each) for each in areas)])
    means = [report.drawn(name, "organs AUROC") for name in FOUR]
    rows.append(["**macro**", "", *(_plain(each.interval) for each in means)])
    note = f"† shown by fewer than {ENOUGH_PEOPLE} people: not in the macro mean."
    return _table(["AUROC", "people", *FOUR], rows) + "\n\n" + note


def _draw_preferences(people: People, report: StartReport) -> str | None:
    shown: list[Any] = []
    for name in FOUR:
        answers, results = report.systems[BY_NAME[name]].answers, {}
        for kind in LABELS:
            preference, win = (answers[f"{kind} {what}"].mean(0) for what in ("preference", "win"))
            results[kind] = SimpleNamespace(
                preferences=preference[~np.isnan(preference)].tolist(),
                preference=people.mean(preference).interval,
                win_rate=people.mean(win).interval,
            )
        shown.append(SimpleNamespace(name=name, contradictions=results))
    return draw_preferences(shown)


def _preference_table(people: People, report: StartReport) -> str:
    rows = []
    for kind, wrong in (("stations", "right organs, wrong station"), ("organs", "wrong organ, right station")):
        for name in FOUR:
            answers = report.systems[BY_NAME[name]].answers
            win, preference, margin = (
                people.mean(answers[f"{kind} {what}"].mean(0)) for what in ("win", "preference", "margin")
            )
            cells = [_percent(win.interval), _percent(preference.interval), _plain(margin.interval)]
            rows.append([wrong, name, str(win.people), *cells])
    columns = ["the false caption", "system", "people", "true caption wins, %", "preference, %", "margin, log-odds"]
    return _table(columns, rows)


def _other_loss(people: People, report: StartReport) -> Iterator[str]:
    shares = ", ".join(
        f"{name} {100 * count_true_others(people.slices, str(BY_NAME[name].captions), report.start.batch):.0f} %"
        for name in FOUR[1:]
    )
    yield (
        f"The paper's loss takes every other caption of a batch for false. Of the other captions of a batch of "
        f"{report.start.batch} so many are true of a slice: {shares}. UniCL counts them as true. The same systems, "
        "slices, batches and steps with it:"
    )
    rows = []
    for system in MULTI_POSITIVE:
        own = report.systems[system].measures
        rows.append([system.name, *(_value(measure, own[measure]) for measure in MEASURES)])
    yield _table(["UniCL", *MEASURES.values()], rows)
    rows = []
    for system in MULTI_POSITIVE:
        own = report.systems[system].measures
        rows.append([system.name, *(_signed(name, own[name] - report.drawn(system.name, name)) for name in MEASURES)])
    yield _table(["UniCL − the paper's loss", *MEASURES.values()], rows)
    by_name = {each.name: report.systems[each].measures for each in MULTI_POSITIVE}
    rows = []
    for one, other in STEPS_UP[2:]:
        rows.append(
            [f"{one} − {other}", *(_signed(name, by_name[one][name] - by_name[other][name]) for name in MEASURES)]
        )
    yield _table(["with UniCL", *MEASURES.values()], rows)


def _save(report: StartReport, name: str, svg: str | None) -> str:
    if svg is None:
        return "There is nothing to draw."
    file = f"anatomy_{report.name}_{name}.svg"
    write_text(IMAGES / file, svg)
    return f"![{name}](../images/{file})"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are Markdown already."""
    lines = [f"| {' | '.join(row)} |" for row in (columns, ["---", *["---:"] * (len(columns) - 1)], *rows)]
    return "\n".join(lines)


def _is_percent(measure: str) -> bool:
    return measure.endswith(PERCENT[0]) or measure.startswith(PERCENT[1])


def _value(measure: str, drawn: Drawn) -> str:
    return _percent(drawn.interval) if _is_percent(measure) else _plain(drawn.interval)


def _percent(found: Interval) -> str:
    ends = "" if found.low is None or found.high is None else f" [{100 * found.low:.0f}, {100 * found.high:.0f}]"
    return "–" if np.isnan(found.value) else f"{100 * found.value:.0f}{ends}"


def _plain(found: Interval) -> str:
    ends = "" if found.low is None or found.high is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return "–" if np.isnan(found.value) else f"{found.value:.2f}{ends}"


def _signed(measure: str, drawn: Drawn) -> str:
    """A difference, in points or as it is; bold where its interval excludes 0."""
    found, factor, digits = drawn.interval, (100 if _is_percent(measure) else 1), (0 if _is_percent(measure) else 2)
    value, *ends = (
        f"{round(factor * each, digits) + 0.0:+.{digits}f}"
        for each in (found.value, found.low, found.high)
        if each is not None
    )
    text = f"{value} [{', '.join(ends)}]" if ends else value
    sure = found.low is not None and found.high is not None and found.low * found.high > 0
    return f"**{text}**" if sure else text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
