"""What every model here has: an image encoder, a text encoder, and the fixed contract of their inputs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn

from vesalius.errors import ModelError, unknown_name
from vesalius.models.features import EncoderSpec, ImageFeatures, TextFeatures
from vesalius.models.recipe import ModelRecipe
from vesalius.models.tokenizers import Tokenizer

Part = Literal["image", "text"]
PARTS: tuple[Part, ...] = ("image", "text")


class VisionLanguageEncoder(nn.Module, ABC):
    """Encodes images and prompts separately, so that each is encoded once for any number of the others."""

    spec: EncoderSpec
    tokenizer: Tokenizer
    recipe: ModelRecipe
    """Set by ``build_model``."""

    def __init__(self, spec: EncoderSpec, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.spec = spec
        self.tokenizer = tokenizer
        self._frozen: set[Part] = set()

    @property
    def device(self) -> torch.device:
        """Where its weights lie; the processor for a model without any, such as an export."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @abstractmethod
    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """The modules ``freeze(part)`` holds still."""

    @abstractmethod
    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Normalised pixels [B, 3, H, W] (any H, W the trunk accepts) to features."""

    @abstractmethod
    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Token ids and their mask [B, L] to features."""

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """RGB [B, 3, H, W] in [0, 1] to features."""
        return self.encode_pixels(self.spec.prepare(images))

    def encode_text(self, prompts: Sequence[str]) -> TextFeatures:
        """B prompts to features; the empty string is a prompt like any other."""
        tokens = self.tokenizer(prompts)
        return self.encode_tokens(tokens.input_ids.to(self.device), tokens.attention_mask.to(self.device))

    def freeze(self, *parts: Part) -> Self:
        """Hold exactly these encoders still: no gradients, and normalisation and dropout as in evaluation.

        ``freeze()`` sets everything free. Nothing else in the library decides what is trained.

        Raises:
            ModelError: If there is no such part.
        """
        for part in parts:
            if part not in PARTS:
                raise ModelError(unknown_name("part", part, PARTS))
        self._frozen = set(parts)
        for part in PARTS:
            for module in self.encoder_modules(part):
                module.requires_grad_(part not in self._frozen)
        return self.train(self.training)

    @property
    def frozen(self) -> frozenset[Part]:
        """The encoders that are held still."""
        return frozenset(self._frozen)

    def train(self, mode: bool = True) -> Self:
        """Set training mode for everything that is not frozen."""
        super().train(mode)
        for part in self._frozen:
            for module in self.encoder_modules(part):
                module.eval()
        return self
