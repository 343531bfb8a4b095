"""The phrases of every label as vectors, and how a model's notes turn scores into probabilities.

Training and evaluation may write into the notes of a checkpoint, under "naming": ::

    {"calibration": {"stations": {"labels": [...], "slopes": [...], "offsets": [...]}, ...}, "threshold": 0.5,
     "audit": {"agrees": 0.1, "contradicts": -0.7, "least_slices": 3, "wrongly_agrees": 0.05, ...}}

where "modality", "protocol", "plane", "stations" and "organs" may each have a ``PlattScaling.to_dict()``, as the
evaluation of naming writes them, and "audit" is an ``AuditRule``, as experiments/pocket/audit_thresholds.py writes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import DataError, ModelError
from vesalius.models.calibration import PlattScaling
from vesalius.prompts.anatomy import MODALITIES, ORGANS, PLANES, PROTOCOLS, STATIONS, ensemble_phrases, phrases_of
from vesalius.prompts.phrase_vectors import to_unit
from vesalius.runtime.contract import Floats, Runtime, check_finite

LEAST_PROBABILITY = 0.5
"""Default probability from which a label is named; a model's notes may give another."""
LABELS = {
    "modality": MODALITIES,
    "protocol": PROTOCOLS,
    "plane": PLANES,
    "stations": STATIONS,
    "organs": ORGANS,
}
"""Question -> labels. The first three have one answer a series, the others any number of answers a slice."""
MANY = 1_000_000
"""Largest count of slices or patients that notes may hold."""


@dataclass(frozen=True)
class AuditRule:
    """Margins (see ``naming.audit``) from which a header agrees or contradicts, and how often that is wrong.

    Shares are of patients that the model never saw, each judged by thresholds chosen without them.
    """

    agrees: float
    """Margin from which a header agrees, 0 to 1."""
    contradicts: float
    """Margin up to which it contradicts, -1 to 0."""
    least_slices: int
    """Slices of the shortest series that the shares hold for."""
    patients: int
    """Number of patients that the shares were measured on."""
    wrongly_agrees: float
    """Share of wrong headers that agree."""
    wrongly_contradicts: float
    """Share of right headers that contradict."""
    found_right: float
    """Share of right headers that agree."""
    found_wrong: float
    """Share of wrong headers that contradict."""

    def wrong_share(self, verdict: str) -> float | None:
        """Share of such findings that are wrong, as measured: among as many wrong headers as right ones.

        >>> AuditRule(0.1, -0.7, 3, 32, 0.02, 0.04, 0.78, 0.36).wrong_share("contradicts")
        0.1

        Args:
            verdict: A verdict of ``naming.audit``.

        Returns:
            A share from 0 to 1; None for verdicts that claim nothing, and for those that were never given.
        """
        match verdict:
            case "agrees":
                wrong, right = self.wrongly_agrees, self.found_right
            case "contradicts":
                wrong, right = self.wrongly_contradicts, self.found_wrong
            case _:
                return None
        return wrong / (wrong + right) if wrong + right else None

    @staticmethod
    def from_dict(content: Mapping[str, object]) -> "AuditRule":
        """Read a rule from a model's notes.

        Raises:
            DataError: If a number is missing or out of its range.
        """
        return AuditRule(
            agrees=_between(content, "agrees", 0, 1),
            contradicts=_between(content, "contradicts", -1, 0),
            least_slices=int(_between(content, "least_slices", 1, MANY)),
            patients=int(_between(content, "patients", 1, MANY)),
            wrongly_agrees=_between(content, "wrongly_agrees", 0, 1),
            wrongly_contradicts=_between(content, "wrongly_contradicts", 0, 1),
            found_right=_between(content, "found_right", 0, 1),
            found_wrong=_between(content, "found_wrong", 0, 1),
        )


@dataclass(frozen=True)
class NamingCalibration:
    """How scores become probabilities, and the probability from which a label is named."""

    scalings: Mapping[str, PlattScaling]
    """Question -> scaling; questions without one are uncalibrated."""
    least_probability: float = LEAST_PROBABILITY
    """Probability from which a label is named, 0 to 1."""
    audit: AuditRule | None = None
    """Thresholds by which headers are judged; None for models for which none were measured."""

    @property
    def caps_organs(self) -> bool:
        """Whether ``cap_organs`` holds organs against their stations: if the probabilities of both are calibrated."""
        return {"stations", "organs"} <= self.scalings.keys()

    @staticmethod
    def from_notes(notes: Mapping[str, object], place: object) -> "NamingCalibration":
        """Read the notes of a checkpoint.

        Args:
            notes: As ``read_notes`` gives them.
            place: What the message names.

        Raises:
            ModelError: If the calibration is damaged.
        """
        try:
            content = _as_mapping(notes.get("naming", {}), "naming")
            rows = _as_mapping(content.get("calibration", {}), "calibration")
            scalings = {name: _read(_as_mapping(rows[name], name), LABELS[name]) for name in LABELS if name in rows}
            least = float(content.get("threshold", LEAST_PROBABILITY))  # type: ignore[arg-type]  # or a TypeError
            if not 0 <= least <= 1:
                raise DataError(f"threshold: expected 0 to 1, got {least:g}")
            rule = AuditRule.from_dict(_as_mapping(content["audit"], "audit")) if "audit" in content else None
        except (DataError, OverflowError, TypeError, ValueError) as error:
            remedy = "evaluate naming again and write its notes anew"
            raise ModelError(f"{place}: the calibration in its notes is damaged ({error}); {remedy}.") from error
        return NamingCalibration(scalings, least, rule)


def _as_mapping(value: object, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise DataError(f"{name}: expected an object, got {value!r}")
    return value


def _read(content: Mapping[str, object], known: tuple[str, ...]) -> PlattScaling:
    scaling = PlattScaling.from_dict(content)
    if strange := sorted(set(scaling.labels) - set(known)):
        raise DataError(f"unknown labels {', '.join(strange)}")
    return scaling


def _between(content: Mapping[str, object], name: str, low: float, high: float) -> float:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise DataError(f"audit: expected {name} from {low:g} to {high:g}, got {value!r}")
    return float(value)


class Phrasebook:
    """The phrases of every label as vectors of one model, computed once.

    A label's vector is the mean over all its phrases, for stations and organs also over every caption of that label
    alone (prompt ensembles, Radford et al., 2021).

    Args:
        runtime: A model whose image and text vectors share a space.
        calibration: The calibration of that model.
        model: What messages call it.

    Raises:
        ModelError: If the model reads no text.
    """

    def __init__(self, runtime: Runtime, calibration: NamingCalibration, model: str = "This model") -> None:
        self.calibration, self._model = calibration, model
        own = {name: scaling.labels for name, scaling in calibration.scalings.items()}
        self.labels: dict[str, tuple[str, ...]] = {**LABELS, **own}
        self._scale = runtime.logit_scale
        self._vectors = {name: _encode(runtime, name, labels) for name, labels in self.labels.items()}

    @property
    def width(self) -> int:
        """Numbers of a phrase's vector; 0 for models that do not read."""
        return int(next(iter(self._vectors.values())).shape[1])

    def odds(self, vectors: Floats) -> dict[str, Floats]:
        """Log-odds of every question's labels.

        Args:
            vectors: Unit image vectors [D, E].

        Returns:
            Question -> [D, L].

        Raises:
            ModelError: If image and text vectors share no space, or hold what is not a number.
        """
        for rows in self._vectors.values():
            if rows.shape[1] != vectors.shape[1] or not rows.shape[1]:
                raise ModelError(
                    "This model outlines, but its image and text vectors share no space, so it cannot name; "
                    "use --model pocket, or a model that encodes (vesalius models lists them)."
                )
        odds = {name: np.asarray(self._scale * vectors @ rows.T, np.float32) for name, rows in self._vectors.items()}
        check_finite(self._model, *odds.values())
        return odds

    def probabilities(self, question: str, odds: Floats) -> NDArray[np.float64]:
        """Probability that each label shows: calibrated where the model is, otherwise a softmax over the labels.

        Args:
            question: One of ``LABELS``.
            odds: [D, L].

        Returns:
            [D, L].
        """
        scaling = self.calibration.scalings.get(question)
        values = odds.astype(np.float64)
        if scaling is not None:
            return scaling.probabilities(values)
        shares = np.exp(values - values.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True))


def label_phrases(question: str, label: str) -> tuple[str, ...]:
    """All phrases that stand for a label.

    >>> label_phrases("modality", "CT")
    ('a CT image', 'a computed tomography slice')
    """
    match question:
        case "stations" | "organs":
            return ensemble_phrases(question, label)  # the phrases that the evaluation calibrates
        case _:
            return phrases_of(question)[label]


def list_naming_phrases() -> list[str]:
    """All phrases of all labels, whose vectors ``experiments/pocket/phrases.py`` stores in the package."""
    return [
        phrase for question, labels in LABELS.items() for label in labels for phrase in label_phrases(question, label)
    ]


def _encode(runtime: Runtime, question: str, labels: tuple[str, ...]) -> Floats:
    """One unit vector a label, the mean of its phrases' vectors, [L, E]."""
    return to_unit(np.stack([runtime.encode_text(label_phrases(question, label)).vectors.mean(0) for label in labels]))
