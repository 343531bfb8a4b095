"""One image's true mask, and how an answer about it is scored."""

import math
from dataclasses import dataclass

from torch import Tensor

from vesalius.evaluation.metrics import dice, iou, precision, recall
from vesalius.evaluation.rows import Row
from vesalius.evaluation.surfaces import surface_distances
from vesalius.models.features import MaskPrediction

RULE = "threshold 0.5, resolution of the files given, both masks empty = 1"
"""What holds for every score; printed beside it."""
TOLERANCE = 2.0
"""How far outlines may lie apart for NSD unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What the answers about one image are compared with."""

    image: str
    """The image's file name."""
    mask: Tensor
    """True inside, [1, H, W]."""
    spacing_mm: tuple[float, float] | None = None
    """Distance between rows and between columns; None if unknown, then distances are in pixels."""
    tolerance: float = TOLERANCE
    """Of the normalised surface distance, in mm, or in pixels where the spacing is unknown."""

    def score(self, answer: MaskPrediction, prompt: str) -> Row:
        """Score an answer.

        Args:
            answer: To one prompt, logits [1, 1, H, W] at the mask's size.
            prompt: What was asked.

        Returns:
            A row of no family yet.
        """
        found = (answer.logits[:, 0] > 0).to(self.mask.device)
        distances = surface_distances(found[0].numpy(), self.mask[0].numpy(), self.spacing_mm or (1.0, 1.0))
        hd95 = distances.hd95()
        return Row(
            image=self.image,
            family="",
            variant=0,
            prompt=prompt,
            dice=dice(found, self.mask).item(),
            iou=iou(found, self.mask).item(),
            precision=precision(found, self.mask).item(),
            recall=recall(found, self.mask).item(),
            hd95=hd95 if math.isfinite(hd95) else None,
            nsd=distances.nsd(self.tolerance),
            distance_unit="mm" if self.spacing_mm else "px",
            true_pixels=int(self.mask.sum()),
            predicted_pixels=int(found.sum()),
            existence=None if answer.existence is None else answer.existence.sigmoid().item(),
        )
