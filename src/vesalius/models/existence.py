"""Whether an image shows at all what a prompt names."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.efficientnet import global_averages
from vesalius.models.film import FiLM

PEAK_SHARE = 0.02
"""Of a coarse outline's cells, those most like what is named; their mean says how sure the outline is of any."""


class SteadyNorm(nn.BatchNorm1d):
    """Batch norm of vectors; a batch of one, which has no spread, is normed by what was seen before."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C] -> [B, C]."""
        if self.training and len(x) > 1:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class ExistenceEvidence(nn.Module):
    """What an image's maps hold for the question, whatever the prompt; computed once an image.

    Gradients stop here: outlines are learnt as if nobody asked whether there is anything, and the score from what the
    outlines' training made. Trained together, they fought (docs/architecture.md).

    Args:
        channels: Of all maps of the trunk, the deepest last.
        width: C of what comes out.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.BatchNorm2d(channels[-1], affine=False), nn.Conv2d(channels[-1], width, 1))
        self.middle = nn.Sequential(nn.BatchNorm2d(channels[-2], affine=False), nn.Conv2d(channels[-2], width, 1))
        self.scene = nn.Sequential(SteadyNorm(sum(channels), affine=False), nn.Linear(sum(channels), width), nn.GELU())

    def forward(self, taps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of the trunk -> [B, C, H, W] at strides 32 and 16, and the scene as a whole [B, C]."""
        still = tuple(tap.detach() for tap in taps)
        scene: Tensor = self.scene(global_averages(still))
        return self.deep(still[-1]), self.middle(still[-2]), scene


class Existence(nn.Module):
    """Log-odds of it, from an image's evidence, a prompt's sentence vector and the coarse outline drawn for it.

    Args:
        sentence: E of the sentence vectors, which are of unit length.
        width: C of the evidence.
    """

    def __init__(self, sentence: int, width: int) -> None:
        super().__init__()
        self.to_condition = nn.Sequential(nn.Linear(sentence, width), nn.GELU())
        self.deep_film = FiLM(width, width)
        self.middle_film = FiLM(width, width)
        self.outline_norm = SteadyNorm(3)
        self.judge = nn.Sequential(nn.Linear(6 * width + 3, 2 * width), nn.ReLU(), nn.Linear(2 * width, 1))
        self.prior = nn.Linear(sentence, 1, bias=False)
        """What the words alone say; calibration shifts targets by it, each as far as its validation pictures ask."""
        nn.init.zeros_(self.prior.weight)

    def forward(self, deep: Tensor, middle: Tensor, scene: Tensor, outline: Tensor, sentence: Tensor) -> Tensor:
        """Evidence of B images, coarse outlines' logits [B, 1, h, w] and sentences [B, E] -> [B]."""
        condition = self.to_condition(sentence * sentence.shape[1] ** 0.5)  # entries of about 1
        seen = [scene, condition]
        for film, evidence in ((self.deep_film, deep), (self.middle_film, middle)):
            x = F.relu(film(evidence, condition))
            seen += [x.mean(dim=(2, 3)), x.amax(dim=(2, 3))]
        seen.append(self.outline_norm(_describe(outline.detach())))
        found: Tensor = (self.judge(torch.cat(seen, dim=1)) + self.prior(sentence)).squeeze(1).float()
        return found


def _describe(outline: Tensor) -> Tensor:
    """Logits [B, 1, h, w] -> highest, mean of the highest few, share of the area, [B, 3]."""
    cells = outline.flatten(1).float()
    few = max(1, int(PEAK_SHARE * cells.shape[1]))
    highest = cells.topk(few, dim=1).values
    return torch.stack([highest[:, 0], highest.mean(dim=1), cells.sigmoid().mean(dim=1)], dim=1)
