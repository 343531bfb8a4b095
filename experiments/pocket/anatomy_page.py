"""What held-out patients gave, series by series, and docs/results/pocket-naming.md."""

import os
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from labelled_slice import LabelledSlice
from torch import Tensor

from vesalius import __version__
from vesalius.files import write_text
from vesalius.prompts.anatomy import Statement
from vesalius.prompts.anatomy_captions import match_statements

MOST = 1 / 3
"""Share of a series' slices that must show what the series is named."""
QUESTIONS = ("stations", "organs", "modality", "protocol", "plane")


@dataclass(frozen=True)
class SeriesScore:
    """One series or set of pictures."""

    series: str
    held_out: str
    """What was held out: a patient, or a test part."""
    slices: int
    right: dict[str, float]
    """Question -> share of slices whose likeliest label is right; only questions that have an answer here."""
    named: dict[str, str]
    """Question -> likeliest label of the series, by the mean over its slices."""
    series_right: dict[str, bool]
    """Whether that is right: it shows on a third of the slices or more."""


def score_series(
    slices: Sequence[LabelledSlice], odds: Mapping[int, Mapping[str, Tensor]], labels: Mapping[str, tuple[str, ...]]
) -> list[SeriesScore]:
    """Count what is right.

    Args:
        slices: All slices.
        odds: Slice -> question -> log-odds [L], of those that were held out.
        labels: Question -> its labels.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row in odds:
        rows[slices[row].series].append(row)
    return [
        _score(name, [slices[row] for row in own], [odds[row] for row in own], labels) for name, own in rows.items()
    ]


def _score(
    name: str, own: Sequence[LabelledSlice], odds: Sequence[Mapping[str, Tensor]], labels: Mapping[str, tuple[str, ...]]
) -> SeriesScore:
    right, named, series_right = {}, {}, {}
    for question in QUESTIONS:
        found = match_statements([each.label for each in own], [state(question, label) for label in labels[question]])
        true, known = torch.from_numpy(found.true), torch.from_numpy(found.known)
        asked = true.any(1)
        if not asked.any():
            continue
        values = torch.stack([each[question] for each in odds])
        best = values.masked_fill(~known, -torch.inf).argmax(1, keepdim=True)
        right[question] = float(true.gather(1, best)[asked].float().mean())
        likeliest = int(values.softmax(1).mean(0).argmax())
        named[question] = labels[question][likeliest]
        series_right[question] = bool(true[:, likeliest].float().mean() >= MOST)
    return SeriesScore(name, "test part" if own[0].test else own[0].patient, len(own), right, named, series_right)


def state(question: str, label: str) -> Statement:
    """The statement that a label is right."""
    match question:
        case "modality":
            return Statement(label)
        case "protocol":
            return Statement("MR", label)
        case "plane":
            return Statement(plane=label)
        case "stations":
            return Statement(stations=frozenset({label}))
        case _:
            return Statement(organs=frozenset({label}))


def write_page(path: Path, scores: Sequence[SeriesScore], slices: int, views: int) -> None:
    """Write the table, with what it means and on what machine it was made."""
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    setting = f"{machine}, torch {torch.__version__}, vesalius {__version__}, {datetime.now(UTC).date().isoformat()}"
    single = [each for each in scores if each.held_out != "test part"]
    wrong = [each.series for each in single if not each.series_right.get("stations", True)]
    tests = [each for each in scores if each.held_out == "test part"]
    parts = [
        "# How well pocket names",
        "Written by `python experiments/pocket/anatomy.py TRUNK ../shared/data OUT`, from pixels alone: no header is "
        "read, "
        f"no slice speaks for its neighbours. {setting}; {slices:,} slices, {views:,} views of them.",
        f"The {len({each.held_out for each in single})} people of the series were held out in five parts, each person "
        "with all their series, and the naming head trained on the rest. The trunk below the head was trained to "
        "segment, and not without some of these people: see experiments/pocket/README.md. A handful of settings of the "
        "head were chosen by looking at an earlier version of these tables, with ten people.",
        "## All together",
        "Means over people with 95 % bootstrap intervals: of the share of slices whose likeliest label is right, and "
        "of the share of series.",
        summarise(single),
        "## Stations, held out",
        _table(single, "stations"),
        f"Series right: {len(single) - len(wrong)} of {len(single)}; wrong: {', '.join(wrong) or 'none'}. Slices: the "
        "likeliest of six stations shows. Series: the likeliest by the mean shows on a third of the slices or more.",
        "## Organs, modality, protocol and plane, held out",
        "Share of slices whose likeliest label is right, and the likeliest of the series.",
        _shares(single),
        "## Test parts of picture sets",
        "Other pictures of the same sets were trained on. MedNIST's classes are examinations: a slice of AbdomenCT "
        "counts as abdomen whatever it shows.",
        _shares(tests, ("stations", *QUESTIONS[1:3])),
        "## Calibration",
        "Probabilities of stations, and of organs that training has shown, come from these held-out slices, at most 40 "
        "of a series, by one slope and offset for all labels; so they were not tested on others. `vesalius name` names "
        "a label from one half on, and "
        "lets no organ be likelier than the stations it belongs to.",
    ]
    write_text(path, "\n\n".join(parts) + "\n")


def summarise(scores: Sequence[SeriesScore]) -> str:
    """A row a question: every person counts the same."""
    random = np.random.default_rng(0)
    rows = []
    for question in ("stations", *QUESTIONS[1:]):
        people: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for each in scores:
            if question in each.right:
                people[each.held_out].append((each.right[question], float(each.series_right[question])))
        if not people:
            continue
        means = np.array([np.mean(own, axis=0) for own in people.values()])
        drawn = means[random.integers(len(means), size=(2000, len(means)))].mean(1)
        low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
        cells = [f"{means.mean(0)[of]:.2f} [{low[of]:.2f}, {high[of]:.2f}]" for of in (0, 1)]
        rows.append(f"| {question} | {len(means)} | {' | '.join(cells)} |")
    return "\n".join(("| | people | slices right | series right |", "|---|---:|---|---|", *rows))


def _table(scores: Sequence[SeriesScore], question: str) -> str:
    rows = [
        f"| {each.series} | {each.slices} | {each.right[question]:.0%} | {each.named[question]} | "
        f"{'right' if each.series_right[question] else 'wrong'} |"
        for each in scores
    ]
    return "\n".join(("| series | slices | slices right | series named | |", "|---|---:|---:|---|---|", *rows))


def _shares(scores: Sequence[SeriesScore], questions: Sequence[str] = QUESTIONS[1:]) -> str:
    rows = []
    for each in scores:
        cells = []
        for question in questions:
            share = each.right.get(question)
            cells.append("–" if share is None else f"{share:.0%} ({each.named[question]})")
        rows.append(f"| {each.series} | {each.slices} | {' | '.join(cells)} |")
    head = f"| set | slices | {' | '.join(questions)} |"
    return "\n".join((head, "|---|---:|" + "---|" * len(questions), *rows))
