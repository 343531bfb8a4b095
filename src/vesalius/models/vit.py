"""Vision transformer (Dosovitskiy et al., 2021) in CLIP's and in timm's form."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vesalius.models.positions import stretch_positions
from vesalius.models.transformer import Activation, LayerConfig, TransformerLayer


@dataclass(frozen=True)
class VisionConfig:
    """Sizes of a vision transformer; the defaults are CLIP ViT-B/16's."""

    image_size: int = 224
    """Side of the images its position embeddings were made for, pixels."""
    patch_size: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    activation: Activation = "quick_gelu"
    epsilon: float = 1e-5
    """Of the layer norms."""
    clip_stem: bool = True
    """CLIP's beginning: patches without a bias, and a layer norm before the first block. timm has neither."""

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size


class VisionTransformer(nn.Module):
    """Images to the outputs of every block; the final norm and projection belong to who needs them."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, patch = config.width, config.patch_size
        self.width, self.patch_size = width, patch
        self.patches = nn.Conv2d(3, width, patch, stride=patch, bias=not config.clip_stem)
        self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn(1 + config.grid**2, width) * width**-0.5)
        self.stem_norm = nn.LayerNorm(width, eps=config.epsilon) if config.clip_stem else nn.Identity()
        layer = LayerConfig(width, config.heads, 4 * width, config.activation, epsilon=config.epsilon)
        self.layers = nn.ModuleList(TransformerLayer(layer) for _ in range(config.layers))

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Map normalised pixels [B, 3, H, W] to the output of each block, [B, 1 + N, D] with the class token first."""
        x = self.patches(pixel_values)
        positions = stretch_positions(self.positions, *x.shape[-2:])
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        x = self.stem_norm(x + positions)
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return tuple(outputs)
