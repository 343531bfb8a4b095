"""Teach a frozen trunk's features to meet the phrases that name a slice.

Only the projection into the sentence space is trained, on features computed once, with cross-entropy over the labels of
every aspect (modality, plane, station) whose truth is known; rare labels weigh as much as common ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.models.pocket import PocketSegmenter
from vesalius.models.zero_shot import label_logits, phrase_vectors
from vesalius.prompts import ASPECTS, AnatomyLabel, anatomy_phrases

UNKNOWN = -100
"""``cross_entropy`` skips it."""


@dataclass(frozen=True)
class NamingConfig:
    """Settings of ``fit_naming``."""

    epochs: int = 60
    """Passes over the features."""
    batch_size: int = 256
    """Features a step."""
    learning_rate: float = 2e-3
    """AdamW's largest step size in a one-cycle schedule."""
    weight_decay: float = 1e-2
    """AdamW's."""
    noise: float = 0.1
    """Standard deviation of noise on the features, in units of their own spread."""
    seed: int = 0
    """Decides order and noise."""


def fit_naming(
    model: PocketSegmenter, pooled: Tensor, labels: Sequence[AnatomyLabel], config: NamingConfig
) -> list[float]:
    """Train ``model.projection`` in place.

    Args:
        model: Its trunk and sentence encoder stay as they are.
        pooled: Trunk features of N images, ``model.projection.pool(taps)``, [N, C].
        labels: What the N images show.
        config: Settings.

    Returns:
        Mean loss of every epoch.
    """
    generator = torch.Generator().manual_seed(config.seed)
    targets = {aspect: encode_labels(labels, aspect) for aspect in ASPECTS}
    vectors = {aspect: phrase_vectors(model, phrases) for aspect, phrases in anatomy_phrases().items()}
    weights = {aspect: _balance(targets[aspect], len(vectors[aspect])) for aspect in ASPECTS}
    parameters = list(model.projection.parameters())
    optimizer = torch.optim.AdamW(parameters, weight_decay=config.weight_decay)
    steps = config.epochs * -(-len(pooled) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
    spread = config.noise * pooled.std(dim=0)
    losses = []
    for _ in range(config.epochs):
        total = 0.0
        for rows in torch.randperm(len(pooled), generator=generator).split(config.batch_size):
            noisy = pooled[rows] + spread * torch.randn(len(rows), pooled.shape[1], generator=generator)
            images = model.projection(noisy)
            loss = torch.stack(
                [
                    _loss(label_logits(images, vectors[aspect]), targets[aspect][rows], weights[aspect])
                    for aspect in ASPECTS
                ]
            ).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        losses.append(total / len(pooled))
    return losses


def encode_labels(labels: Sequence[AnatomyLabel], aspect: str) -> Tensor:
    """Index of each image's label among the aspect's, ``UNKNOWN`` where it has none, [N]."""
    names = list(anatomy_phrases()[aspect])
    values = [getattr(label, aspect) for label in labels]
    return torch.tensor([UNKNOWN if value is None else names.index(value) for value in values])


def _balance(targets: Tensor, count: int) -> Tensor:
    """Weight of each label: inverse to how often it occurs, averaging 1 over the labels that occur."""
    found = torch.bincount(targets[targets != UNKNOWN], minlength=count).float()
    inverse = torch.where(found > 0, 1 / found.clamp(min=1), 0.0)
    return inverse * (found > 0).sum() / inverse.sum().clamp(min=1e-12)


def _loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    known = targets != UNKNOWN
    return F.cross_entropy(logits[known], targets[known], weights) if known.any() else logits.sum() * 0
