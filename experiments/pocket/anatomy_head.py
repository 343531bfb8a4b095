"""Pocket's naming head: trained without some of the people, and asked about them.

Nothing is chosen on those who are held out: how to train is chosen anew for each part, by people of another part.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from anatomy_figures import Odds
from anatomy_scores import QUESTIONS, SeriesScore, people_means, rate, score_series
from anatomy_views import Views
from labelled_slice import LabelledSlice
from torch import Tensor, nn

from vesalius.models.inference import TextCache
from vesalius.models.pocket import PocketSegmenter
from vesalius.naming.phrasebook import NamingCalibration, Phrasebook
from vesalius.runtime.torch import TorchRuntime
from vesalius.training.naming import NamingConfig, fit_naming

RARE_FIRST = 0.5
"""A series of n views is drawn in proportion to n to this power, so that a long one does not drown the others."""
FOLDS = 5
LEAST_SPREAD = 1e-4
"""Added to the standard deviation of a feature, by which it is divided while the head learns."""


@dataclass(frozen=True)
class Choice:
    """One way of training."""

    name: str
    config: NamingConfig
    made: float = 0.0
    """How often a slice is drawn that was made of others, as a share of those."""


SHORT = 8
"""Passes over the views."""
CHOICES = (
    Choice("plain", NamingConfig(epochs=SHORT)),
    Choice("made", NamingConfig(epochs=SHORT), made=0.4),
)


class Head:
    """Pocket with features of all slices, whose projection is trained anew for every part.

    Args:
        model: With a trained trunk.
        slices: All of them.
        encode: As in anatomy_views.
    """

    def __init__(
        self,
        model: PocketSegmenter,
        slices: Sequence[LabelledSlice],
        encode: Callable[[PocketSegmenter, Sequence[LabelledSlice], Collection[int]], Views],
    ) -> None:
        self.model, self.slices, self.texts = model, slices, TextCache(model)
        own_tests = {each.patient for each in slices if each.test}
        self.patients = sorted({each.patient for each in slices} - own_tests)
        tested = [
            place
            for place, each in enumerate(slices)
            if each.test or shows(each, self.patients) or each.made == "across"
        ]
        self.views = encode(model, slices, tested)
        self.centre, self.spread = self.views.pooled.mean(0), self.views.pooled.std(0) + LEAST_SPREAD
        self.rows = {place: row for row, place in enumerate(tested)}
        self.phrases = Phrasebook(TorchRuntime(model), NamingCalibration({}))

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """Question -> labels, in the order of the odds."""
        return self.phrases.labels

    def folds(self) -> list[list[str]]:
        """The people in ``FOLDS`` parts, see ``share_out``."""
        return share_out(self.slices, self.patients)

    def held_out(self, patients: Collection[str]) -> list[int]:
        """Their slices, as `name` would see them."""
        return [place for place, each in enumerate(self.slices) if shows(each, patients)]

    def across(self, patients: Collection[str]) -> list[int]:
        """Slices cut across theirs, as `name` would see them."""
        return [place for place, each in enumerate(self.slices) if each.made == "across" and each.patient in patients]

    def train(self, choice: Choice, held_out: Collection[str] = ()) -> list[float]:
        """Train without some patients and without what is for testing; the loss of every epoch."""
        shown = [self.slices[each] for each in self.views.places]
        weights = weigh(shown, choice.made, held_out)
        torch.manual_seed(choice.config.seed)
        for layer in self.model.projection.layers:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        even = (self.views.pooled - self.centre) / self.spread
        losses = fit_naming(self.model, even, self.views.labels, choice.config, weights, self.texts)
        take_in(self.model.projection.layers[0], self.centre, self.spread)
        return losses

    @torch.no_grad()
    def ask(self, places: Sequence[int], projection: nn.Module | None = None) -> dict[int, dict[str, Tensor]]:
        """Slice -> question -> log-odds of its labels, [L].

        Args:
            places: Of slices that were encoded as they are.
            projection: Another's, on the same trunk; its own by default.
        """
        vectors = (projection or self.model.projection)(self.views.pooled[[self.rows[place] for place in places]])
        asked = self.phrases.odds(vectors.numpy())
        return {
            place: {name: torch.from_numpy(values[row]) for name, values in asked.items()}
            for row, place in enumerate(places)
        }

    def state(self) -> dict[str, Tensor]:
        """The projection's weights, copied."""
        return {name: value.detach().clone() for name, value in self.model.projection.state_dict().items()}

    def rate(self, choice: Choice, held_out: Collection[str], judged: Collection[str]) -> float:
        """How well it names some people, slices across theirs too, when trained without them and without others."""
        self.train(choice, {*held_out, *judged})
        asked = [*self.held_out(judged), *self.across(judged)]
        return rate(score_series(self.slices, self.ask(asked), self.labels))


@torch.no_grad()
def take_in(layer: nn.Module, centre: Tensor, spread: Tensor) -> None:
    """Let a linear layer that learnt from standardised features read them as they come."""
    assert isinstance(layer, nn.Linear)
    layer.weight.div_(spread)
    layer.bias.sub_(layer.weight @ centre)


def weigh(shown: Sequence[LabelledSlice], made: float, held_out: Collection[str] = ()) -> Tensor:
    """How often each view is drawn, in proportion, [V]; 0 for what is held out or for testing.

    Args:
        shown: The slice of each view.
        made: As in ``Choice``.
        held_out: Patients.
    """
    used = [not each.test and each.patient not in held_out for each in shown]
    counts = Counter(each.series for each, own in zip(shown, used, strict=True) if own)
    weights = [counts[each.series] ** (RARE_FIRST - 1) if own else 0.0 for each, own in zip(shown, used, strict=True)]
    shares = [made if each.made else 1.0 for each in shown]
    return torch.tensor([weight * share for weight, share in zip(weights, shares, strict=True)])


def shows(each: LabelledSlice, patients: Collection[str]) -> bool:
    """Whether a slice is one of these patients', as `name` would see it."""
    return each.patient in patients and each.native


def share_out(slices: Sequence[LabelledSlice], patients: Sequence[str]) -> list[list[str]]:
    """People in ``FOLDS`` parts, each with its share of every part of the body.

    Slices across and CT painted as MR do not count: the parts are those of the time before them.

    Args:
        slices: All slices, of others too.
        patients: Whom to share out.
    """
    kinds = {name: Counter[str]() for name in patients}
    for each in slices:
        if each.patient in kinds and each.made not in ("across", "painted"):
            kinds[each.patient].update([*sorted(each.label.stations), each.label.modality or ""])
    order = sorted(patients, key=lambda name: (str(kinds[name].most_common(2)), name))
    return [order[part::FOLDS] for part in range(FOLDS)]


@dataclass
class CrossValidation:
    """What the held-out people gave."""

    folds: list[list[str]]
    odds: Odds = field(default_factory=dict)
    """Of every native slice of these people, by a head that never saw the person."""
    across: Odds = field(default_factory=dict)
    """The same of slices cut across these."""
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Choice -> what the next part's people gave, for each part."""
    chosen: list[Choice] = field(default_factory=list)
    """For each part."""
    heads: list[dict[str, Tensor]] = field(default_factory=list)
    """Projection of each part."""

    def best(self) -> Choice:
        """The best on average over all parts, for the head that learns from everybody."""
        return max(CHOICES, key=lambda each: float(np.mean(self.rates[each.name])))


def cross_validate(head: Head, advance: Callable[[], None]) -> CrossValidation:
    """Hold out each part; how to train is chosen by people of the next part, without those held out.

    Args:
        head: Is trained many times.
        advance: Called after each training.
    """
    found = CrossValidation(head.folds())
    odds: dict[int, dict[str, Tensor]] = {}
    across: dict[int, dict[str, Tensor]] = {}
    for part, patients in enumerate(found.folds):
        judged = found.folds[(part + 1) % len(found.folds)]
        for choice in CHOICES:
            found.rates[choice.name].append(head.rate(choice, patients, judged))
            advance()
        chosen = max(CHOICES, key=lambda each: found.rates[each.name][part])
        head.train(chosen, patients)
        advance()
        found.chosen.append(chosen)
        found.heads.append(head.state())
        odds |= head.ask(head.held_out(patients))
        across |= head.ask(head.across(patients))
    found.odds, found.across = odds, across
    return found


@dataclass(frozen=True)
class CurvePoint:
    """How well a head names that learnt from some people only."""

    people: int
    pictures: bool
    """Whether it also learnt from sets of pictures."""
    slices: dict[str, float]
    """Question -> share of slices right, mean over people."""
    series: dict[str, float]
    """The same of series."""


def learn_curve(
    head: Head, held: CrossValidation, sizes: Sequence[int], advance: Callable[[], None]
) -> list[CurvePoint]:
    """Train each part anew from fewer people, drawn at random, and from all without pictures.

    Args:
        head: Is trained many times.
        held: What all people gave.
        sizes: People to learn from.
        advance: Called after each training.
    """
    everybody = len(head.patients) - max(len(each) for each in held.folds)
    points = [as_point(everybody, True, score_series(head.slices, held.odds, head.labels))]
    for size, pictures in (*((size, True) for size in sorted(sizes, reverse=True)), (everybody, False)):
        odds: dict[int, dict[str, Tensor]] = {}
        for part, patients in enumerate(held.folds):
            others = [name for name in head.patients if name not in patients]
            left_out = set(np.random.default_rng(part).permutation(others)[size if pictures else len(others) :])
            sets = set() if pictures else {each.patient for each in head.slices} - set(head.patients)
            head.train(held.chosen[part], {*patients, *left_out, *sets})
            odds |= head.ask(head.held_out(patients))
            advance()
        points.insert(
            0 if pictures else len(points), as_point(size, pictures, score_series(head.slices, odds, head.labels))
        )
    return points


def as_point(people: int, pictures: bool, scores: Sequence[SeriesScore]) -> CurvePoint:
    """Means over people."""
    means = {question: list(people_means(scores, question).values()) for question in QUESTIONS}
    slices, series = (
        {question: float(np.mean([each[of] for each in rows])) for question, rows in means.items() if rows}
        for of in (0, 1)
    )
    return CurvePoint(people, pictures, slices, series)
