"""The score card of an audit: measures with intervals, the verdicts of ``checks.toml``, and a conclusion in words."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from types import MappingProxyType

import numpy as np

from vesalius.errors import join_all
from vesalius.evaluation.audit.run import Audit, Trust, weigh_trust
from vesalius.evaluation.audit.session import SubstitutionResult
from vesalius.evaluation.metrics import EMPTY_AREA
from vesalius.evaluation.rows import ScoreTable, number_clusters
from vesalius.evaluation.statistics import USUAL_DRAWS, Bootstrap, Interval, find_centres
from vesalius.files import read_package_toml

Results = Sequence[SubstitutionResult]


@dataclass(frozen=True)
class Line:
    """One measure of one kind of substitution, over all images."""

    test: str
    kind: str
    measure: str
    title: str
    """The question in words."""
    good: str
    """Description of a good value."""
    value: Interval
    """Mean over images."""
    verdict: str


UNCLEAR = "cannot be told"
"""Verdict where the images are too few for any."""


@dataclass(frozen=True)
class Check:
    """One measure of one test, and how to read it."""

    test: str
    measure: str
    title: str
    good: str
    limits: tuple[float, ...]
    verdicts: tuple[str, ...]

    def judge(self, value: Interval) -> str:
        """The verdict that the whole interval supports: two, joined by "or", if it crosses a limit, none if several."""
        if value.low is None or value.high is None:
            return UNCLEAR  # a single image, which has no interval
        first, last = (int(np.searchsorted(self.limits, end, "right")) for end in (value.low, value.high))
        return UNCLEAR if last > first + 1 else " or ".join(self.verdicts[first : last + 1])


@cache
def read_checks() -> Sequence[Check]:
    """All checks in the order of the card."""
    rows = read_package_toml("evaluation/audit/checks.toml")["checks"]
    return tuple(Check(**{**row, "limits": tuple(row["limits"]), "verdicts": tuple(row["verdicts"])}) for row in rows)


def _change(results: Results) -> float | None:
    return _mean([each.change for each in results if each.true_pixels])


def _lost(results: Results) -> float | None:
    return _mean([each.reference_dice - each.dice for each in results if each.true_pixels])


def _spread(results: Results) -> float | None:
    scores = [each.dice for each in results if each.true_pixels]
    return float(np.std([results[0].reference_dice, *scores])) if scores else None


def _true_negatives(results: Results) -> float | None:
    return _mean([float(each.area < EMPTY_AREA) for each in results])


def _existence(results: Results) -> float | None:
    return _mean([each.existence for each in results if each.existence is not None])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


MEASURES: Mapping[str, Callable[[Results], float | None]] = MappingProxyType({
    "change": _change,
    "lost": _lost,
    "spread": _spread,
    "true_negatives": _true_negatives,
    "existence": _existence,
})  # fmt: skip
"""Name -> measure of the results of one test and kind about one image.

None if they do not have it: measures of Dice leave out images whose true mask is empty, and not every model has an
existence score."""


IGNORED = 0.01
"""Largest change of masks, on average, that counts as none."""


def _conclude(lines: Sequence[Line]) -> tuple[str, ...]:
    """Say whether a model reads which object is meant, which details it reads, and whether other words move it."""
    changes = [line for line in lines if line.measure == "change"]
    if not changes:
        return ("No image shows anything, so the model was only asked for what is absent.",)
    if ignores_words(lines):
        return ("Ignores the prompt: whatever it is asked, it marks the same.",)
    return (_object(lines), *_details(changes), *_words(changes))


def ignores_words(lines: Sequence[Line]) -> bool:
    """Whether no substitution changes masks by as much as ``IGNORED``, to the upper end of the intervals."""
    changes = [line.value for line in lines if line.measure == "change"]
    return bool(changes) and all((each.value if each.high is None else each.high) < IGNORED for each in changes)


def _object(lines: Sequence[Line]) -> str:
    foreign = [line for line in lines if line.test == "absent"]
    changed = {line.kind for line in foreign if line.measure == "change" and line.verdict == "reads it"}
    asked = {line.kind for line in foreign if line.measure == "change"}
    marked = [line.kind for line in foreign if line.measure == "true_negatives" and line.verdict != "marks nothing"]
    if not marked and changed == asked:
        return "Reads which object is meant, and marks nothing for what is not there."
    if not marked:
        return "Marks nothing for what is not there, but often finds nothing when asked for the object either."
    false_positives = f"marks things that are not there ({', '.join(marked)})."
    if changed == asked:
        return f"Reads which object is meant, but {false_positives}"
    if changed:
        return f"Reads which object is meant in part: it {false_positives}"
    return f"Hardly reads which object is meant: it {false_positives}"


def _details(changes: Sequence[Line]) -> Iterator[str]:
    kinds: dict[str, list[str]] = {}
    for line in changes:
        if line.test == "flip":
            kinds.setdefault(_FLIPPED.get(line.verdict, _UNCLEAR), []).append(line.kind)
    for sentence in dict.fromkeys((*_FLIPPED.values(), _UNCLEAR)):
        if sentence in kinds:
            yield sentence.format(join_all(kinds[sentence]))


_FLIPPED = {
    "reads it": "Its masks follow words for {}.",
    "hardly heeds it": "Words for {} hardly move its masks.",
    "ignores it or hardly heeds it": "Words for {} hardly move its masks.",
    "ignores it": "It ignores words for {}.",
}
_UNCLEAR = "Whether its masks follow words for {} cannot be told from so few images."


def _words(changes: Sequence[Line]) -> Iterator[str]:
    verdicts = [line.verdict for line in changes if line.test == "wording"]
    if verdicts and all(verdict == "stable" for verdict in verdicts):
        yield "Other words for the same thing leave its masks nearly as they are."
    elif any("unstable" in verdict for verdict in verdicts):
        yield "Other words for the same thing can give another mask."


RULE = "masks at threshold 0.5 and the resolution of the files given; change = 1 - Dice of two answers"


@dataclass(frozen=True)
class AuditCard:
    """The score card of one audit."""

    conclusion: tuple[str, ...]
    """What the numbers say, in sentences."""
    lines: tuple[Line, ...]
    plain_dice: Interval
    """Dice of the answers to the plain names, for orientation."""
    trust: Trust
    images: int
    """Records that were audited."""
    available: int
    """Records of the split."""
    notes: tuple[str, ...]
    rule: str = RULE

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return asdict(self)


def fill_card(audit: Audit, *, group_regex: str | None = None, settings: Bootstrap = USUAL_DRAWS) -> AuditCard:
    """Sum up an audit.

    Args:
        audit: Results of a pass.
        group_regex: Names the patient in an image's file name; intervals then draw patients instead of images.
        settings: Draws, confidence and seed.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    measured = _measure(audit.results)
    intervals = _summarise(measured | {_PLAIN: _by_image(audit.images, audit.dice)}, group_regex, settings)
    lines = [
        Line(check.test, kind, check.measure, check.title, check.good, value, check.judge(value))
        for check in read_checks()
        for (test, kind, name), value in intervals.items()
        if (test, name) == (check.test, check.measure)
    ]
    return AuditCard(
        conclusion=_conclude(lines),
        lines=tuple(_temper(lines)),
        plain_dice=intervals[_PLAIN],
        trust=weigh_trust(audit, group_regex, settings),
        images=len(audit.images),
        available=audit.available,
        notes=audit.notes,
    )


def _temper(lines: Sequence[Line]) -> Iterator[Line]:
    """Models that ignore words are not called stable under other words."""
    ignored = ignores_words(lines)
    for line in lines:
        trivial = ignored and line.test == "wording" and line.measure != "existence"
        yield replace(line, verdict="ignores words") if trivial else line


Place = tuple[str, str, str]
"""Test, kind and measure."""
_PLAIN: Place = ("", "", "dice")


def _measure(results: Results) -> dict[Place, dict[str, float]]:
    """Each measure of each image; the mean over its records if it has several."""
    groups: dict[tuple[str, str], dict[tuple[str, int], list[SubstitutionResult]]]
    groups = defaultdict(lambda: defaultdict(list))
    for each in results:
        groups[each.test, each.kind][each.image, each.record].append(each)
    checks: dict[str, list[Check]] = defaultdict(list)
    for check in read_checks():
        checks[check.test].append(check)
    found = {}
    for (test, kind), records in groups.items():
        for check in checks[test]:
            values = {place: MEASURES[check.measure](several) for place, several in records.items()}
            known = {place: value for place, value in values.items() if value is not None}
            if known:
                found[test, kind, check.measure] = _by_image([image for image, _ in known], list(known.values()))
    return found


def _by_image(images: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    several: dict[str, list[float]] = defaultdict(list)
    for image, value in zip(images, values, strict=True):
        several[image].append(value)
    return {image: float(np.mean(each)) for image, each in several.items()}


def _summarise(
    measured: Mapping[Place, Mapping[str, float]], group_regex: str | None, settings: Bootstrap
) -> dict[Place, Interval]:
    """Means over images with intervals; all measures are drawn together."""
    images = tuple(dict.fromkeys(image for values in measured.values() for image in values))
    scores = np.array([[values.get(image, np.nan) for values in measured.values()] for image in images])
    names = tuple("/".join(place) for place in measured)
    centres = find_centres(ScoreTable(images, names, scores, number_clusters(images, group_regex)), settings)
    return {place: centres[name].mean for place, name in zip(measured, names, strict=True)}
