"""Train pocket's projection of pooled trunk features into the sentence space, for naming slices.

Only the projection into the sentence space is trained, on features computed once. Labels of one kind share a softmax,
in which all that are true count as right (``share_loss``); stations and organs are judged one by one too, so that any
number can be named; captions are matched as in contrastive training, every true caption of a batch being right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.errors import check_at_least, check_positive
from vesalius.models.clip import label_logits
from vesalius.models.inference import TextCache
from vesalius.models.pocket import PocketSegmenter
from vesalius.models.registry import LOGIT_SCALE
from vesalius.prompts.anatomy import (
    MODALITIES,
    ORGANS,
    PLANES,
    PROTOCOL_MODALITY,
    PROTOCOLS,
    STATIONS,
    AnatomyLabel,
    Statement,
    phrases_of,
    write_captions,
)
from vesalius.prompts.anatomy_captions import CaptionMix, draw_caption, match_statements
from vesalius.training.losses import organ_loss, share_loss, unicl_loss

SETS = ("stations", "organs")
"""Questions with any number of right answers."""


@dataclass(frozen=True, eq=False)
class LabelTargets:
    """Which of the L answers to one question, such as "plane", are true of N images."""

    name: str
    vectors: Tensor
    """Unit vectors of W wordings of each answer, [L, W, E]; 0 where an answer has fewer."""
    true: Tensor
    """[N, L], bool."""
    known: Tensor
    """[N, L], bool."""

    def draw_vectors(self, generator: torch.Generator) -> Tensor:
        """A unit vector an answer, from a random mixture of its wordings, so that no wording is learnt by heart."""
        mixture = torch.rand(self.vectors.shape[:2], generator=generator)
        return F.normalize(torch.einsum("lw,lwe->le", mixture, self.vectors), dim=1)


def build_targets(texts: TextCache, labels: Sequence[AnatomyLabel]) -> list[LabelTargets]:
    """Modality, protocol, plane, stations and organs.

    Args:
        texts: Tells the answers' vectors.
        labels: What N images show.
    """
    questions = []
    for name, answers in _answers().items():
        rows = [texts.encode(wordings).embedding for _, wordings in answers]
        vectors = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).cpu()
        found = match_statements(labels, [statement for statement, _ in answers])
        questions.append(LabelTargets(name, vectors, torch.from_numpy(found.true), torch.from_numpy(found.known)))
    return questions


def _answers() -> Mapping[str, list[tuple[Statement, tuple[str, ...]]]]:
    """Question -> its answers, each with its phrases and every caption that says just that."""
    said: dict[str, dict[str, Statement]] = {
        "modality": {name: Statement(name) for name in MODALITIES},
        "protocol": {name: Statement(PROTOCOL_MODALITY, name) for name in PROTOCOLS},
        "plane": {name: Statement(plane=name) for name in PLANES},
        "stations": {name: Statement(stations=frozenset({name})) for name in STATIONS},
        "organs": {name: Statement(organs=frozenset({name})) for name in ORGANS},
    }
    return {
        question: [
            (statement, (*phrases_of(question.removesuffix("s"))[name], *write_captions(statement)))
            for name, statement in answers.items()
        ]
        for question, answers in said.items()
    }


@dataclass(frozen=True, eq=False)
class CaptionBank:
    """Captions drawn for every distinct label."""

    vectors: Tensor
    """Unit vectors of T captions, [T, E]."""
    own: Tensor
    """Captions drawn for each of D distinct labels, [D, K]."""
    label_of: Tensor
    """Which of the distinct labels each of N images has, [N]."""
    true: Tensor
    """Caption t is true of label d, [D, T], bool."""
    known: Tensor
    """[D, T], bool."""

    @classmethod
    def draw(
        cls, texts: TextCache, labels: Sequence[AnatomyLabel], mix: CaptionMix, each: int, seed: int
    ) -> "CaptionBank":
        """Draw K = ``each`` captions a distinct label."""
        generator, distinct = np.random.default_rng(seed), list(dict.fromkeys(labels))
        captions = [draw_caption(label, mix, generator) for label in distinct for _ in range(each)]
        places = {label: place for place, label in enumerate(distinct)}
        found = match_statements(distinct, [caption.asserts for caption in captions])
        return cls(
            vectors=texts.encode([caption.text for caption in captions]).embedding.cpu(),
            own=torch.arange(len(captions)).view(len(distinct), each),
            label_of=torch.tensor([places[label] for label in labels]),
            true=torch.from_numpy(found.true),
            known=torch.from_numpy(found.known),
        )

    def choose(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """One caption for each of B images.

        Args:
            rows: The images, [B].
            generator: Decides which.

        Returns:
            Vectors [B, E], and whether caption j is true of image i, and whether that is known, [B, B].
        """
        labels = self.label_of[rows]
        turns = torch.randint(self.own.shape[1], (len(rows),), generator=generator)
        chosen = self.own[labels, turns]
        return self.vectors[chosen], self.true[labels][:, chosen], self.known[labels][:, chosen]


@dataclass(frozen=True)
class NamingConfig:
    """Settings of ``fit_naming``."""

    epochs: int = 20
    """Epochs of as many draws as there are features."""
    batch_size: int = 256
    """Features of a step."""
    learning_rate: float = 2e-3
    """Largest learning rate of AdamW in a one-cycle schedule."""
    weight_decay: float = 1e-2
    """Weight decay of AdamW."""
    noise: float = 0.6
    """Standard deviation of Gaussian noise on the features, as a multiple of each feature's own."""
    judged: float = 2.0
    """Weight of the binary cross-entropy of each station and organ."""
    matched: float = 0.5
    """Weight of the contrastive loss of captions."""
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
        self.questions = build_targets(texts, labels)
        self.bank = CaptionBank.draw(texts, labels, config.captions, config.captions_each, config.seed)
        self.offsets = nn.ParameterDict(
            {each.name: nn.Parameter(-LOGIT_SCALE / 2 + torch.zeros(each.true.shape[1])) for each in self._judged}
        )

    @property
    def _judged(self) -> list[LabelTargets]:
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
