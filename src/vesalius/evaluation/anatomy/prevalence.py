"""The baseline that looks at no image: every image gets how often each label shows."""

from dataclasses import replace

import numpy as np

from vesalius.evaluation.anatomy.label_scores import LabelScores


def score_by_prevalence(train: LabelScores, case: LabelScores) -> LabelScores:
    """Scores that are the share of known training images on which a label shows; 0 where none is known.

    Top-1 is then the accuracy of always naming the commonest label.

    Args:
        train: Images of which only the truth matters.
        case: Images to score, of the same labels.
    """
    shares = train.present.sum(0) / train.known.sum(0).clip(min=1)
    return replace(case, scores=np.tile(shares, (len(case.patients), 1)))
