"""The whole evaluation of naming, for a model and for the baselines it must beat."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import torch

from vesalius.errors import DataError
from vesalius.evaluation.naming.contradictions import ContradictionResult, measure_contradictions, pair_captions
from vesalius.evaluation.naming.encoding import EncodedSlices, Sensitivity, measure_sensitivity, score_labels
from vesalius.evaluation.naming.fitting import ProbeData, fit_probe, score_by_prevalence
from vesalius.evaluation.naming.label_kind import AspectResult, evaluate_aspect
from vesalius.evaluation.naming.label_scores import UNCERTAIN, LabelScores, NamingSettings, truth_of
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.prompts.anatomy import ORGANS, Aspect

ASPECTS: tuple[Aspect, ...] = ("organs", "stations")


@dataclass(frozen=True, eq=False)
class AnatomyEvaluation:
    """One system on one set of test slices."""

    name: str
    """What to call it beside others."""
    aspects: Mapping[Aspect, AspectResult]
    """Those that validation and test slices tell."""
    settings: NamingSettings
    contradictions: Mapping[Aspect, ContradictionResult | None] = field(default_factory=dict)
    """What is wrong in the false caption -> result; of models that read captions. None if no slice has any."""
    sensitivity: Mapping[Aspect, Sensitivity] = field(default_factory=dict)
    """Of models that read phrases."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What else to know of it, ready for JSON."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "name": self.name,
            "settings": asdict(self.settings),
            **self.facts,
            "aspects": {aspect: each.to_dict() for aspect, each in self.aspects.items()},
            "contradictions": {aspect: each and each.to_dict() for aspect, each in self.contradictions.items()},
            "sensitivity": {aspect: each.to_dict() for aspect, each in self.sensitivity.items()},
        }


def count_steps(val: EncodedSlices, test: EncodedSlices, settings: NamingSettings | None = None) -> int:
    """Steps of progress that ``evaluate_naming`` reports."""
    return len(aspects_told(val, test, settings or NamingSettings())) * (len(test.shown) + 3)


def evaluate_naming(
    model: VisionLanguageEncoder,
    val: EncodedSlices,
    test: EncodedSlices,
    name: str,
    settings: NamingSettings | None = None,
    on_step: Callable[[int], None] = lambda steps: None,
) -> AnatomyEvaluation:
    """Evaluate a model without a classifier, by phrases and captions.

    Args:
        model: The one that encoded the slices, in evaluation mode.
        val: Slices that decide thresholds and calibration, ``encode_slices``; of other patients than the test's.
        test: Slices to measure on.
        name: What to call the model.
        settings: What counts, and how intervals are drawn.
        on_step: Called with a number of finished ``count_steps``, for progress.

    Raises:
        DataError: If a patient is in both, or nothing is known of both.
    """
    settings = settings or NamingSettings()
    aspects: dict[Aspect, AspectResult] = {}
    contradictions: dict[Aspect, ContradictionResult | None] = {}
    sensitivity: dict[Aspect, Sensitivity] = {}
    for aspect in aspects_told(val, test, settings):
        labels = labels_of(aspect, settings)
        tuned, case = (score_labels(model, slices, aspect, labels) for slices in (val, test))
        aspects[aspect] = evaluate_aspect(tuned, case, settings)
        on_step(1)
        sensitivity[aspect] = measure_sensitivity(model, test, aspect, labels, aspects[aspect].judged.counted)
        on_step(1)
        pairs = pair_captions(model, test, aspect, labels, settings.caption_wordings, on_step)
        contradictions[aspect] = measure_contradictions(pairs, case, settings)
        on_step(1)
    return AnatomyEvaluation(name, aspects, settings, contradictions, sensitivity)


def aspects_told(val: EncodedSlices, test: EncodedSlices, settings: NamingSettings) -> list[Aspect]:
    """Aspects of which both validation and test slices say anything; series labelled by hand may tell stations only.

    Raises:
        DataError: If there is none.
    """
    told = [
        aspect
        for aspect in ASPECTS
        if all((truth_of(each.shown, aspect, labels_of(aspect, settings)) != UNCERTAIN).any() for each in (val, test))
    ]
    if not told:
        raise DataError("validation and test slices tell neither organs nor stations in common; label some of either.")
    return told


def labels_of(aspect: Aspect, settings: NamingSettings) -> tuple[str, ...]:
    """Labels to choose among."""
    return ORGANS if aspect == "organs" else settings.stations


def evaluate_prevalence(
    train: EncodedSlices, val: EncodedSlices, test: EncodedSlices, settings: NamingSettings | None = None
) -> AnatomyEvaluation:
    """Evaluate the baseline that looks at no image.

    Args:
        train: Slices that tell how often labels show.
        val: As for ``evaluate_naming``.
        test: Likewise.
        settings: Likewise.

    Raises:
        DataError: As ``evaluate_naming``.
    """
    settings = settings or NamingSettings()
    aspects: dict[Aspect, AspectResult] = {}
    for aspect in aspects_told(val, test, settings):
        known, tuned, case = (_unscored(slices, aspect, settings) for slices in (train, val, test))
        tuned, case = score_by_prevalence(known, tuned), score_by_prevalence(known, case)
        aspects[aspect] = evaluate_aspect(tuned, case, settings)
    return AnatomyEvaluation("prevalence", aspects, settings)


def evaluate_probe(
    train: EncodedSlices, val: EncodedSlices, test: EncodedSlices, name: str, settings: NamingSettings | None = None
) -> AnatomyEvaluation:
    """Evaluate a linear probe of the vectors of one encoder.

    Args:
        train: Slices to fit, encoded by the same model as the others.
        val: As for ``evaluate_naming``; it also chooses C.
        test: As there.
        name: What to call the probe.
        settings: As there.

    Raises:
        DataError: As ``evaluate_naming``, or if nothing is known of the training slices.
    """
    settings = settings or NamingSettings()
    aspects: dict[Aspect, AspectResult] = {}
    strengths: dict[Aspect, float] = {}
    for aspect in aspects_told(val, test, settings):
        labels = labels_of(aspect, settings)
        probe = fit_probe(_to_arrays(train, aspect, labels), _to_arrays(val, aspect, labels))
        strengths[aspect] = probe.strength
        tuned, case = (
            slices.score(torch.from_numpy(probe.logits(slices.vectors.double().numpy())), aspect, labels)
            for slices in (val, test)
        )
        aspects[aspect] = evaluate_aspect(tuned, case, settings)
    return AnatomyEvaluation(name, aspects, settings, facts={"probe_c": strengths})


def _unscored(slices: EncodedSlices, aspect: Aspect, settings: NamingSettings) -> LabelScores:
    labels = labels_of(aspect, settings)
    return slices.score(torch.zeros(len(slices.shown), len(labels)), aspect, labels)


def _to_arrays(slices: EncodedSlices, aspect: Aspect, labels: tuple[str, ...]) -> ProbeData:
    return ProbeData(slices.vectors.double().numpy(), truth_of(slices.shown, aspect, labels))
