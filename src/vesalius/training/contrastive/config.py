"""Every setting of contrastive training."""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vesalius.data.anatomy.augment import SliceAugment
from vesalius.errors import ConfigError
from vesalius.models import Segmenter
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.prompts.anatomy_captions import CaptionMix
from vesalius.training.config import FitConfig, Schedule, build_settings
from vesalius.training.contrastive_losses import ContrastiveLoss
from vesalius.training.lora import LoraConfig

_TABLES = {"augment": SliceAugment, "captions": CaptionMix, "loss": ContrastiveLoss, "lora": LoraConfig}


@dataclass(frozen=True)
class ContrastiveConfig(FitConfig):
    """Defaults are those of fine-tuning CLIP, where the paper is silent."""

    weight_decay: float = 0.1
    """AdamW's."""
    decay_vectors: bool = False
    """Whether it holds for vectors and numbers too: biases, norms, the temperature."""
    momentum: float = 0.98
    """AdamW's second, of squared gradients; the first is 0.9."""
    epsilon: float = 1e-6
    """AdamW's."""
    text_rate: float = 0.5
    """Step size of a text encoder that trains, in units of that of the other encoders."""
    batch_size: int = 64
    """Slices of a batch, every one compared with every caption."""
    max_epochs: int = 30
    """Passes over the training slices at most."""
    min_epochs: int = 5
    """Passes before early stopping may end the run."""
    patience: int = 10
    """Epochs without better validation before the run ends."""
    schedule: Schedule = "cosine"
    """See ``FitConfig``."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    freeze: tuple[Literal["image", "text"], ...] = ()
    """Encoders that are held still; both of models that segment too, unless a recipe says otherwise."""
    augment: SliceAugment = field(default_factory=SliceAugment)
    """How slices vary."""
    captions: CaptionMix = field(default_factory=CaptionMix)
    """How captions vary."""
    loss: ContrastiveLoss = field(default_factory=ContrastiveLoss)
    """Which loss."""

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
        whole = "freeze" in given or not isinstance(model, Segmenter)
        return self if whole else dataclasses.replace(self, freeze=("image", "text"), keep_norms=True)

    @classmethod
    def from_dict(cls, settings: Mapping[str, object]) -> "ContrastiveConfig":
        """Build from nested tables, as in a recipe file.

        Raises:
            ConfigError: Naming the setting that does not exist or has a value of the wrong kind.
        """
        return build_settings(cls, settings, _TABLES)
