"""Contrastive training of models whose images and captions share a space: settings, module and run.

Images are slices with labels, captions are made from labels; losses are in ``losses``.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pytorch_lightning import seed_everything
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from vesalius.data.augment import SliceAugment
from vesalius.data.loading import Pool, ResumableLoader
from vesalius.data.slices.dataset import SliceBatch, SliceView, check_patients, collate_slices, open_slices
from vesalius.errors import ConfigError, DataError, ModelError
from vesalius.models import Segmenter
from vesalius.models.clip import ContrastiveEncoder, phrase_vectors
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.inference import TextCache
from vesalius.models.registry import LOGIT_SCALE
from vesalius.prompts.anatomy import AnatomyLabel, Statement, phrases_of
from vesalius.prompts.anatomy_captions import Caption, CaptionMix, match_statements
from vesalius.training.config import FitConfig, Schedule, build_settings
from vesalius.training.fit import RunResult, begin, build_loaders, prepare_model, train_module
from vesalius.training.losses import ContrastiveLoss, bound_scale, organ_loss, similarity_logits, start_bias
from vesalius.training.module import BaseModule, build_optimizer, count_steps
from vesalius.training.runtime_options import RuntimeOptions


@dataclass(frozen=True)
class ContrastiveConfig(FitConfig):
    """Settings of contrastive training; where the paper is silent, the defaults are those of fine-tuning CLIP."""

    weight_decay: float = 0.1
    """AdamW's weight decay, for every trainable parameter."""
    decay_vectors: bool = False
    """Whether weight decay applies to vectors and scalars too: biases, norms, the temperature."""
    beta2: float = 0.98
    """AdamW's decay of the mean of squared gradients; beta1, of the gradients themselves, is 0.9, but with
    "one_cycle", which takes it from 0.95 to 0.85 and back."""
    epsilon: float = 1e-6
    """Term that AdamW adds to the denominator of a step."""
    text_lr_scale: float = 0.5
    """Learning rate of a text encoder that trains, as a multiple of that of image encoders."""
    batch_size: int = 64
    """Slices of a batch, every one compared with every caption."""
    max_epochs: int = 30
    """Passes over the training slices at most."""
    min_epochs: int = 5
    """Passes before early stopping may end the run."""
    patience: int = 10
    """Epochs without better validation before the run ends."""
    schedule: Schedule = "cosine"
    """Course of the learning rate, see ``FitConfig``."""
    gradient_clip_norm: float = 1.0
    """Gradients of a larger norm are scaled down to it."""
    freeze: tuple[Literal["image", "text"], ...] = ()
    """Encoders that are frozen; both of models that segment too, unless a recipe says otherwise."""
    augment: SliceAugment = field(default_factory=SliceAugment)
    """How slices vary."""
    captions: CaptionMix = field(default_factory=CaptionMix)
    """How captions vary."""
    loss: ContrastiveLoss = field(default_factory=ContrastiveLoss)
    """Loss that is minimised."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise ConfigError(f"batch_size must be 2 or more, for slices to be told apart, got {self.batch_size}.")

    def for_model(self, model: VisionLanguageEncoder, given: Collection[str]) -> "ContrastiveConfig":
        """The settings for a model, of which one that segments keeps encoders and norms still unless it was said.

        Args:
            model: To be trained.
            given: Names of the settings that were chosen.
        """
        if "freeze" in given or not isinstance(model, Segmenter):
            return self
        norms = self.freeze_batch_norm or "freeze_batch_norm" not in given
        return dataclasses.replace(self, freeze=("image", "text"), freeze_batch_norm=norms)

    @classmethod
    def from_dict(cls, settings: Mapping[str, object]) -> "ContrastiveConfig":
        """Build from nested tables, as in a recipe file.

        Raises:
            ConfigError: Naming the setting that does not exist or has a value of the wrong kind.
        """
        return build_settings(cls, settings, "recipe")


LABEL_FIELDS = {"organ": "organs", "station": "stations"}
"""Questions of validation, and the field of a statement with the true answers."""


class ContrastiveModule(BaseModule[VisionLanguageEncoder]):
    """A model while it trains.

    Args:
        model: Its images and text share a space; already frozen as the configuration says.
        config: Optimiser, schedule and loss.
        steps: Of the whole run.

    Raises:
        ModelError: If images and text share no space.
    """

    monitor = "val_top1"

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
        return torch.tensor(math.log(LOGIT_SCALE), device=self.bias.device)

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
        self._labels = {kind: phrase_vectors(self.model, phrases_of(kind)) for kind in LABEL_FIELDS}

    def validation_step(self, batch: SliceBatch, index: int) -> None:
        """Loss, and how often the likeliest organ and the likeliest station show (top-1 in set), of one batch."""
        images = self._encode_images(batch)
        found = [top1_hits(images @ self._labels[kind].T, batch.labels, field) for kind, field in LABEL_FIELDS.items()]
        hits = torch.cat(found)
        if len(hits):
            self.log(self.monitor, hits.mean(), batch_size=len(hits))
        self.log("val_loss", self._loss(batch, images), batch_size=len(batch.labels))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """See ``build_optimizer``."""
        extra = [*([self.bias] if self.config.loss.kind == "siglip" else []), *self._organ_parts()]
        return build_optimizer(self.model, self.config, self.steps, self.monitor, extra)

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


def fit_contrastive(
    model: VisionLanguageEncoder,
    data: Sequence[Path],
    out: Path,
    config: ContrastiveConfig,
    running: RuntimeOptions | None = None,
) -> RunResult:
    """Train a model and keep the weights that name validation slices best.

    Args:
        model: Built or loaded, its images and text in one space; it ends with its last weights, LoRA's merged.
        data: Folders of slices as `vesalius data slices` writes them; not every one needs validation slices.
        out: Folder for ``model.safetensors``, ``manifest.json``, ``metrics.csv`` and ``last.ckpt``.
        config: What decides the result.
        running: What does not; RuntimeOptions() by default.

    Raises:
        OutputError: If the folder holds another run, or other results.
        DataError: If a folder is damaged, lacks a split or has a patient in two, or nothing is known of the validation
            slices.
        ConfigError: If there is nothing to resume, or several devices are to share a batch.
        ModelError: If images and text share no space.
    """
    running = running or RuntimeOptions()
    if running.devices * running.nodes > 1:
        raise ConfigError("Contrastive training compares all slices of a batch with one another; take one device.")
    # What is wrong is named before anything is written.
    check_patients(open_slices(data, "train"), open_slices(dict.fromkeys(data), "val"))
    with begin(model, data, out, config, running, "train-naming") as begun:
        if isinstance(begun, RunResult):
            return begun
        seed_everything(config.seed, verbose=False)
        prepare_model(model, config)
        loaders = _load(model, data, config, begun)
        module = ContrastiveModule(model, config, count_steps(config, len(loaders[0])))
        return train_module(module, loaders, data, out, config, begun)


def _load(
    model: VisionLanguageEncoder, data: Sequence[Path], config: ContrastiveConfig, running: RuntimeOptions
) -> tuple[ResumableLoader, ResumableLoader]:
    """Batches to train on, and to validate on, which are neither changed nor worded in other ways."""
    size = model.spec.image_size
    changing = [
        SliceView(slices, size, config.augment, config.captions, seed=config.seed + place)
        for place, slices in enumerate(open_slices(data, "train"))
    ]
    still = [SliceView(slices, size) for slices in open_slices(dict.fromkeys(data), "val")]
    if not any(row.label.organs or row.label.stations for view in still for row in view.source.rows):
        raise DataError(f"{data[0]}: no validation slice shows a known organ or station; nothing tells good from bad.")
    train, val = Pool(changing), Pool(still)
    if len(train) < 2:
        raise DataError(f"{data[0]}: one training slice; contrastive training needs two or more.")
    return build_loaders(train, val, config, running.workers, collate_slices)
