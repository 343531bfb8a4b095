"""The training step and the validation step of contrastive training, as pytorch-lightning wants them."""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from vesalius.data.anatomy.views import SliceBatch
from vesalius.errors import ModelError
from vesalius.models.contrastive import ContrastiveEncoder
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.text_cache import TextCache
from vesalius.models.zero_shot import SCALE, phrase_vectors
from vesalius.prompts.anatomy import AnatomyLabel, Statement, phrases_of
from vesalius.prompts.anatomy_captions import Caption
from vesalius.prompts.entailment import match_statements
from vesalius.training.contrastive.config import ContrastiveConfig
from vesalius.training.contrastive_losses import bound_scale, organ_loss, similarity_logits, start_bias
from vesalius.training.lean_module import LeanModule
from vesalius.training.optimizer import build_optimizer

MONITOR = "val_top1"
"""What decides which weights are best; higher is better."""
ASPECTS = {"organ": "organs", "station": "stations"}
"""What validation asks, and the field of a statement that answers."""


class ContrastiveModule(LeanModule[VisionLanguageEncoder]):
    """A model while it trains.

    Args:
        model: Its images and text share a space; already frozen as the configuration says.
        config: Optimiser, schedule and loss.
        steps: Of the whole run.

    Raises:
        ModelError: If images and text share no space.
    """

    def __init__(self, model: VisionLanguageEncoder, config: ContrastiveConfig, steps: int) -> None:
        super().__init__(model)
        self.config = config
        self.steps = steps
        self._texts = TextCache(model, at_once=1)  # as in SegmentationModule
        self.bias = nn.Parameter(torch.zeros(()))
        """SigLIP's, which calibration replaces: it is no part of the model."""
        self.organ_bias = nn.Parameter(torch.zeros(len(phrases_of("organ"))))
        self.started: Tensor
        self.register_buffer("started", torch.tensor(False))
        self._labels: Mapping[str, Tensor] = {}
        _check_space(model)

    @property
    def log_scale(self) -> Tensor:
        """Logarithm of the factor of cosines; a constant of models that learn none."""
        if isinstance(self.model, ContrastiveEncoder):
            return self.model.log_scale
        return torch.tensor(math.log(SCALE), device=self.bias.device)

    def training_step(self, batch: SliceBatch, index: int) -> Tensor:
        """Loss of one batch."""
        loss = self._loss(batch)
        self.log_loss(loss, len(batch.labels))
        return loss

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Keep the temperature where training is stable."""
        if isinstance(self.model, ContrastiveEncoder):
            bound_scale(self.model.log_scale)

    def on_validation_epoch_start(self) -> None:
        """Encode the labels' phrases, which training may have moved."""
        self._labels = {aspect: phrase_vectors(self.model, phrases_of(aspect)) for aspect in ASPECTS}

    def validation_step(self, batch: SliceBatch, index: int) -> None:
        """Loss, and how often the likeliest organ and the likeliest station show (top-1 in set), of one batch."""
        images = self._encode_images(batch)
        found = [top1_hits(images @ self._labels[aspect].T, batch.labels, field) for aspect, field in ASPECTS.items()]
        hits = torch.cat(found)
        if len(hits):
            self.log(MONITOR, hits.mean(), batch_size=len(hits))
        self.log("val_loss", self._loss(batch, images), batch_size=len(batch.labels))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """See ``build_optimizer``."""
        extra = [*([self.bias] if self.config.loss.kind == "siglip" else []), *self._organ_parts()]
        return build_optimizer(self.model, self.config, self.steps, MONITOR, extra)

    def transfer_batch_to_device(self, batch: SliceBatch, device: torch.device, dataloader_idx: int) -> SliceBatch:
        """Move the pictures; words stay words."""
        return SliceBatch(batch.images.to(device), batch.labels, batch.captions)

    def _organ_parts(self) -> list[nn.Parameter]:
        return [self.organ_bias] if self.config.loss.organs else []

    def _loss(self, batch: SliceBatch, images: Tensor | None = None) -> Tensor:
        images = self._encode_images(batch) if images is None else images
        true, known = match(batch.labels, [each.asserts for each in batch.captions], images.device)
        logits = similarity_logits(images, self._encode_captions(batch.captions), self.log_scale)
        if self.config.loss.kind == "siglip":
            self._start(logits, true, known)
            logits = logits + self.bias
        loss = self.config.loss(logits, true, known)
        return loss + self.config.loss.organs * self._organ_loss(images, batch.labels) if self._organ_parts() else loss

    @torch.no_grad()
    def _start(self, logits: Tensor, true: Tensor, known: Tensor) -> None:
        """Let the first batch decide where the bias starts."""
        if not self.started:
            self.bias.fill_(start_bias(logits, true, known))
            self.started.fill_(True)

    def _organ_loss(self, images: Tensor, labels: Sequence[AnatomyLabel]) -> Tensor:
        names = phrases_of("organ")
        texts = self._encode_texts([rows[0] for rows in names.values()])
        present, known = match(labels, [Statement(organs=frozenset({name})) for name in names], images.device)
        return organ_loss(similarity_logits(images, texts, self.log_scale, self.organ_bias), present, known)

    def _encode_images(self, batch: SliceBatch) -> Tensor:
        return F.normalize(self.model.encode_image(batch.images).embedding.float(), dim=-1)

    def _encode_captions(self, captions: Sequence[Caption]) -> Tensor:
        """Captions that repeat are encoded once."""
        places = {text: place for place, text in enumerate(dict.fromkeys(each.text for each in captions))}
        return self._encode_texts(list(places))[[places[each.text] for each in captions]]

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        still = "text" in self.model.frozen
        vectors = (self._texts.encode if still else self.model.encode_text)(texts).embedding
        return F.normalize(vectors.float(), dim=-1)


def match(
    labels: Sequence[AnatomyLabel], statements: Sequence[Statement], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Whether statement j is true of slice i, and whether that is known, each [B, M]."""
    found = match_statements(labels, statements)
    return torch.from_numpy(found.true).to(device), torch.from_numpy(found.known).to(device)


def top1_hits(scores: Tensor, labels: Sequence[AnatomyLabel], field: str) -> Tensor:
    """Whether the label with the highest score shows, of slices that show any; what is uncertain cannot be named.

    Args:
        scores: [B, L], L all organs or all stations.
        labels: What the slices show.
        field: "organs" or "stations".

    Returns:
        1 or 0, [b].
    """
    names = phrases_of(field.removesuffix("s"))
    said = [
        Statement(organs=frozenset({name})) if field == "organs" else Statement(stations=frozenset({name}))
        for name in names
    ]
    present, known = match(labels, said, scores.device)
    best = scores.masked_fill(~known, -torch.inf).argmax(1, keepdim=True)
    return present.gather(1, best)[present.any(1), 0].float()


def _check_space(model: VisionLanguageEncoder) -> None:
    training = [module for module in model.modules() if module.training]
    with torch.no_grad():
        image = model.eval().encode_image(torch.zeros(1, 3, 32, 32, device=model.device))
        text = model.encode_text(["a"])
    for module in training:
        module.training = True
    if image.embedding.shape != text.embedding.shape or not image.embedding.shape[1]:
        raise ModelError(
            f"{model.recipe.name}: its image and text vectors share no space; expected a model such as clip_vit_b32, "
            "biomedclip or pocket."
        )
