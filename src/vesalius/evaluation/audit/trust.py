"""Whether a model's own doubts can be trusted: calibration of pixels and of existence, and risk at less coverage."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.evaluation.audit.answers import Answer
from vesalius.evaluation.audit.run import Audit, number_clusters
from vesalius.evaluation.bootstrap import Bootstrap
from vesalius.evaluation.calibration import Calibration, Reliability
from vesalius.evaluation.uncertainty import RiskCoverage, risk_coverage


@dataclass(frozen=True)
class Trust:
    """What the numbers a model gives beside its masks are worth."""

    pixels: Calibration
    """Of the answer to the plain name."""
    existence: Calibration | None
    """Of "is it there", over all wordings for what is there and all phrases for what is not; None without the score."""
    by_confidence: RiskCoverage
    """1 - Dice of the plain name's answer, images sorted by its soft Dice confidence."""
    by_agreement: RiskCoverage | None
    """The same, sorted by how much the answers to other wordings agree with it; None if there were none, or the model
    ignores words."""


def weigh_trust(audit: Audit, group_regex: str | None, settings: Bootstrap) -> Trust:
    """Measure calibration and risk.

    Args:
        audit: What was asked and answered.
        group_regex: Names the patient in an image's file name; intervals then draw patients instead of images.
        settings: Draws, confidence and seed.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    risk, clusters = [1 - each for each in audit.dice], number_clusters(audit.images, group_regex)
    return Trust(
        pixels=audit.reliability.summarise(clusters, settings),
        existence=_existence(audit.answers, group_regex, settings),
        by_confidence=risk_coverage(audit.confidence, risk, clusters, settings),
        by_agreement=_by_agreement(audit.answers, group_regex, settings),
    )


def _existence(answers: Sequence[Answer], group_regex: str | None, settings: Bootstrap) -> Calibration | None:
    asked: dict[str, list[Answer]] = defaultdict(list)
    for each in answers:
        if each.existence is not None and each.test in ("absent", "wording"):
            asked[each.image].append(each)
    if not asked:
        return None
    counts = Reliability.join([_count(several) for several in asked.values()])
    return counts.summarise(number_clusters(list(asked), group_regex), settings)


def _count(answers: Sequence[Answer]) -> Reliability:
    stated = np.array([each.existence for each in answers], np.float64)
    return Reliability.count(stated, np.array([each.test == "wording" for each in answers]))


def _by_agreement(answers: Sequence[Answer], group_regex: str | None, settings: Bootstrap) -> RiskCoverage | None:
    rewordings: dict[int, list[Answer]] = defaultdict(list)
    for each in answers:
        if each.test == "wording":
            rewordings[each.record].append(each)
    if not any(each.change for several in rewordings.values() for each in several):
        return None
    agreement = [-float(np.mean([each.change for each in several])) for several in rewordings.values()]
    firsts = [several[0] for several in rewordings.values()]
    clusters = number_clusters([each.image for each in firsts], group_regex)
    return risk_coverage(agreement, [1 - each.reference_dice for each in firsts], clusters, settings)
