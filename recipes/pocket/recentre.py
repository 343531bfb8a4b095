"""Give pocket's batch norms the statistics of its own features, without changing what it computes.

Its first parts were trained with the norms of their starting point, whose means and variances are not those of what
passes through them; a training that lets norms move would begin by forgetting. Each norm gets the mean and variance
measured over some augmented training pictures, and a weight and bias that undo the difference.

    python recipes/pocket/recentre.py runs/pocket/mixed.safetensors runs/pocket/centred.safetensors DATA …
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from vesalius.data.augment import AugmentConfig
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.loading import Batches, Pool, ResumableLoader
from vesalius.data.views import Batch, PromptMix, TrainingView
from vesalius.models.checkpoints import find_checkpoint, load_segmenter, read_notes, save_model

BATCHES, BATCH_SIZE = 40, 16


class Moments:
    """Mean and variance of each channel that enters a norm."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        self.count = 0
        self.sums = torch.zeros(2, norm.num_features, dtype=torch.float64)
        norm.register_forward_pre_hook(self._look)

    def _look(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        self.count += x.numel() // x.shape[1]
        self.sums += torch.stack([x.sum(dim=(0, 2, 3)), x.square().sum(dim=(0, 2, 3))])

    def read(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, each [C]."""
        mean, square = self.sums / self.count
        return mean, (square - mean.square()).clamp(min=0)


def take_over(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Normalise by these, and compute the same as before."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    before = torch.sqrt(norm.running_var.double() + norm.eps)
    weight = norm.weight.data.double()
    norm.bias.data += (weight * (mean - norm.running_mean.double()) / before).float()
    norm.weight.data = (weight * torch.sqrt(variance + norm.eps) / before).float()
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def draw(roots: list[Path], size: int) -> Iterator[Batch]:
    """Some training batches."""
    augment, mix = AugmentConfig(), PromptMix(paraphrases=0.4, absent=0.2)
    pool = Pool([TrainingView(SegmentationDataset(root, "train"), size, augment, mix) for root in roots])
    return islice(ResumableLoader(pool, Batches(len(pool), BATCH_SIZE, seed=0)), BATCHES)


@torch.no_grad()
def main() -> None:
    """Measure, take over, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    args = parser.parse_args()
    model = load_segmenter(args.weights)
    moments = {norm: Moments(norm) for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)}
    for batch in draw(args.data, model.spec.image_size):
        model.predict(batch.images, batch.prompts)
    for norm, seen in moments.items():
        take_over(norm, *seen.read())
    save_model(model, args.out, read_notes(find_checkpoint(args.weights)))


if __name__ == "__main__":
    main()
