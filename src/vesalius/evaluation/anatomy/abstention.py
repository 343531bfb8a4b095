"""How many wrong names are spared by staying silent where the stated probability is low."""

from dataclasses import asdict

import numpy as np

from vesalius.evaluation.anatomy.measures import Judged
from vesalius.evaluation.anatomy.naming_scores import best_labels, top1_in_set
from vesalius.evaluation.anatomy.settings import NamingSettings
from vesalius.evaluation.uncertainty import RiskCoverage, risk_coverage

POINTS = 100
"""Of a curve in JSON, at most."""


def abstain(judged: Judged, settings: NamingSettings) -> RiskCoverage | None:
    """Risk of a wrong first name, over the share of images that are named, the surest first.

    How sure a name is, is its calibrated probability, the mean where several labels share the highest score.

    Args:
        judged: Scores and probabilities; images on which nothing shows are left out.
        settings: How patients are drawn.

    Returns:
        None if nothing ever shows.
    """
    hits = top1_in_set(judged.case)
    shown = np.flatnonzero(~np.isnan(hits))
    if not shown.size:
        return None
    best = best_labels(judged.case)[shown]
    confidence = np.where(best, judged.probabilities[shown], 0).sum(1) / best.sum(1)
    clusters = judged.case.take(shown).clusters
    return risk_coverage(confidence.tolist(), (1 - hits[shown]).tolist(), clusters, settings.bootstrap)


def describe_abstention(found: RiskCoverage) -> dict[str, object]:
    """Ready for JSON, the curve thinned."""
    places = np.unique(np.linspace(0, len(found.risk) - 1, POINTS).astype(int))
    return {
        "aurc": asdict(found.aurc),
        "best": found.best,
        "chance": found.chance,
        "coverage": [found.coverage[place] for place in places],
        "risk": [found.risk[place] for place in places],
    }
