"""The whole evaluation of naming, for a model and for the baselines it must beat."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import get_args

import torch

from vesalius.errors import DataError
from vesalius.evaluation.naming.contradictions import ContradictionResult, measure_contradictions, pair_captions
from vesalius.evaluation.naming.encoding import EncodedSlices, Sensitivity, measure_sensitivity, score_labels
from vesalius.evaluation.naming.fitting import ProbeData, fit_probe, score_by_prevalence
from vesalius.evaluation.naming.label_kind import LabelKindResult, evaluate_label_kind
from vesalius.evaluation.naming.label_scores import UNCERTAIN, USUAL_SETTINGS, NamingSettings, check_apart, truth_of
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.prompts.anatomy import ORGANS, LabelKind

LABEL_KINDS: tuple[LabelKind, ...] = get_args(LabelKind)


@dataclass(frozen=True, eq=False)
class AnatomyEvaluation:
    """One system on one set of test slices."""

    name: str
    """Name of the system beside others."""
    label_kinds: Mapping[LabelKind, LabelKindResult]
    """Those that validation and test slices tell."""
    settings: NamingSettings
    contradictions: Mapping[LabelKind, ContradictionResult | None] = field(default_factory=dict)
    """What is wrong in the false caption -> result, for models that read captions. None if no slice has any."""
    sensitivity: Mapping[LabelKind, Sensitivity] = field(default_factory=dict)
    """Sensitivity to wording, for models that read phrases."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Further facts, ready for JSON."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        return {
            "name": self.name,
            "settings": asdict(self.settings),
            **self.facts,
            "aspects": {kind: each.to_dict() for kind, each in self.label_kinds.items()},
            "contradictions": {kind: each and each.to_dict() for kind, each in self.contradictions.items()},
            "sensitivity": {kind: each.to_dict() for kind, each in self.sensitivity.items()},
        }


def count_evaluation_steps(val: EncodedSlices, test: EncodedSlices, settings: NamingSettings = USUAL_SETTINGS) -> int:
    """Steps of progress that ``evaluate_naming`` reports."""
    return len(find_shared_kinds(val, test, settings)) * (len(test.shown) + 3)


def evaluate_naming(
    model: VisionLanguageEncoder,
    val: EncodedSlices,
    test: EncodedSlices,
    name: str,
    settings: NamingSettings = USUAL_SETTINGS,
    on_step: Callable[[int], None] = lambda steps: None,
) -> AnatomyEvaluation:
    """Evaluate a model without a classifier, by phrases and captions.

    Args:
        model: The one that encoded the slices, in evaluation mode.
        val: Slices that decide thresholds and calibration, ``encode_slices``; of other patients than the test's.
        test: Slices to measure on.
        name: What to call the model.
        settings: What counts, and how intervals are drawn.
        on_step: Called with a number of finished ``count_evaluation_steps``, for progress.

    Raises:
        DataError: If a patient is in both, or nothing is known of both.
    """
    label_kinds: dict[LabelKind, LabelKindResult] = {}
    contradictions: dict[LabelKind, ContradictionResult | None] = {}
    sensitivity: dict[LabelKind, Sensitivity] = {}
    for kind in find_shared_kinds(val, test, settings):
        labels = labels_of(kind, settings)
        tuned, case = (score_labels(model, slices, kind, labels) for slices in (val, test))
        label_kinds[kind] = evaluate_label_kind(tuned, case, settings)
        on_step(1)
        sensitivity[kind] = measure_sensitivity(model, test, kind, labels, label_kinds[kind].judged.counted)
        on_step(1)
        pairs = pair_captions(model, test, kind, labels, settings.caption_wordings, on_step)
        contradictions[kind] = measure_contradictions(pairs, case, settings)
        on_step(1)
    return AnatomyEvaluation(name, label_kinds, settings, contradictions, sensitivity)


def find_shared_kinds(val: EncodedSlices, test: EncodedSlices, settings: NamingSettings) -> list[LabelKind]:
    """Label kinds known of some validation and some test slices; series labelled by hand may have only stations.

    Raises:
        DataError: If there is none.
    """
    told = [
        kind
        for kind in LABEL_KINDS
        if all((truth_of(each.shown, kind, labels_of(kind, settings)) != UNCERTAIN).any() for each in (val, test))
    ]
    if not told:
        raise DataError("validation and test slices tell neither organs nor stations in common; label some of either.")
    return told


def labels_of(kind: LabelKind, settings: NamingSettings) -> tuple[str, ...]:
    """Labels to choose among."""
    return ORGANS if kind == "organs" else settings.stations


def evaluate_prevalence(
    train: EncodedSlices, val: EncodedSlices, test: EncodedSlices, settings: NamingSettings = USUAL_SETTINGS
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
    label_kinds: dict[LabelKind, LabelKindResult] = {}
    for kind in find_shared_kinds(val, test, settings):
        labels = labels_of(kind, settings)
        unscored = [each.score(torch.zeros(len(each.shown), len(labels)), kind, labels) for each in (train, val, test)]
        tuned, case = (score_by_prevalence(unscored[0], each) for each in unscored[1:])
        label_kinds[kind] = evaluate_label_kind(tuned, case, settings)
    return AnatomyEvaluation("prevalence", label_kinds, settings)


def evaluate_probe(
    train: EncodedSlices, val: EncodedSlices, test: EncodedSlices, name: str, settings: NamingSettings = USUAL_SETTINGS
) -> AnatomyEvaluation:
    """Evaluate a linear probe of the vectors of one encoder.

    Args:
        train: Slices to fit, encoded by the same model as the others.
        val: As for ``evaluate_naming``; it also chooses C.
        test: As there.
        name: What to call the probe.
        settings: As there.

    Raises:
        DataError: As ``evaluate_naming``, or if a patient is in training and test, or nothing is known of the training
            slices.
    """
    check_apart(train.patients, test.patients, "training and test")
    label_kinds: dict[LabelKind, LabelKindResult] = {}
    strengths: dict[LabelKind, float] = {}
    for kind in find_shared_kinds(val, test, settings):
        labels = labels_of(kind, settings)
        probe = fit_probe(
            *(ProbeData(each.vectors.double().numpy(), truth_of(each.shown, kind, labels)) for each in (train, val))
        )
        strengths[kind] = probe.strength
        tuned, case = (
            slices.score(torch.from_numpy(probe.logits(slices.vectors.double().numpy())), kind, labels)
            for slices in (val, test)
        )
        label_kinds[kind] = evaluate_label_kind(tuned, case, settings)
    return AnatomyEvaluation(name, label_kinds, settings, facts={"probe_c": strengths})
