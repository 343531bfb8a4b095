"""Whether an image shows at all what a prompt names."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.film import FiLM

LEAST_SPREAD = 1e-3
"""Of a channel, so that one which never changes stays finite."""


class Standardize(nn.Module):
    """Bring channels to mean 0 and standard deviation 1 by fixed statistics; without ``learn`` nothing changes.

    Args:
        channels: C.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> [B, C, ...]."""
        each = (-1, *[1] * (x.ndim - 2))
        return (x - self.mean.view(each)) / self.spread.view(each)

    @torch.no_grad()
    def learn(self, parts: Iterable[Tensor]) -> None:
        """Take over the statistics of all parts together, each [B, C, ...]."""
        moments = torch.zeros(3, len(self.mean), dtype=torch.float64)
        for part in parts:
            values = part.transpose(0, 1).flatten(1).double()
            moments += torch.stack([torch.ones_like(values), values, values.square()]).sum(dim=2)
        mean, squares = moments[1:] / moments[0]
        self.mean.copy_(mean)
        self.spread.copy_((squares - mean.square()).clamp(min=0).sqrt().clamp(min=LEAST_SPREAD))


class Existence(nn.Module):
    """Log-odds of it, from what the trunk made of an image and a prompt's sentence vector.

    It looks for the named thing in the deepest map, and at the scene as a whole in the means of all maps: whether this
    is endoscopy or ultrasound shows in colour and texture, of which the deepest map of a trunk that learnt to outline
    knows little. It shares nothing with the decoder. So it can be trained by itself on features computed once, with
    thousands of questions an image, where a decoder can be asked one a step.

    Args:
        channels: Of all maps, the deepest last.
        sentence: E of the sentence vectors, which are of unit length.
        width: Of what lies in between.
    """

    def __init__(self, channels: Sequence[int], sentence: int, width: int) -> None:
        super().__init__()
        self.to_condition = nn.Sequential(nn.Linear(sentence, width), nn.GELU())
        self.map_norm = Standardize(channels[-1])
        self.reduce = nn.Conv2d(channels[-1], width, 1)
        self.film = FiLM(width, width)
        self.scene_norm = Standardize(sum(channels))
        self.to_scene = nn.Sequential(nn.Linear(sum(channels), width), nn.GELU())
        self.judge = nn.Sequential(nn.Linear(4 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, deepest: Tensor, means: Tensor, sentence: Tensor) -> Tensor:
        """Map deepest [B, C, H, W], means of all maps [B, sum of C], sentence [B, E] -> [B]."""
        condition = self.to_condition(sentence * sentence.shape[1] ** 0.5)  # entries of about 1
        x = F.relu(self.film(self.reduce(self.map_norm(deepest)), condition))
        scene = self.to_scene(self.scene_norm(means))
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3)), condition, scene], dim=1)
        found: Tensor = self.judge(pooled).squeeze(1).float()
        return found
