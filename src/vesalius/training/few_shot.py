"""Learning from a handful of labelled images with frozen encoders: learned prompts (CoOp) and SS-Text.

Each label's text vector is moved towards the images that show it, in closed form, and the further the more there are.
There is no step size and no validation set. An image that shows several organs counts once for each of them.

A prompt such as "an image of liver" goes through the frozen text tower, but the embeddings of "an image of" are vectors
that train. They take the place of a hand-written start, so token ids, their number, and the end token that CLIP is read
at are the hand-written prompt's; and before the first step the labels' vectors are the hand-written prompts' own.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.console import progress_bar
from vesalius.errors import ConfigError, DataError, ModelError, check_at_least, check_positive
from vesalius.models.clip import ContrastiveEncoder
from vesalius.models.tokenizers import Tokens
from vesalius.training.losses import share_loss, similarity_logits


@dataclass(frozen=True)
class Support:
    """N images, encoded once, and which of C labels each shows."""

    images: Tensor
    """Unit vectors [N, E] of a frozen encoder."""
    present: Tensor
    """The image shows what the label says, [N, C], bool; False where not known."""
    known: Tensor
    """Whether that is known, [N, C], bool."""

    def __post_init__(self) -> None:
        count = len(self.images)
        if self.images.dim() != 2 or self.present.dim() != 2 or self.present.shape != self.known.shape:
            raise DataError(f"a support set needs images [N, E], present and known [N, C], got {self._shapes()}.")
        if len(self.present) != count:
            raise DataError(f"{count} images have {len(self.present)} rows of labels; give one row an image.")
        if bool((self.present & ~self.known).any()):
            raise DataError("a label is present where it is not known; set present to False there.")

    def _shapes(self) -> str:
        return ", ".join(str(tuple(tensor.shape)) for tensor in (self.images, self.present, self.known))


MOST_IMAGES = 1000
"""Number of images beyond which a label's weight no longer grows, as in the released code."""


def ss_text(support: Support, texts: Tensor, scale: float, *, repel: bool = False) -> Tensor:
    """Label vectors adapted to a few labelled images.

    v_c = n_c / N · scale · sum_{i shows c} x_i + t_c, scaled to length 1, where n_c of N (image, label) pairs are of
    label c; with one label an image, N is the number of images, as published. A label without images keeps its text
    vector.

    Args:
        support: N images and which of C labels they show; what is not known counts as not shown.
        texts: Unit text vectors of the labels [C, E].
        scale: The encoder's factor from cosine to logit, exp(log_scale), above 0.
        repel: The last step of the released code's "SStext+", for labels that have images: v_c - d_c, where d_c is
            2 v_c - mean(v) scaled to length 1.

    Returns:
        Unit vectors [C, E].

    Raises:
        ConfigError: If the scale is not above 0, or infinite.
        DataError: If images, labels and text vectors do not fit together.

    >>> present = torch.tensor([[True, False]])
    >>> support = Support(torch.tensor([[0.0, 1.0]]), present, torch.ones_like(present))
    >>> ss_text(support, torch.eye(2), scale=1.0)
    tensor([[0.7071, 0.7071],
            [0.0000, 1.0000]])
    """
    if not 0 < scale < math.inf:
        raise ConfigError(f"scale must be above 0 and finite, got {scale}; it is exp(log_scale) of the encoder.")
    _check_shape(texts, support)
    counts = support.present.sum(0)
    weights = scale * counts.clamp(max=MOST_IMAGES) / counts.sum().clamp(min=1)
    vectors = weights[:, None] * (support.present.to(texts.dtype).T @ support.images) + texts
    if repel:
        away = F.normalize(2 * vectors - vectors.mean(0), dim=-1)
        vectors = torch.where(counts[:, None] > 0, vectors - away, vectors)
    return F.normalize(vectors, dim=-1)


def _check_shape(texts: Tensor, support: Support) -> None:
    expected = support.present.shape[1], support.images.shape[1]
    if texts.shape != expected:
        raise DataError(f"text vectors are {list(texts.shape)}, but labels and images ask for {list(expected)}.")


START = "an image of"
MOST_VECTORS = 16
"""Largest number of learned vectors a label; CoOp was tried with no more."""
MOMENTUM = 0.9


@dataclass(frozen=True)
class PromptLearning:
    """Settings of ``fit_prompts``; the defaults are CoOp's."""

    epochs: int = 50
    """Passes over the support images; 200 for 16 images a label."""
    batch_size: int = 32
    """Images a step."""
    learning_rate: float = 2e-3
    """Learning rate of gradient descent with momentum; it falls to 0 along a cosine."""
    keep: float = 0.0
    """Weight of 1 - cosine to the hand-written prompts, so that labels never trained on lose less (KgCoOp, Yao et al.,
    CVPR 2023, with 8)."""
    seed: int = 0
    """Decides the order."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "seed"):
            if type(value := getattr(self, name)) is not int:
                raise ConfigError(f"{name} must be a whole number, got {value!r}.")
        check_positive(self, "epochs", "batch_size", "learning_rate")
        check_at_least(self, 0, "keep")


@dataclass(frozen=True)
class LearnedPrompts:
    """One prompt for each of C labels, whose first M tokens are free vectors."""

    tokens: Tokens
    """Tokens of the hand-written prompts, [C, L]."""
    context: Tensor
    """Embeddings in place of their tokens 1 to M, [C, M, D]."""

    @classmethod
    def from_words(cls, encoder: ContrastiveEncoder, labels: Sequence[str], start: str = START) -> "LearnedPrompts":
        """Begin at the prompts "START LABEL".

        Args:
            encoder: Whose text tower reads them.
            labels: C labels, in words.
            start: The words before each; its number of tokens is M.

        Raises:
            ConfigError: If there is no label, or the start has no token, or more than 16.
            ModelError: If the encoder has no table of tokens.
        """
        if not labels:
            raise ConfigError("labels: expected one or more, got none.")
        length = int(encoder.tokenizer([start]).attention_mask.sum()) - 2
        if not 1 <= length <= MOST_VECTORS:
            raise ConfigError(f"start: expected words of 1 to {MOST_VECTORS} tokens, got {length} in '{start}'.")
        tokens = encoder.tokenizer([f"{start} {label}" for label in labels])
        table = _token_table(encoder)
        ids = tokens.input_ids[:, 1 : 1 + length].to(table.weight.device)
        return cls(tokens, table(ids).detach().clone().requires_grad_())

    def encode(self, encoder: ContrastiveEncoder) -> Tensor:
        """Unit vectors of the labels, [C, E]."""
        device = self.context.device
        with _replaced(_token_table(encoder), self.context):
            mask = self.tokens.attention_mask.to(device)
            return encoder.encode_tokens(self.tokens.input_ids.to(device), mask).embedding


def fit_prompts(
    encoder: ContrastiveEncoder, prompts: LearnedPrompts, support: Support, config: PromptLearning
) -> list[float]:
    """Train ``prompts.context`` in place; the encoder stays as it is.

    Args:
        encoder: Both towers and the temperature are only used.
        prompts: Of C labels.
        support: N images and which of the labels they show. Where an image shows several, they share its softmax.
        config: Settings.

    Returns:
        Mean loss of every epoch.

    Raises:
        DataError: If no image shows a label, or images, labels and the encoder's vectors do not fit together.
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.SGD([prompts.context], config.learning_rate, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
    hand = prompts.encode(encoder).detach()
    _check_shape(hand, support)
    if not bool(support.present.any()):
        raise DataError(f"none of the {len(support.images)} images shows a label; there is nothing to learn from.")
    losses = []
    with progress_bar() as bar:
        for _ in bar.track(range(config.epochs), description="learning prompts"):
            order = torch.randperm(len(support.images), generator=generator).split(config.batch_size)
            steps = [_step(encoder, prompts, _take(support, rows), hand, config, optimizer) for rows in order]
            losses.append(sum(steps) / len(steps))
            schedule.step()
    return losses


def _step(
    encoder: ContrastiveEncoder,
    prompts: LearnedPrompts,
    support: Support,
    hand: Tensor,
    config: PromptLearning,
    optimizer: torch.optim.Optimizer,
) -> float:
    vectors = prompts.encode(encoder)
    logits = similarity_logits(support.images, vectors, encoder.log_scale.detach())
    loss = share_loss(logits, support.present, support.known)
    loss = loss + config.keep * (1 - (vectors * hand).sum(1)).mean()
    # Of the context alone, so that a tower that is not frozen gathers no gradients.
    (prompts.context.grad,) = torch.autograd.grad(loss, prompts.context)
    optimizer.step()
    return loss.item()


def _take(support: Support, rows: Tensor) -> Support:
    return Support(support.images[rows], support.present[rows], support.known[rows])


def _token_table(encoder: ContrastiveEncoder) -> nn.Embedding:
    tower = getattr(encoder, "text", encoder)
    table = getattr(tower, "tokens", None)
    if isinstance(table, nn.Embedding):
        return table
    raise ModelError(f"{type(tower).__name__} has no table of tokens whose place learned vectors could take.")


@contextmanager
def _replaced(table: nn.Embedding, context: Tensor) -> Iterator[None]:
    """While this lasts, tokens 1 to M of any prompts are ``context``; token 0 is the start token."""

    def splice(module: nn.Module, arguments: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
        return torch.cat([embedded[:, :1], context.to(embedded.dtype), embedded[:, 1 + context.shape[1] :]], dim=1)

    hook = table.register_forward_hook(splice)
    try:
        yield
    finally:
        hook.remove()
