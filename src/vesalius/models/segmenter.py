"""The contract every segmenter keeps: RGB in [0, 1] and strings in, logits at the image's own size out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from vesalius.errors import ModelError, unknown_name
from vesalius.models.features import EncoderSpec, ImageFeatures, MaskPrediction, TextFeatures, resize
from vesalius.models.recipe import ModelRecipe
from vesalius.models.tokenizers import Tokenizer

Part = Literal["image", "text"]
PARTS: tuple[Part, ...] = ("image", "text")


class Segmenter(nn.Module, ABC):
    """An image encoder, a text encoder and a decoder that turns their features into a mask.

    The three steps are separate so that one image is encoded once for any number of prompts, and a prompt once for
    any number of images.
    """

    spec: EncoderSpec
    tokenizer: Tokenizer
    recipe: ModelRecipe
    """Set by ``build_model``."""
    reads_text: ClassVar[bool] = True
    """False for models (UNet-D) whose mask cannot depend on the prompt."""

    def __init__(self, spec: EncoderSpec, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.spec = spec
        self.tokenizer = tokenizer
        self._frozen: set[Part] = set()

    @abstractmethod
    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """The modules ``freeze(part)`` holds still."""

    @abstractmethod
    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Normalised pixels [B, 3, H, W] (any H, W the trunk accepts) to features."""

    @abstractmethod
    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Token ids and their mask [B, L] to features."""

    @abstractmethod
    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Pair image i with prompt i: logits [B, 1, h, w] at the resolution the decoder works in."""

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """RGB [B, 3, H, W] in [0, 1] to features."""
        return self.encode_pixels(self.spec.prepare(images))

    def encode_text(self, prompts: Sequence[str]) -> TextFeatures:
        """B prompts to features; the empty string is a prompt like any other."""
        tokens = self.tokenizer(prompts)
        device = next(self.parameters()).device
        return self.encode_tokens(tokens.input_ids.to(device), tokens.attention_mask.to(device))

    def predict(self, images: Tensor, prompts: Sequence[str]) -> MaskPrediction:
        """Like ``forward``, with the existence score of models that have one."""
        prediction = self.decode(self.encode_image(images), self.encode_text(prompts))
        return MaskPrediction(resize(prediction.logits, _size(images)), prediction.existence)

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Segment B images by B prompts.

        Args:
            images: RGB [B, 3, H, W] in [0, 1], any size.
            prompts: B strings.

        Returns:
            Logits [B, 1, H, W] at the images' size; above 0 means more likely inside than outside.
        """
        return self.predict(images, prompts).logits

    def forward_tensors(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """The same computation from tensors alone, for export and for parity with other implementations.

        Args:
            pixel_values: Resized and normalised as ``spec`` says, [B, 3, H, W].
            input_ids: [B, L].
            attention_mask: [B, L], 1 where a token is real; None means all are.

        Returns:
            Logits [B, 1, H, W] at the size of ``pixel_values``.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        prediction = self.decode(self.encode_pixels(pixel_values), self.encode_tokens(input_ids, mask))
        return resize(prediction.logits, _size(pixel_values))

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


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
