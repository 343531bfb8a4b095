"""What held-out patients gave, series by series."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from labelled_slice import LabelledSlice
from torch import Tensor

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
    asked: dict[str, int]
    """Question -> slices that have an answer."""
    shown: dict[str, str]
    """Question -> label that shows on most of these slices."""


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
    right, named, series_right, counts, shown = {}, {}, {}, {}, {}
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
        counts[question] = int(asked.sum())
        shown[question] = labels[question][int(true.sum(0).argmax())]
    held_out = "test part" if own[0].test else own[0].patient
    return SeriesScore(name, held_out, len(own), right, named, series_right, counts, shown)


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


def people_means(scores: Sequence[SeriesScore], question: str) -> dict[str, tuple[float, float]]:
    """Person -> share of slices and of series that are right, of those who have an answer."""
    people: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in scores:
        if question in each.right:
            people[each.held_out].append((each.right[question], float(each.series_right[question])))
    return {
        name: (float(np.mean([own[0] for own in rows])), float(np.mean([own[1] for own in rows])))
        for name, rows in people.items()
    }


def rate(scores: Sequence[SeriesScore]) -> float:
    """One number to choose by: the mean over questions, of the mean over people, of slices that are right."""
    means = [people_means(scores, question) for question in QUESTIONS]
    return float(np.mean([np.mean([slices for slices, _ in each.values()]) for each in means if each]))
