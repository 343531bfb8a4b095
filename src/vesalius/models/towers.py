"""Encoder towers: ViT, CLIP's text transformer, BERT and CLIP's ResNet.

Layers carry short names of ours; ``foreign`` renames the published ones. BERT is equal to ``transformers.BertModel`` in
eval mode (tested), without the second or so that importing it takes.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.layers import Activation, ConvNorm, LayerConfig, TransformerLayer, stretch_positions
from vesalius.models.tokenizers import CLIP_END


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
    """Layer-norm epsilon."""
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


@dataclass(frozen=True)
class ClipTextConfig:
    """Sizes of a CLIP text tower; the defaults are those beside ViT-B."""

    width: int = 512
    layers: int = 12
    heads: int = 8
    embedding: int = 512
    """Width of the space shared with images."""
    context_length: int = 77


class ClipTextEncoder(nn.Module):
    """Token ids to token vectors, and to one vector a prompt."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(CLIP_END + 1, config.width)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.positions = nn.Parameter(torch.randn(config.context_length, config.width) * 0.01)
        layer = LayerConfig(config.width, config.heads, 4 * config.width)
        self.layers = nn.ModuleList(TransformerLayer(layer) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.projection = nn.Linear(config.width, config.embedding, bias=False)

    def encode_tokens(self, input_ids: Tensor) -> Tensor:
        """Ids [B, L] to vectors [B, L, D] after the final norm; what follows a token does not change it."""
        x = self.tokens(input_ids) + self.positions[: input_ids.shape[1]]
        for layer in self.layers:
            x = layer(x, causal=True)
        return self.norm(x)

    def project_end(self, tokens: Tensor, input_ids: Tensor) -> Tensor:
        """The vectors at the first end token (the highest id there is), projected: [B, L, D] -> [B, E]."""
        return self.projection(tokens[torch.arange(len(tokens), device=tokens.device), input_ids.argmax(dim=1)])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask [B, L] -> one vector a prompt, [B, E]."""
        # Padding follows the end token, so nothing that is read depends on it; an exported graph cannot look at values.
        length = input_ids.shape[1] if torch.compiler.is_exporting() else int(attention_mask.sum(dim=1).max())
        real = input_ids[:, :length]
        return self.project_end(self.encode_tokens(real), real)


@dataclass(frozen=True)
class BertConfig:
    """Sizes of a BERT encoder; the defaults are all-MiniLM-L6-v2's."""

    vocabulary: int = 30522
    width: int = 384
    layers: int = 6
    heads: int = 12
    hidden: int = 1536
    positions: int = 512
    epsilon: float = 1e-12
    """Layer-norm epsilon."""


class BertEncoder(nn.Module):
    """Token ids to contextual token vectors."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.positions, config.width)
        # Sentence pairs are never used, so the one segment vector is a bias.
        self.segment = nn.Parameter(torch.zeros(config.width))
        self.norm = nn.LayerNorm(config.width, eps=config.epsilon)
        layer = LayerConfig(config.width, config.heads, config.hidden, "gelu", norm_first=False, epsilon=config.epsilon)
        self.layers = nn.ModuleList(TransformerLayer(layer) for _ in range(config.layers))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask [B, L] -> [B, L, E]."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.tokens(input_ids) + self.positions(positions) + self.segment)
        mask = attention_mask.bool()[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return x


def mean_pool(tokens: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over the real tokens, scaled to length 1 (sentence-transformers' pooling): [B, L, E], [B, L] -> [B, E]."""
    mask = attention_mask[..., None].to(tokens.dtype)
    return F.normalize((tokens * mask).sum(1) / mask.sum(1).clamp(min=1), dim=-1)


BRANCH_START = 0.2
"""Initial weight of each residual branch. CLIP starts at 0, which withholds a gradient from the branch's own weights;
at 1 the sixteen branches of RN50 amplify rounding errors tens of times."""


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of a CLIP ResNet; the defaults are RN50's."""

    image_size: int = 224
    """Side of the images that the attention pool's position embeddings were made for, pixels."""
    width: int = 64
    """Channels of the stem; the stages give 4, 8, 16 and 32 times as many."""
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    """Bottlenecks of each stage."""
    embedding: int = 1024
    """Width of the space shared with text."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Widths of the four stages' maps."""
        return tuple(self.width * times for times in (4, 8, 16, 32))


class Bottleneck(nn.Module):
    """Narrow, filter, widen fourfold, and add the input; a stride is an average pooling in both branches."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_channels, width)
        self.conv2 = ConvNorm(width, width, 3)
        self.conv3 = ConvNorm(width, 4 * width, activation=nn.Identity(), start=BRANCH_START)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        same = stride == 1 and in_channels == 4 * width
        self.shortcut = nn.Identity() if same else ConvNorm(in_channels, 4 * width, activation=nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 4 * width, H / stride, W / stride]."""
        branch = self.conv3(self.pool(self.conv2(self.conv1(x))))
        return F.relu(branch + self.shortcut(self.pool(x)))


class ResNet(nn.Module):
    """The convolutional trunk, returning the map of every stage."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        half = config.width // 2
        self.conv1 = ConvNorm(3, half, 3, stride=2)
        self.conv2 = ConvNorm(half, half, 3)
        self.conv3 = ConvNorm(half, config.width, 3)
        self.pool = nn.AvgPool2d(2)
        widths = (config.width, *config.channels)
        self.stages = nn.ModuleList(
            self._stage(before, after // 4, blocks, stride=1 if index == 0 else 2)
            for index, ((before, after), blocks) in enumerate(zip(pairwise(widths), config.blocks, strict=True))
        )

    @staticmethod
    def _stage(in_channels: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
        others = (Bottleneck(4 * width, width, 1) for _ in range(blocks - 1))
        return nn.Sequential(Bottleneck(in_channels, width, stride), *others)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Map normalised pixels [B, 3, H, W] to maps at strides 4, 8, 16 and 32."""
        x = self.pool(self.conv3(self.conv2(self.conv1(pixel_values))))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


class AttentionPool(nn.Module):
    """One layer of attention that ends CLIP's ResNet: over the whole map (CLIP), or keeping it a map (CRIS).

    Args:
        config: Sizes of the trunk it ends; a head is 64 wide.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        width = config.channels[-1]
        self.heads = width // 64
        self.positions = nn.Parameter(torch.randn(1 + (config.image_size // 32) ** 2, width) * width**-0.5)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, config.embedding)

    def forward(self, x: Tensor) -> Tensor:
        """Attention of the map's mean to itself and all places: [B, C, H, W] -> [B, E]."""
        places = x.flatten(2).mT
        tokens = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)
        tokens = tokens + stretch_positions(self.positions, *x.shape[-2:])
        return self._attend(tokens[:, :1], tokens)[:, 0]

    def keep_map(self, x: Tensor) -> Tensor:
        """Attention of every place to all places, without the mean: [B, C, H, W] -> [B, E, H, W]."""
        tokens = x.flatten(2).mT + stretch_positions(self.positions, *x.shape[-2:])[1:]
        return self._attend(tokens, tokens).mT.unflatten(2, x.shape[-2:])

    def _attend(self, queries: Tensor, tokens: Tensor) -> Tensor:
        projected = (self.query(queries), self.key(tokens), self.value(tokens))
        query, key, value = (each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in projected)
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
