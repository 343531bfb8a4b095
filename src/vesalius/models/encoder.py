"""The contracts every model keeps: encoders, segmenters, and what passes between them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.errors import ModelError, unknown_name
from vesalius.models.registry import ModelRecipe
from vesalius.models.tokenizers import Tokenizer

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_IMAGE_SIZE = 4096
"""Largest side of the square that a model may take, pixels; published models take 224 to 480."""


@dataclass(frozen=True)
class EncoderSpec:
    """The input contract of one model: callers pass RGB in [0, 1], the model does the rest."""

    image_size: int
    """Side of the square the network works on, pixels."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Per channel, subtracted from RGB in [0, 1]."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Per channel, divided by after subtracting the mean."""
    context_length: int = 77
    """Longest prompt in tokens; longer ones are cut."""

    def __post_init__(self) -> None:
        if not isinstance(self.image_size, int) or not 1 <= self.image_size <= MAX_IMAGE_SIZE:
            raise ModelError(
                f"image_size must be a whole number of pixels from 1 to {MAX_IMAGE_SIZE}, got {self.image_size!r}."
            )

    def prepare(self, images: Tensor) -> Tensor:
        """RGB [B, 3, H, W] in [0, 1] -> normalised pixel values [B, 3, S, S]."""
        resized = resize(images, (self.image_size, self.image_size))
        mean = resized.new_tensor(self.mean)[:, None, None]
        std = resized.new_tensor(self.std)[:, None, None]
        return (resized - mean) / std


@dataclass(frozen=True)
class ImageFeatures:
    """Features of B images."""

    embedding: Tensor
    """One vector an image in the space shared with text, [B, E]; E = 0 for models without such a space."""
    taps: tuple[Tensor, ...]
    """Feature maps or token sequences for the decoder, each [B, …]."""
    parts: tuple["ImageFeatures", ...] = ()
    """Features of the models that an ensemble or a fusion is made of."""

    def index_select(self, indices: Tensor) -> "ImageFeatures":
        """Features of the images at ``indices`` [N], repeats allowed: one encoding serves many prompts."""
        taps = tuple(tap[indices] for tap in self.taps)
        return ImageFeatures(self.embedding[indices], taps, tuple(part.index_select(indices) for part in self.parts))


@dataclass(frozen=True)
class TextFeatures:
    """Features of B prompts."""

    embedding: Tensor
    """One vector a prompt, [B, E]; E = 0 for models that do not read text."""
    tokens: Tensor | None = None
    """One vector a token, [B, L, D], of models whose decoder looks at words (CRIS); L is the same for every prompt."""
    token_mask: Tensor | None = None
    """Which of them are real, [B, L]: 1 for a token, 0 for padding."""
    parts: tuple["TextFeatures", ...] = ()
    """Features of the models that an ensemble or a fusion is made of."""

    def index_select(self, indices: Tensor) -> "TextFeatures":
        """Features of the prompts at ``indices`` [N]."""
        tokens = None if self.tokens is None else self.tokens[indices]
        mask = None if self.token_mask is None else self.token_mask[indices]
        return TextFeatures(
            self.embedding[indices], tokens, mask, tuple(part.index_select(indices) for part in self.parts)
        )

    def add_noise(self, noise: float) -> "TextFeatures":
        """The same with Gaussian noise on each prompt's embedding; tokens stay.

        Args:
            noise: Expected norm of the noise, as a multiple of the embedding's norm.
        """
        scale = self.embedding.norm(dim=1, keepdim=True) * noise / max(1, self.embedding.shape[1]) ** 0.5
        embedding = self.embedding + scale * torch.randn_like(self.embedding)
        return replace(self, embedding=embedding, parts=tuple(part.add_noise(noise) for part in self.parts))

    @staticmethod
    def join(batches: Sequence["TextFeatures"]) -> "TextFeatures":
        """The prompts of several batches in one."""
        tokens = [batch.tokens for batch in batches if batch.tokens is not None]
        masks = [batch.token_mask for batch in batches if batch.token_mask is not None]
        return TextFeatures(
            torch.cat([batch.embedding for batch in batches]),
            torch.cat(tokens) if tokens else None,
            torch.cat(masks) if masks else None,
            tuple(TextFeatures.join(parts) for parts in zip(*(batch.parts for batch in batches), strict=True)),
        )


@dataclass(frozen=True)
class MaskPrediction:
    """Mask logits of B pairs of image and prompt, and whether the object is there."""

    logits: Tensor
    """Log-odds that a pixel belongs to what the prompt names, [B, 1, H, W]."""
    existence: Tensor | None = None
    """Log-odds that the image shows it at all, [B]; None for models without such a head."""

    @property
    def mask(self) -> Tensor:
        """The pixels that are more likely inside than outside, boolean [B, H, W]."""
        return self.logits[:, 0] > 0


def height_width(images: Tensor) -> tuple[int, int]:
    """Height and width of images or masks [..., H, W]."""
    return images.shape[-2], images.shape[-1]


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, antialiased when shrinking: [B, C, H, W] -> [B, C, *size], in 32-bit floats at least."""
    if tuple(images.shape[-2:]) == size:
        return images
    wide = images.float() if images.element_size() < 4 else images  # PyTorch does not do halves on CPUs
    return F.interpolate(wide, size=size, mode="bilinear", align_corners=False, antialias=True)


def joint_logits(mask_logits: Tensor, existence: Tensor) -> Tensor:
    """Log-odds of "it is there and this pixel is part of it": P = sigmoid(mask) · sigmoid(existence).

    From (1 - P) / P = e^-m + e^-e + e^-(m + e), so it is exact and never overflows.

    Args:
        mask_logits: [B, 1, H, W].
        existence: [B].

    Returns:
        [B, 1, H, W].
    """
    gate = existence[:, None, None, None].expand_as(mask_logits)
    return -torch.logsumexp(torch.stack([-mask_logits, -gate, -(mask_logits + gate)]), dim=0)


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
        """Where its weights lie; the CPU for a model without weights, such as an export."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @abstractmethod
    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """The modules that ``freeze(part)`` freezes."""

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
        """Freeze exactly these encoders: no gradients, and normalisation and dropout as in evaluation.

        ``freeze()`` freezes none.

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
        """The frozen encoders."""
        return frozenset(self._frozen)

    def train(self, mode: bool = True) -> Self:
        """Set training mode for everything that is not frozen."""
        super().train(mode)
        for part in self._frozen:
            for module in self.encoder_modules(part):
                module.eval()
        return self


class Segmenter(VisionLanguageEncoder):
    """An image encoder, a text encoder and a decoder that turns their features into a mask."""

    reads_text: bool = True
    """False for models (UNet-D) whose mask cannot depend on the prompt."""
    judges_existence: bool = False
    """True for models whose predictions say whether the image shows what the prompt names at all."""

    @abstractmethod
    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Pair image i with prompt i: logits [B, 1, h, w] at the resolution the decoder works in."""

    @property
    def completes_with_images(self) -> bool:
        """Whether ``complete`` needs the images; where it does not, they are not even read."""
        return False

    def encode_frozen(self, images: Tensor) -> ImageFeatures:
        """The part of ``encode_image`` that depends on the modules of ``freeze("image")`` alone.

        While they are frozen it is the same for an image in every epoch, and can be stored.

        Args:
            images: RGB [B, 3, H, W] in [0, 1].
        """
        return self.encode_image(images)

    def complete(self, images: Tensor, frozen: ImageFeatures) -> ImageFeatures:
        """``encode_image(images)`` from the ``encode_frozen`` of the same images, adding what trains.

        Args:
            images: RGB [B, 3, H, W] in [0, 1]; anything where ``completes_with_images`` is False.
            frozen: Of these images.
        """
        return frozen

    def predict(self, images: Tensor, prompts: Sequence[str]) -> MaskPrediction:
        """Like ``forward``, with the existence score of models that have one."""
        prediction = self.decode(self.encode_image(images), self.encode_text(prompts))
        return MaskPrediction(resize(prediction.logits, height_width(images)), prediction.existence)

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Segment B images by B prompts.

        Args:
            images: RGB [B, 3, H, W] in [0, 1], any size.
            prompts: B strings.

        Returns:
            Logits [B, 1, H, W] at the images' size; above 0 means more likely inside than outside.
        """
        return self.predict(images, prompts).logits
