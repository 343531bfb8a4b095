"""Every setting of a training run, with the paper's recipe as defaults."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from vesalius.console import warn
from vesalius.data.augment import AugmentConfig
from vesalius.data.features import StoreConfig
from vesalius.data.views import PromptMix
from vesalius.errors import ConfigError, check_at_least, check_below_one, check_positive
from vesalius.files import read_toml
from vesalius.models.encoder import Segmenter
from vesalius.tables import build, to_table
from vesalius.training.lora import LoraConfig
from vesalius.training.losses import LossWeights

Settings = TypeVar("Settings")
Schedule = Literal["plateau", "one_cycle", "cosine"]
ABSENT = 0.2
"""Share of prompts for absent objects when a model with a trained existence score is trained further."""
FINE_TUNING_RATE = 3e-4
"""Learning rate of a model that comes trained: the paper's 1e-5, meant for a thousand epochs, shows nothing in one."""
RENAMED = {
    "average": "ema_decay",
    "clip": "gradient_clip_norm",
    "encoder_rate": "encoder_lr_scale",
    "keep_norms": "freeze_batch_norm",
    "momentum": "beta2",
    "text_rate": "text_lr_scale",
    "views": "cached_augmentations",
}
"""Settings by their names before 0.1.0, which recipes, ``--set`` and the records of runs may still use, and today's."""
LARGEST_SEED = 2**32 - 1
"""Largest seed that NumPy takes."""


@dataclass(frozen=True)
class FitConfig:
    """Settings that every kind of training has: optimiser, schedule and length.

    The defaults are VLSM-Ensemble's (MIDL 2025) and, where it is silent, its benchmark's.
    """

    learning_rate: float = 1e-5
    """Step size of AdamW; the largest one of a schedule that changes it."""
    weight_decay: float = 1e-3
    """AdamW's weight decay, for every trainable parameter."""
    decay_vectors: bool = True
    """Whether weight decay applies to vectors and scalars too: biases, norms, a temperature."""
    beta2: float = 0.999
    """AdamW's decay of the mean of squared gradients; beta1, of the gradients themselves, is 0.9, but with
    "one_cycle", which takes it from 0.95 to 0.85 and back."""
    epsilon: float = 1e-8
    """Term that AdamW adds to the denominator of a step."""
    encoder_lr_scale: float = 1.0
    """Learning rate of encoders that train, as a multiple of ``learning_rate``."""
    text_lr_scale: float = 1.0
    """Learning rate of a text encoder that trains, as a multiple of that of image encoders."""
    layer_decay: float = 1.0
    """Learning rate of each block of such an encoder, as a multiple of that of the block above it."""
    batch_size: int = 10
    """Images of a batch, over all devices."""
    accumulate: int = 1
    """Batches whose gradients are averaged for one step."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the weights, which is then validated and kept; 0 for none."""
    keep: Literal["best", "last"] = "best"
    """Weights to keep: those with the best validation, or, where validation is too small to tell, the last."""
    max_epochs: int = 1000
    """Passes over the training images at most; each leaves out, by chance, what does not fill a last batch."""
    min_epochs: int = 10
    """Passes before early stopping may end the run."""
    max_steps: int = -1
    """Steps at most; -1 for no limit. For a short trial."""
    patience: int = 20
    """Epochs without a better validation Dice before the run ends."""
    schedule: Schedule = "plateau"
    """"plateau": a tenth of the step size after 5 epochs without progress; "one_cycle": up and down once; "cosine": up
    quickly, then down."""
    warm_up: float = 0.05
    """Share of all steps in which "cosine" rises."""
    gradient_clip_norm: float = 0.5
    """Gradients of a larger norm are scaled down to it; inf scales none."""
    freeze: tuple[Literal["image", "text"], ...] = ("image", "text")
    """Encoders that are frozen."""
    freeze_batch_norm: bool = False
    """Keep the running statistics of batch norms, for fine-tuning on few images or other domains."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the forward pass; the paper used 16-mixed on a GPU."""
    seed: int = 0
    """Decides order, augmentation, prompts and initial weights."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """LoRA on frozen encoders."""

    def __post_init__(self) -> None:
        check_positive(
            self, "learning_rate", "encoder_lr_scale", "text_lr_scale", "batch_size", "accumulate", "max_epochs"
        )
        check_positive(self, "patience", "epsilon")
        check_positive(self, "gradient_clip_norm", finite=False)
        check_at_least(self, 0, "weight_decay", "min_epochs")
        check_below_one(self, "ema_decay", "warm_up", "beta2")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ConfigError(f"seed must be from 0 to {LARGEST_SEED}, got {self.seed}.")
        if self.max_steps == 0 or self.max_steps < -1:
            raise ConfigError(f"max_steps must be -1 (no limit) or at least 1, got {self.max_steps}.")
        if len(set(self.freeze)) < len(self.freeze):
            raise ConfigError(f"freeze names an encoder twice: {', '.join(self.freeze)}.")
        self._check_lora()

    def _check_lora(self) -> None:
        for part in self.lora.adapted:
            if part not in self.freeze:
                remedy = f"name '{part}' in freeze, or leave it out of parts in [lora]"
                raise ConfigError(f"[lora] changes the {part} encoder, which trains whole; {remedy}.")

    def to_dict(self) -> dict[str, object]:
        """Nested tables, ready for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class TrainConfig(FitConfig):
    """Every setting of training a segmenter."""

    cached_augmentations: int = 0
    """Augmented versions of each image, which take turns epoch by epoch; 0 for a new one in every epoch."""
    text_noise: float = 0.0
    """Expected norm of Gaussian noise on prompts' embeddings while training, as a multiple of the embedding's norm, for
    robustness to unseen wordings."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Ranges of the augmentation."""
    prompts: PromptMix = field(default_factory=PromptMix)
    """Mixture of training prompts."""
    loss: LossWeights = field(default_factory=LossWeights)
    """Weights of the loss's terms."""
    store: StoreConfig = field(default_factory=StoreConfig)
    """Stored features: a frozen image encoder runs once over ``cached_augmentations``; of new ones, nothing is kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "cached_augmentations", "text_noise")

    def for_trained(self, model: Segmenter, given: Mapping[str, object]) -> "TrainConfig":
        """The settings for a start from trained weights, which shall not lose what they can.

        Unless it was chosen otherwise, steps are large enough for a short run to show, batch norms keep their
        statistics, and a model that judges existence goes on being asked for what is absent: shown only what is there,
        it soon finds everything everywhere.

        Args:
            model: With these weights.
            given: The settings that were chosen, as ``from_dict`` takes them.
        """
        given = rename_settings(given, "recipe")
        words, chosen = self.prompts, to_table(given.get("prompts", {}), "[prompts]")
        if model.judges_existence and "absent" not in chosen:
            words = dataclasses.replace(words, absent=min(ABSENT, 1 - words.paraphrases))
        rate = self.learning_rate if "learning_rate" in given else FINE_TUNING_RATE
        held = self.freeze_batch_norm or "freeze_batch_norm" not in given
        return dataclasses.replace(self, learning_rate=rate, freeze_batch_norm=held, prompts=words)

    @classmethod
    def from_dict(cls, settings: Mapping[str, object], place: str = "recipe") -> "TrainConfig":
        """Build from nested tables, as in a recipe file.

        Args:
            settings: Values by name.
            place: Where they stand, for messages.

        Raises:
            ConfigError: Naming the setting that does not exist or has a value of the wrong kind.
        """
        return build_settings(cls, settings, place)


def read_recipe(path: Path) -> dict[str, object]:
    """The tables of a recipe file.

    Raises:
        ConfigError: If it is missing or not TOML.
    """
    return rename_settings(read_toml(path), str(path))


def rename_settings(settings: Mapping[str, object], place: str) -> dict[str, object]:
    """Settings by their names of today, and the precision "32" by its own; a warning lists those that had old ones.

    Args:
        settings: As they were read.
        place: Where they stand, for the warning.

    Raises:
        ConfigError: If a setting stands there under both of its names.
    """
    old = [name for name in RENAMED if name in settings]
    for name in old:
        if RENAMED[name] in settings:
            raise ConfigError(f"{place}: {name} is called {RENAMED[name]} now, and both are there; remove {name}.")
    if old:
        warn(f"{place}: renamed settings, write {', '.join(f'{RENAMED[name]} for {name}' for name in old)}.")
    named = {RENAMED.get(name, name): value for name, value in settings.items()}
    if str(named.get("precision")) == "32":  # as the command line's --precision says it
        named["precision"] = "32-true"
    return named


def build_settings(cls: type[Settings], settings: Mapping[str, object], place: str) -> Settings:
    """Build a dataclass of settings from nested tables, as in a recipe file.

    Args:
        cls: What to build.
        settings: Values by name, of today or before 0.1.0.
        place: Where they stand, for messages.

    Raises:
        ConfigError: Naming the setting that does not exist or has a value of the wrong kind.
    """
    return build(cls, rename_settings(settings, place), place)
