"""CLIP (Radford et al., 2021) in the sizes that medical models start from, and zero-shot classification with it."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.errors import ModelError, unknown_name
from vesalius.models.encoder import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    EncoderSpec,
    ImageFeatures,
    Part,
    TextFeatures,
    VisionLanguageEncoder,
)
from vesalius.models.registry import LOGIT_SCALE, Option, register_model
from vesalius.models.tokenizers import ClipTokenizer, Tokenizer
from vesalius.models.towers import (
    AttentionPool,
    ClipTextConfig,
    ClipTextEncoder,
    ResNet,
    ResNetConfig,
    VisionConfig,
    VisionTransformer,
)

START_TEMPERATURE = 0.07
"""CLIP's temperature before training."""


class ClassTokenTower(nn.Module):
    """A vision transformer read at its class token, normalised and projected."""

    def __init__(self, config: VisionConfig, embedding: int) -> None:
        super().__init__()
        self.trunk = VisionTransformer(config)
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        self.projection = nn.Linear(config.width, embedding, bias=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> [B, E]."""
        return self.projection(self.norm(self.trunk(pixel_values)[-1][:, 0]))


class ResNetTower(nn.Module):
    """CLIP's ResNet with its attention pool."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.trunk = ResNet(config)
        self.pool = AttentionPool(config)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> [B, E]."""
        return self.pool(self.trunk(pixel_values)[-1])


class ContrastiveEncoder(VisionLanguageEncoder):
    """Two towers and a temperature.

    Args:
        spec: Input contract.
        tokenizer: Tokenizer of the text tower.
        image: Normalised pixels [B, 3, H, W] to [B, E], not yet of unit length.
        text: Token ids and mask [B, L] to [B, E], not yet of unit length.
    """

    def __init__(self, spec: EncoderSpec, tokenizer: Tokenizer, image: nn.Module, text: nn.Module) -> None:
        super().__init__(spec, tokenizer)
        self.image = image
        self.text = text
        self.log_scale = nn.Parameter(torch.tensor(-math.log(START_TEMPERATURE)))

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """One of the towers."""
        return [self.image] if part == "image" else [self.text]

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Unit vectors [B, E]; no taps."""
        return ImageFeatures(F.normalize(self.image(pixel_values), dim=-1), ())

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Unit vectors [B, E]."""
        return TextFeatures(F.normalize(self.text(input_ids, attention_mask), dim=-1))

    def forward(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Score every prompt for every image.

        Args:
            images: RGB [B, 3, H, W] in [0, 1], any size.
            prompts: P strings.

        Returns:
            Cosine similarities divided by the temperature, [B, P]; a softmax over P gives probabilities.
        """
        return self.log_scale.exp() * self.encode_image(images).embedding @ self.encode_text(prompts).embedding.T


def phrase_vectors(model: VisionLanguageEncoder, labels: Mapping[str, Sequence[str]]) -> Tensor:
    """One unit vector a label, the mean of its phrases' vectors.

    Args:
        model: One whose image and text embeddings share a space.
        labels: L labels and the phrases for each.

    Returns:
        [L, E].
    """
    with torch.no_grad():
        means = [model.encode_text(phrases).embedding.mean(0) for phrases in labels.values()]
    return F.normalize(torch.stack(means), dim=-1)


def label_logits(images: Tensor, labels: Tensor, scale: float = LOGIT_SCALE) -> Tensor:
    """Log-odds among labels.

    Args:
        images: Unit image vectors [B, E].
        labels: Unit label vectors [L, E].
        scale: Factor from cosine similarity to log-odds, see ``logit_scale``.

    Returns:
        [B, L]; a softmax over L gives probabilities.
    """
    return scale * images @ labels.T


def logit_scale(model: VisionLanguageEncoder) -> float:
    """Factor from cosine similarity to log-odds: the temperature a model has learned, else ``LOGIT_SCALE``."""
    return model.log_scale.exp().item() if isinstance(model, ContrastiveEncoder) else LOGIT_SCALE


Normalisation = Literal["clip", "imagenet"]
_NORMALISATIONS = {"clip": (CLIP_MEAN, CLIP_STD), "imagenet": (IMAGENET_MEAN, IMAGENET_STD)}


@register_model
def clip_vit_b32(**options: Option) -> ContrastiveEncoder:
    """CLIP ViT-B/32 (Radford et al., 2021), the encoder of PubMedCLIP.

    Args:
        **options: ``image_size``, ``width``, ``text_width``, ``layers`` and ``normalisation``, as for ``clip_vit``.
    """
    return clip_vit(32, **options)  # type: ignore[arg-type]  # checked when called


@register_model
def clip_vit_b16(**options: Option) -> ContrastiveEncoder:
    """CLIP ViT-B/16 (Radford et al., 2021), the encoder that CLIPSeg was built on.

    Args:
        **options: ``image_size``, ``width``, ``text_width``, ``layers`` and ``normalisation``, as for ``clip_vit``.
    """
    return clip_vit(16, **options)  # type: ignore[arg-type]  # checked when called


@register_model
def clip_rn50(
    *,
    image_size: int = 224,
    width: int = 64,
    text_width: int = 512,
    layers: int = 12,
    normalisation: Normalisation = "clip",
) -> ContrastiveEncoder:
    """CLIP RN50 (Radford et al., 2021), the encoder of CRIS.

    Args:
        image_size: Side the network works on, pixels.
        width: Channels of the image tower's stem; the space shared with text is 16 times as wide.
        text_width: Width of the text tower.
        layers: Its depth.
        normalisation: Whose mean and standard deviation pixels are given: "clip", or "imagenet" for PubMedCLIP.
    """
    trunk = ResNetConfig(image_size, width, embedding=16 * width)
    text = ClipTextConfig(text_width, layers, max(1, text_width // 64), trunk.embedding)
    return ContrastiveEncoder(
        _spec(image_size, normalisation),
        ClipTokenizer(text.context_length),
        ResNetTower(trunk),
        ClipTextEncoder(text),
    )


def clip_vit(
    patch_size: int,
    *,
    image_size: int = 224,
    width: int = 768,
    text_width: int = 512,
    layers: int = 12,
    normalisation: Normalisation = "clip",
) -> ContrastiveEncoder:
    """CLIP with a vision transformer.

    Args:
        patch_size: Side of a patch, pixels.
        image_size: Side the network works on, pixels.
        width: Width of the vision tower.
        text_width: Width of the text tower and of the space they share.
        layers: Depth of both towers.
        normalisation: Whose mean and standard deviation pixels are given: "clip", or "imagenet" for PubMedCLIP.
    """
    vision = VisionConfig(image_size, patch_size, width, layers, max(1, width // 64))
    text = ClipTextConfig(text_width, layers, max(1, text_width // 64), text_width)
    return ContrastiveEncoder(
        _spec(image_size, normalisation),
        ClipTokenizer(text.context_length),
        ClassTokenTower(vision, text_width),
        ClipTextEncoder(text),
    )


def _spec(image_size: int, normalisation: Normalisation) -> EncoderSpec:
    if normalisation not in _NORMALISATIONS:
        raise ModelError(unknown_name("normalisation", normalisation, _NORMALISATIONS))
    return EncoderSpec(image_size, *_NORMALISATIONS[normalisation])
