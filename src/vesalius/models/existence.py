"""Whether an image shows at all what a prompt names."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.efficientnet import global_average
from vesalius.models.film import FiLM


class Existence(nn.Module):
    """Log-odds of it, from an image's deepest map and a prompt's sentence vector.

    It shares nothing with the decoder. So it can be trained by itself on features computed once, with thousands of
    questions an image, where a decoder can be asked one a step.

    Args:
        channels: C of the map.
        sentence: E of the sentence vectors, which are of unit length.
        width: Of what lies in between.
    """

    def __init__(self, channels: int, sentence: int, width: int) -> None:
        super().__init__()
        self.to_condition = nn.Sequential(nn.Linear(sentence, width), nn.GELU())
        self.reduce = nn.Conv2d(channels, width, 1)
        self.film = FiLM(width, width)
        self.judge = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, deepest: Tensor, sentence: Tensor) -> Tensor:
        """Map deepest [B, C, H, W], sentence [B, E] -> [B]."""
        condition = self.to_condition(sentence * sentence.shape[1] ** 0.5)  # entries of about 1
        x = F.relu(self.film(self.reduce(deepest), condition))
        pooled = torch.cat([global_average(x), x.amax(dim=(2, 3)), condition], dim=1)
        found: Tensor = self.judge(pooled).squeeze(1).float()
        return found
