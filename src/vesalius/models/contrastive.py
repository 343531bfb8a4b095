"""Image and text encoders that share a space (CLIP, Radford et al., 2021): what is alike lies close."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.encoder import Part, VisionLanguageEncoder
from vesalius.models.features import EncoderSpec, ImageFeatures, TextFeatures
from vesalius.models.resnet import AttentionPool, ResNet, ResNetConfig
from vesalius.models.tokenizers import Tokenizer
from vesalius.models.vit import VisionConfig, VisionTransformer

START_TEMPERATURE = 0.07
"""CLIP's before training."""


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
        tokenizer: The text tower's.
        image: Normalised pixels [B, 3, H, W] to [B, E], of any length; so ``model.image(pixel_values)``.
        text: Token ids and mask [B, L] to [B, E], likewise.
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
        """How well each prompt describes each image.

        Args:
            images: RGB [B, 3, H, W] in [0, 1], any size.
            prompts: P strings.

        Returns:
            Cosine similarities divided by the temperature, [B, P]; a softmax over P gives probabilities.
        """
        return self.log_scale.exp() * self.encode_image(images).embedding @ self.encode_text(prompts).embedding.T
