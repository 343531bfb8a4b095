"""Write docs/results/pocket-naming.md from what held-out patients gave."""

import os
import platform
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from anatomy_figures import COVERAGES, ENOUGH_PEOPLE, MOST_OF_A_SERIES, KindFigures, WorstSlice
from anatomy_head import CHOICES, Choice, CrossValidation, CurvePoint
from anatomy_scores import QUESTIONS, SeriesScore, people_means
from people import LEAST_DEPTH, MOST_ACROSS

from vesalius import __version__
from vesalius.evaluation.statistics import Interval
from vesalius.files import write_text

CAUSES = Path(__file__).with_name("worst_slices.toml")
"""Why slices are wrong, by whoever looked at them."""
GOALS = {
    "stations": (0.85, 0.95),
    "organs": (0.85, None),
    "modality": (0.98, None),
    "protocol": (0.80, None),
    "plane": (0.97, None),
}
"""Question -> what was asked for: slices, series."""
AREA_GOAL = 0.93
"""What was asked for of the organs' macro AUROC."""
HEADER_GOAL = 0.97
"""The same of protocols that headers may tell."""
TEST_PART = "test part"


@dataclass(frozen=True)
class HeaderProtocols:
    """Whether protocols of MR series are right, by person."""

    named: dict[str, list[bool]]
    """By header, or by pixels where it says nothing."""
    told: dict[str, list[bool]]
    """Of series whose header says anything."""


@dataclass(frozen=True)
class Page:
    """Everything that the page says."""

    slices: int
    views: int
    people: int
    """Whose series were held out."""
    scores: Sequence[SeriesScore]
    """Of held-out people and of test parts."""
    figures: Mapping[str, KindFigures]
    """Of stations and organs."""
    held: CrossValidation
    across: Sequence[SeriesScore]
    """Of slices cut across those of held-out people."""
    final: Choice
    """How the head that learnt from everybody was trained."""
    curve: Sequence[CurvePoint]
    worst: Sequence[WorstSlice]
    headers: HeaderProtocols
    """Protocols where headers may speak first."""
    before: tuple[Sequence[SeriesScore], Sequence[SeriesScore]] | None
    """What another head and this one said of people whom the other did not learn from."""


def write_page(path: Path, page: Page) -> None:
    """Write the tables, with what they mean and on what machine they were made."""
    held = [each for each in page.scores if each.held_out != TEST_PART]
    tests = [each for each in page.scores if each.held_out == TEST_PART]
    parts = [
        *_introduction(page),
        "## All together",
        "Likeliest label right: means over people, each counting the same, with 95 % bootstrap intervals over people; "
        "beside them the shares of all slices and of all series. A series is named by the mean over its slices and "
        "right if a third of them show it. Protocol is of MR only. What was asked for is in brackets where it is not "
        "reached.",
        summarise(held),
        *_with_header(page.headers),
        _areas(page.figures),
        say_what_falls_short(page, held),
        "## Cut across",
        "The same heads asked about their series in the two planes in which these were not taken: up to "
        f"{MOST_ACROSS} slices of each plane, where a series is {LEAST_DEPTH:.0f} mm deep; most are coarse one way, as "
        "slices lie 4 to 17 mm apart. A series counts as one here, too, with both planes. Organs are not known.",
        summarise(page.across, {}),
        *_calibration(page.figures),
        *_abstention(page.figures),
        *_curve(page, held),
        *_before(page),
        *_worst(page.worst),
        "## Organs, held out",
        f"At most {MOST_OF_A_SERIES} slices of a series. Macro means are of the organs that {ENOUGH_PEOPLE} people or "
        "more show; an interval needs two people who show it.",
        _labels(page.figures["organs"]),
        "## Stations, held out",
        _labels(page.figures["stations"]),
        "## Series, held out",
        f"Series with a wrong station: {_wrong(held)}. Share of slices whose likeliest label is right, and the "
        "likeliest of the series.",
        _shares(held, QUESTIONS),
        "## Test parts of picture sets",
        "Other pictures of the same sets were trained on, so these are no strangers. MedNIST's classes are "
        "examinations: a slice of AbdomenCT counts as abdomen whatever it shows.",
        _shares(tests, ("stations", *QUESTIONS[1:3])),
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def _introduction(page: Page) -> list[str]:
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    setting = f"{machine}, torch {torch.__version__}, vesalius {__version__}, {datetime.now(UTC).date().isoformat()}"
    chosen = ", ".join(each.name for each in page.held.chosen)
    rates = "; ".join(f"{each.name} {np.mean(page.held.rates[each.name]):.3f}" for each in CHOICES)
    return [
        "# How well pocket names",
        "Written by `python experiments/pocket/anatomy.py TRUNK ../shared/data OUT`, from pixels alone: no header is "
        "read, no slice speaks for its neighbours. "
        f"{setting}; {page.slices:,} slices, {page.views:,} views of them.",
        f"The {page.people} people of the series were held out in five parts, like with like, each person with all "
        "their series, and the naming head trained on the rest and on pictures of other people: MedNIST, the sets of "
        "`segmentation/` and `targets/`. The trunk below the head was trained to segment, and not without two of these "
        "people (experiments/pocket/README.md). Labels are ours, by looking: recipes/anatomy/README.md says how far "
        "two passes agreed.",
        f"How to train was chosen for each part by the people of the next part, without those held out (chosen: "
        f"{chosen}; mean over parts of the rate by which it was chosen: {rates}). The head in the package learnt from "
        f"everybody ({page.final.name}), so nothing here was measured on that head itself. Earlier runs of the same "
        "parts were looked at, so the figures flatter a little: after them, MR views in a changed contrast stopped "
        "counting as their protocol, three of four ways to train were dropped, of five sets of features, which "
        "differed by up to 0.04, means and standard deviations of all maps were taken, and of some twenty ways to mix "
        "in slices made of others (experiments/pocket/README.md) one was kept beside training without any.",
    ]


def say_what_falls_short(page: Page, held: Sequence[SeriesScore]) -> str:
    """Every figure below what was asked for."""
    area, headers = (
        page.figures["organs"].found.overall["macro_auroc"],
        [np.mean(own) for own in page.headers.named.values()],
    )
    reached: dict[str, tuple[float, float]] = {}
    for question, goals in GOALS.items():
        means = list(people_means(held, question).values())
        for of, (unit, goal) in enumerate(zip(("slices", "series"), goals, strict=True)):
            if goal is not None and means:
                reached[f"{question} of {unit}"] = float(np.mean([each[of] for each in means])), goal
    if area is not None:
        reached["organs' macro AUROC"] = area.value, AREA_GOAL
    if headers:
        reached["protocol with headers"] = float(np.mean(headers)), HEADER_GOAL
    short = [f"{name} {value:.2f} of {goal:.2f}" for name, (value, goal) in reached.items() if value < goal]
    return f"Short of what was asked for: {', '.join(short) or 'nothing'}."


def summarise(scores: Sequence[SeriesScore], goals: Mapping[str, tuple[float | None, float | None]] = GOALS) -> str:
    """A row a question: every person counts the same."""
    rows = []
    for question in QUESTIONS:
        means = np.array(list(people_means(scores, question).values()))
        if not len(means):
            continue
        own = [each for each in scores if question in each.right]
        slices = np.average([each.right[question] for each in own], weights=[each.asked[question] for each in own])
        series = np.mean([each.series_right[question] for each in own])
        cells = [_with_goal(means[:, of], goal) for of, goal in enumerate(goals.get(question, (None, None)))]
        counts = sum(each.asked[question] for each in own), len(own)
        rows.append(
            f"| {question} | {len(means)} | {cells[0]} | {slices:.2f} of {counts[0]:,} | {cells[1]} | "
            f"{series:.2f} of {counts[1]} |"
        )
    head = "| | people | slices right | all slices | series right | all series |"
    return "\n".join((head, "|---|---:|---|---:|---|---:|", *rows))


def _with_goal(values: np.ndarray, goal: float | None) -> str:
    low, high = bootstrap(values)
    missed = f" (≥ {goal:.2f})" if goal is not None and values.mean() < goal else ""
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]{missed}"


def bootstrap(values: np.ndarray) -> tuple[float, float]:
    """A 95 % interval of the mean over people."""
    drawn = values[np.random.default_rng(0).integers(len(values), size=(2000, len(values)))].mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def _with_header(headers: HeaderProtocols) -> list[str]:
    if not headers.told:
        return []
    means = [np.array([np.mean(own) for own in each.values()]) for each in (headers.named, headers.told)]
    low, high = bootstrap(means[0])
    return [
        "Where headers may speak first, with what `series.json` keeps of them, and pixels where they say nothing, "
        f"protocols of series are right for {means[0].mean():.2f} [{low:.2f}, {high:.2f}] of {len(means[0])} people; "
        f"where the header says anything, for {means[1].mean():.2f} of {len(means[1])}. The labels were not made "
        "without looking at these headers, so this says that headers are read as people read them."
    ]


def _areas(figures: Mapping[str, KindFigures]) -> str:
    names = {"macro_auroc": "macro AUROC", "macro_ap": "mAP", "top1": "top-1 in set", "ece": "calibration error"}
    rows = [
        f"| {kind} | {each.people} | {' | '.join(_cell(each.found.overall[name]) for name in names)} |"
        for kind, each in figures.items()
    ]
    head = f"| | people | {' | '.join(names.values())} |"
    lines = (head, "|---|---:|" + "---|" * len(names), *rows)
    area = figures["organs"].found.overall["macro_auroc"]
    missed = area is not None and area.value < AREA_GOAL
    return (
        f"Over slices, at most {MOST_OF_A_SERIES} of a series; areas are means over labels that {ENOUGH_PEOPLE} people "
        f"or more show{f' (asked for of organs: macro AUROC ≥ {AREA_GOAL})' if missed else ''}:\n\n" + "\n".join(lines)
    )


def _cell(value: Interval | None, digits: int = 2) -> str:
    if value is None:
        return "–"
    if value.low is None or value.high is None:
        return f"{value.value:.{digits}f}"
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _calibration(figures: Mapping[str, KindFigures]) -> list[str]:
    rows = [
        f"| {kind} | {each.plain_error:.3f} | {_cell(each.found.overall['ece'], 3)} |" for kind, each in figures.items()
    ]
    table = "\n".join(("| | plain | calibrated |", "|---|---:|---|", *rows))
    return [
        "## Calibration",
        "Expected calibration error in 15 bins of equal mass, over all labels of all slices: plain, as labels' shares "
        "among themselves, and calibrated by one slope and offset for all labels, which come from the four parts that "
        "a person is not in. The package's come from all five. `vesalius name` names a label from one half on, and "
        "lets no organ be likelier than the stations it belongs to.",
        table,
    ]


def _abstention(figures: Mapping[str, KindFigures]) -> list[str]:
    rows = [
        f"| {kind} | {' | '.join(f'{each.risk_at(coverage):.3f}' for coverage in COVERAGES)} |"
        for kind, each in figures.items()
    ]
    head = f"| wrong first names among the surest | {' | '.join(f'{coverage:.0%}' for coverage in COVERAGES)} |"
    return [
        "## Staying silent where unsure",
        "Slices sorted by the calibrated probability of their likeliest label:",
        "\n".join((head, "|---|" + "---:|" * len(COVERAGES), *rows)),
    ]


def _curve(page: Page, held: Sequence[SeriesScore]) -> list[str]:
    points = list(page.curve)
    rows = [
        f"| {each.people} people{'' if each.pictures else ', no pictures'} | "
        + " | ".join(f"{each.slices[question]:.3f}" for question in QUESTIONS)
        + f" | {each.series['stations']:.3f} |"
        for each in points
    ]
    head = f"| learnt from | {' | '.join(QUESTIONS)} | stations of series |"
    return [
        "## What more people bring",
        "The same parts held out, the head trained from fewer of the other people, drawn at random, and all pictures "
        "but in the last row. Shares of slices, and of series in the last column, are means over people.",
        "\n".join((head, "|---|" + "---:|" * (len(QUESTIONS) + 1), *rows)),
        _outlook([each for each in points if each.pictures]),
    ]


def _outlook(points: Sequence[CurvePoint]) -> str:
    """What twice as many people would bring if the curve went on as a line over the logarithm of their number."""
    sizes = np.log2([each.people for each in points])
    gains = {
        question: float(np.polyfit(sizes, [each.slices[question] for each in points], 1)[0]) for question in QUESTIONS
    }
    said = ", ".join(f"{question} {gain:+.3f}" for question, gain in gains.items())
    return f"If this went on as a straight line over the logarithm, twice as many people would bring: {said}."


def _before(page: Page) -> list[str]:
    if page.before is None:
        return []
    (old, new), rows = page.before, []
    head = "| | people | slices right | difference | series right | difference |"
    for question in QUESTIONS:
        first, second = people_means(old, question), people_means(new, question)
        if not first:
            continue
        gains = np.array([[b - a for a, b in zip(first[name], second[name], strict=True)] for name in first])
        cells = []
        for of in (0, 1):
            means = [np.mean([each[of] for each in side.values()]) for side in (first, second)]
            low, high = bootstrap(gains[:, of])
            cells.append(f"{means[0]:.2f} → {means[1]:.2f} | {means[1] - means[0]:+.2f} [{low:+.2f}, {high:+.2f}]")
        rows.append(f"| {question} | {len(first)} | {' | '.join(cells)} |")
    return [
        "## Before and after",
        "The head before this one learnt from ten people. On everybody else, whom neither learnt from when asked "
        "(the new one held out), means over people and their paired differences:",
        "\n".join((head, "|---|---:|---|---|---|---|", *rows)),
    ]


def _worst(worst: Sequence[WorstSlice]) -> list[str]:
    causes = tomllib.loads(CAUSES.read_text(encoding="utf-8")) if CAUSES.exists() else {}
    rows = [
        f"| {each.series} | {each.number} | {', '.join(each.shows)} | {each.said} ({each.probability:.2f}) | "
        f"{causes.get(each.series, {}).get(str(each.number), 'not looked at')} |"
        for each in worst
    ]
    return [
        "## The ten worst slices",
        "Most surely wrong of stations, at most one of a series, with its number among the labelled slices of the "
        "series; causes by looking at each.",
        "\n".join(("| series | slice | shows | said | cause |", "|---|---:|---|---|---|", *rows)),
    ]


def _labels(figures: KindFigures) -> str:
    case = figures.judged.case
    people, slices = case.patients_of(case.present), case.present.sum(0)
    rows = [
        f"| {label} | {people[place]} | {slices[place]} | {_cell(figures.found.auroc[place])} | "
        f"{_cell(figures.found.ap[place])} |"
        for place, label in enumerate(case.labels)
    ]
    return "\n".join(("| | people | slices | AUROC | average precision |", "|---|---:|---:|---|---|", *rows))


def _wrong(scores: Sequence[SeriesScore]) -> str:
    """Series whose station is wrong."""
    return ", ".join(each.series for each in scores if not each.series_right.get("stations", True)) or "none"


def _shares(scores: Sequence[SeriesScore], questions: Sequence[str]) -> str:
    rows = []
    for each in scores:
        cells = []
        for question in questions:
            share = each.right.get(question)
            cells.append("–" if share is None else f"{share:.0%} ({each.named[question]})")
        rows.append(f"| {each.series} | {each.slices} | {' | '.join(cells)} |")
    head = f"| set | slices | {' | '.join(questions)} |"
    return "\n".join((head, "|---|---:|" + "---|" * len(questions), *rows))
