"""CRIS (Wang et al., CVPR 2022): CLIP's ResNet-50, a neck gated by the prompt, and a decoder that reads the words.

Deviations from the benchmark's code (Poudel et al., 2024), whose numbers it otherwise equals (tested): padding is what
the attention mask says rather than id 0, and the shortcut around the attention pool is never frozen (see ``Neck``).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.errors import ModelError
from vesalius.models.encoder import (
    CLIP_MEAN,
    CLIP_STD,
    EncoderSpec,
    ImageFeatures,
    MaskPrediction,
    Part,
    Segmenter,
    TextFeatures,
)
from vesalius.models.layers import ConvNorm, resize_like, sine_positions, sine_positions_2d
from vesalius.models.registry import register_model
from vesalius.models.tokenizers import ClipTokenizer
from vesalius.models.towers import AttentionPool, ClipTextConfig, ClipTextEncoder, ResNet, ResNetConfig


class PromptGate(nn.Module):
    """One weight a channel, at least 0, from the prompt's vector."""

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding, channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, state: Tensor) -> Tensor:
        """Prompts' vectors [B, E] to weights [B, C, 1, 1].

        Raises:
            ModelError: If a single prompt is trained on, which a batch norm can compare with nothing.
        """
        if self.norm.training and len(state) == 1:
            raise ModelError(
                "cris needs 2 or more images a training step, got 1: its batch norm compares their prompts."
            )
        return F.relu(self.norm(self.linear(state)[..., None, None]))


class Neck(nn.Module):
    """Fuse from coarse to fine, then gather all three scales at stride 16.

    It also completes C5, the sum of the attention pool's map and ``connect`` of the map the pool was given. CRIS adds
    that shortcut, no CLIP archive holds it, so it trains with the neck whatever is frozen: untrained and frozen it
    would be noise on CLIP's features for good. (The benchmark, which starts from CRIS's own weights, freezes it.)

    Args:
        trunk: Sizes of the trunk.
        width: D, of the fused map.
    """

    def __init__(self, trunk: ResNetConfig, width: int) -> None:
        super().__init__()
        _, c3, c4, deepest = trunk.channels
        self.connect = ConvNorm(deepest, trunk.embedding, activation=nn.Identity())
        self.gate = PromptGate(trunk.embedding, 2 * width)
        self.from_c5 = ConvNorm(trunk.embedding, 2 * width)
        self.gated_norm = nn.BatchNorm2d(2 * width)
        self.from_c4 = ConvNorm(c4, width, 3)
        self.fuse_c4 = ConvNorm(3 * width, width)
        self.from_c3 = ConvNorm(c3, width // 2, 3)
        self.fuse_c3 = ConvNorm(width // 2 + width, width)
        self.to_gather = nn.ModuleList(ConvNorm(channels, width, 3) for channels in (width, width, 2 * width))
        self.gather = ConvNorm(3 * width, width)
        self.locate = ConvNorm(width + 2, width, 3)
        self.refine = ConvNorm(width, width, 3)

    def forward(self, taps: tuple[Tensor, ...], state: Tensor) -> Tensor:
        """Fuse the maps with the prompt.

        Args:
            taps: Maps at strides 8, 16 and 32, and the last one after the attention pool.
            state: The prompts' vectors [B, E].

        Returns:
            [B, D, H / 16, W / 16].
        """
        c3, c4, deepest, attended = taps
        c5 = F.relu(attended + self.connect(deepest))
        coarse = F.relu(self.gated_norm(self.from_c5(c5) * self.gate(state)))
        middle = self.fuse_c4(torch.cat([self.from_c4(c4), resize_like(coarse, c4)], dim=1))
        fine = self.fuse_c3(torch.cat([F.avg_pool2d(self.from_c3(c3), 2), middle], dim=1))
        scales = [layer(x) for layer, x in zip(self.to_gather, (fine, middle, coarse), strict=True)]
        gathered = self.gather(torch.cat([resize_like(scale, c4) for scale in scales], dim=1))
        return self.refine(self.locate(add_coordinates(gathered)))


def add_coordinates(x: Tensor) -> Tensor:
    """Append column and row, each from -1 to 1 (CoordConv, Liu et al., 2018): [B, C, H, W] -> [B, C + 2, H, W]."""
    batch, _, height, width = x.shape
    rows, columns = (torch.linspace(-1, 1, side, dtype=x.dtype, device=x.device) for side in (height, width))
    across = columns.expand(batch, 1, height, width)
    down = rows[:, None].expand(batch, 1, height, width)
    return torch.cat([x, across, down], dim=1)


class CrossLayer(nn.Module):
    """Attention among places, attention to words, and an MLP; each with a norm before and (inside) after it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        heads = width // 64
        self.places_norm = nn.LayerNorm(width)
        self.places = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.places_out_norm = nn.LayerNorm(width)
        self.words_norm = nn.LayerNorm(width)
        self.words = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.words_out_norm = nn.LayerNorm(width)
        self.mlp_norm = nn.LayerNorm(width)
        hidden = 4 * width
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.LayerNorm(hidden), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor, keys: Tensor, tokens: Tensor, padding: Tensor) -> Tensor:
        """Pass the map's places on.

        Args:
            x: Places [B, N, D].
            positions: Of the places, [N, D].
            keys: Words with their positions, [B, L, D].
            tokens: Words without, [B, L, D].
            padding: [B, L], True where there is no word.

        Returns:
            [B, N, D].
        """
        values = self.places_norm(x)
        query = values + positions
        mixed, _ = self.places(query, query, values, need_weights=False)
        x = x + self.dropout(self.places_out_norm(mixed))
        query = self.words_norm(x) + positions
        mixed, _ = self.words(query, keys, tokens, key_padding_mask=padding, need_weights=False)
        x = x + self.dropout(self.words_out_norm(mixed))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class CrossDecoder(nn.Module):
    """``CrossLayer``s over a map and a prompt's words, with sine positions in both."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossLayer(width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, tokens: Tensor, token_mask: Tensor) -> Tensor:
        """Map x [B, D, H, W], words [B, L, D] and which are real [B, L] -> [B, D, H, W]."""
        _, width, *size = x.shape
        positions = sine_positions_2d(size[0], size[1], width).to(x)
        keys = tokens + sine_positions(tokens.shape[1], width).to(x)
        places = x.flatten(2).mT
        for layer in self.layers:
            places = layer(places, positions, keys, tokens, token_mask == 0)
        return self.norm(places).mT.unflatten(2, size)


class PromptFilter(nn.Module):
    """Enlarge the map fourfold and filter it with a 3×3 convolution whose weights and bias the prompt gives."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        half = width // 2
        self.enlarge = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            ConvNorm(width, width, 3),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            ConvNorm(width, half, 3),
            nn.Conv2d(half, half, 1),
        )
        self.to_filter = nn.Linear(embedding, half * 9 + 1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Map x [B, D, H, W], prompts' vectors [B, E] -> logits [B, 1, 4 H, 4 W]."""
        x, weights = self.enlarge(x), self.to_filter(state)
        batch, channels, height, width = x.shape
        # One group an image filters every image by its own prompt in a single convolution.
        kernels = weights[:, :-1].reshape(batch, channels, 3, 3)
        images = x.reshape(1, batch * channels, height, width)
        return F.conv2d(images, kernels, weights[:, -1], padding=1, groups=batch).transpose(0, 1)


class CRISSegmenter(Segmenter):
    """CLIP's towers, neck, decoder and prompt filter; the decoder is as wide as the text tower.

    Args:
        spec: Input contract; the longest prompt must fit ``text``.
        trunk: Sizes of the image encoder.
        text: Sizes of the text encoder.
        layers: Depth of the decoder.
        dropout: In the decoder.
    """

    def __init__(
        self, spec: EncoderSpec, trunk: ResNetConfig, text: ClipTextConfig, *, layers: int, dropout: float
    ) -> None:
        super().__init__(spec, ClipTokenizer(spec.context_length))
        self.trunk = ResNet(trunk)
        self.pool = AttentionPool(trunk)
        self.text = ClipTextEncoder(text)
        self.neck = Neck(trunk, text.width)
        self.decoder = CrossDecoder(text.width, layers, dropout)
        self.filter = PromptFilter(text.width, trunk.embedding)

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """What a CLIP archive holds: the trunk and its attention pool, or the text tower with its projection."""
        return [self.trunk, self.pool] if part == "image" else [self.text]

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Maps at strides 8, 16 and 32, and the last one after the attention pool."""
        _, c3, c4, deepest = self.trunk(pixel_values)
        return ImageFeatures(c3.new_zeros(len(c3), 0), (c3, c4, deepest, self.pool.keep_map(deepest)))

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """The projected end token [B, E] and all tokens before projection [B, L, D]."""
        tokens = self.text.encode_tokens(input_ids)
        return TextFeatures(self.text.project_end(tokens, input_ids), tokens, attention_mask)

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at the working resolution, to which the original enlarges its answer bicubically."""
        assert text.tokens is not None
        assert text.token_mask is not None
        fused = self.neck(image.taps, text.embedding)
        logits = self.filter(self.decoder(fused, text.tokens, text.token_mask), text.embedding)
        return MaskPrediction(F.interpolate(logits, scale_factor=4, mode="bicubic", align_corners=True))


@register_model
def cris(
    *,
    image_size: int = 416,
    trunk_width: int = 64,
    text_width: int = 512,
    text_layers: int = 12,
    decoder_layers: int = 3,
    dropout: float = 0.2,
) -> CRISSegmenter:
    """CRIS (Wang et al., 2022): CLIP ResNet-50 and a transformer decoder that looks at every word of the prompt.

    The benchmark counts a pixel as inside above probability 0.35, not 0.5.

    Args:
        image_size: Side the network works on, pixels; a multiple of 32 for the original's numbers.
        trunk_width: Channels of the image encoder's stem; the shared space is 16 times as wide.
        text_width: Width of the text tower and of the decoder, a multiple of 64.
        text_layers: Depth of the text tower.
        decoder_layers: Depth of the decoder.
        dropout: In the decoder.
    """
    trunk = ResNetConfig(width=trunk_width, embedding=16 * trunk_width)
    text = ClipTextConfig(text_width, text_layers, text_width // 64, trunk.embedding)
    spec = EncoderSpec(image_size, CLIP_MEAN, CLIP_STD, text.context_length)
    return CRISSegmenter(spec, trunk, text, layers=decoder_layers, dropout=dropout)
