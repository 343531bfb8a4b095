"""Teach a frozen trunk's features to meet the words that name a slice.

Only the projection into the sentence space is trained, on features computed once. Labels of an aspect share a softmax,
in which all that are true count as right (``share_loss``); stations and organs are judged one by one too, so that any
number can be named; captions are matched as in contrastive training, every true caption of a batch being right.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vesalius.models.pocket import PocketSegmenter
from vesalius.models.text_cache import TextCache
from vesalius.models.zero_shot import SCALE, label_logits
from vesalius.prompts.anatomy import AnatomyLabel
from vesalius.prompts.anatomy_captions import CaptionMix
from vesalius.training.contrastive_losses import organ_loss, share_loss, unicl_loss
from vesalius.training.naming_questions import SETS, CaptionBank, Question, ask_questions
from vesalius.training.ranges import check_at_least, check_positive


@dataclass(frozen=True)
class NamingConfig:
    """Settings of ``fit_naming``."""

    epochs: int = 20
    """Passes over as many features as there are."""
    batch_size: int = 256
    """Features a step."""
    learning_rate: float = 2e-3
    """AdamW's largest step size in a one-cycle schedule."""
    weight_decay: float = 1e-2
    """AdamW's."""
    noise: float = 0.6
    """Standard deviation of noise on the features, in units of their own spread."""
    judged: float = 2.0
    """Weight of judging stations and organs one by one."""
    matched: float = 0.5
    """Weight of matching captions."""
    captions: CaptionMix = field(default_factory=CaptionMix)
    """How captions vary."""
    captions_each: int = 4
    """Captions drawn for every distinct label."""
    seed: int = 0
    """Decides order, noise and captions."""

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "batch_size", "learning_rate", "captions_each")
        check_at_least(self, 0, "weight_decay", "noise", "judged", "matched")


def fit_naming(
    model: PocketSegmenter,
    pooled: Tensor,
    labels: Sequence[AnatomyLabel],
    config: NamingConfig,
    weights: Tensor | None = None,
    texts: TextCache | None = None,
) -> list[float]:
    """Train ``model.projection`` in place.

    Args:
        model: Its trunk and sentence encoder stay as they are.
        pooled: Trunk features of N images, ``model.projection.pool(taps)``, [N, C].
        labels: What the N images show.
        config: Settings.
        weights: How often each image is drawn, in proportion, [N]; 0 holds one out. All alike by default.
        texts: The model's, which several runs can share.

    Returns:
        Mean loss of every epoch.
    """
    head = _Head(model, labels, config, texts or TextCache(model))
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=config.weight_decay)
    steps = -(-len(pooled) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.epochs * steps)
    generator = torch.Generator().manual_seed(config.seed)
    draws = torch.ones(len(pooled)) if weights is None else weights
    spread = config.noise * pooled[draws > 0].std(dim=0)
    losses = []
    for _ in range(config.epochs):
        total = 0.0
        for rows in torch.multinomial(draws, steps * config.batch_size, replacement=True, generator=generator).split(
            config.batch_size
        ):
            noise = spread * torch.randn(len(rows), pooled.shape[1], generator=generator)
            loss = head.loss(pooled[rows] + noise, rows, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        losses.append(total / steps)
    return losses


class _Head(nn.Module):
    """The projection, and an offset for every station and organ, which training needs and naming calibrates anew."""

    def __init__(
        self, model: PocketSegmenter, labels: Sequence[AnatomyLabel], config: NamingConfig, texts: TextCache
    ) -> None:
        super().__init__()
        self.projection = model.projection
        self.config = config
        self.questions = ask_questions(texts, labels)
        self.bank = CaptionBank.draw(texts, labels, config.captions, config.captions_each, config.seed)
        self.offsets = nn.ParameterDict(
            {each.name: nn.Parameter(-SCALE / 2 + torch.zeros(each.true.shape[1])) for each in self._judged}
        )

    @property
    def _judged(self) -> list[Question]:
        return [each for each in self.questions if each.name in SETS]

    def loss(self, pooled: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Of B images, numbers ``rows``, with features [B, C]."""
        images = self.projection(pooled)
        logits = {each.name: label_logits(images, each.draw_vectors(generator)) for each in self.questions}
        shared = [share_loss(logits[each.name], each.true[rows], each.known[rows]) for each in self.questions]
        judged = [
            organ_loss(logits[each.name] + self.offsets[each.name], each.true[rows], each.known[rows])
            for each in self._judged
        ]
        captions, true, known = self.bank.choose(rows, generator)
        matched = unicl_loss(label_logits(images, captions), true, known)
        weighted = (sum(shared), self.config.judged * sum(judged), self.config.matched * matched)
        return torch.stack([torch.as_tensor(each) for each in weighted]).sum()
