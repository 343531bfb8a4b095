"""CLIP itself (Radford et al., 2021), in the sizes that medical models were made from, PubMedCLIP among them."""

from typing import Literal

from vesalius.errors import ModelError, unknown_name
from vesalius.models.clip_text import ClipTextConfig, ClipTextEncoder
from vesalius.models.contrastive import ClassTokenTower, ContrastiveEncoder, ResNetTower
from vesalius.models.features import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, EncoderSpec
from vesalius.models.recipe import Option
from vesalius.models.registry import register_model
from vesalius.models.resnet import ResNetConfig
from vesalius.models.tokenizers import ClipTokenizer
from vesalius.models.vit import VisionConfig

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
