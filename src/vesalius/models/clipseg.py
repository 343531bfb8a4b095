"""CLIPSeg (Lüddecke & Ecker, CVPR 2022): outputs of some vision blocks, decoded under the text embedding's direction.

Equal to ``transformers.CLIPSegForImageSegmentation`` (tested). The encoders run under whatever gradients ``freeze``
chose, where the original wraps them in ``no_grad``; blocks behind the last tap are not kept.
"""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.errors import ModelError
from vesalius.models.encoder import EncoderSpec, ImageFeatures, MaskPrediction, Part, Segmenter, TextFeatures
from vesalius.models.layers import LayerConfig, TransformerLayer
from vesalius.models.registry import register_model
from vesalius.models.tokenizers import ClipTokenizer, Tokenizer
from vesalius.models.towers import ClipTextConfig, ClipTextEncoder, VisionConfig, VisionTransformer

TAPS = (4, 7, 10)
"""Vision blocks whose outputs are decoded, counted from 1."""
DECODER_HEADS, DECODER_HIDDEN = 4, 2048


class TokenFiLM(nn.Module):
    """Scale and shift channels by a condition (Perez et al., 2018)."""

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Linear(condition, channels)
        self.shift = nn.Linear(condition, channels)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Map tokens [B, L, C], condition [B, E] -> [B, L, C]."""
        return tokens * self.scale(condition)[:, None] + self.shift(condition)[:, None]


class PatchUpsample(nn.ConvTranspose2d):
    """A transposed convolution whose kernel is its stride, computed as a linear layer at every place."""

    def __init__(self, in_channels: int, channels: int, side: int) -> None:
        super().__init__(in_channels, channels, side, stride=side)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # there is no choice of sizes
        """The patch of each place: [..., C] -> [..., side, side, C'], for the caller to put together."""
        assert self.bias is not None
        width, channels, side, _ = self.weight.shape
        linear = self.weight.permute(2, 3, 1, 0).reshape(-1, width)
        return F.linear(x, linear, self.bias.repeat(side * side)).unflatten(-1, (side, side, channels))


class MapHead(nn.Sequential):
    """Token maps to logits at sixteen times their size: a convolution and two transposed ones.

    Pixels are put in their places once, at the end, which takes less time than the convolutions would.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            PatchUpsample(channels, channels // 2, 4),
            nn.ReLU(),
            PatchUpsample(channels // 2, 1, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, h, w] -> [B, 1, 16h, 16w]."""
        smooth, rectify, coarse, _, fine = self.children()
        places = rectify(smooth(x)).permute(0, 2, 3, 1)
        pixels = fine(rectify(coarse(places)))  # [B, h, w, 4, 4, 4, 4, 1]
        rows_together: Tensor = pixels.permute(0, 7, 1, 3, 5, 2, 4, 6)
        return rows_together.flatten(5).flatten(2, 4)


class CLIPSegDecoder(nn.Module):
    """A transformer layer for each tap, from deep to shallow; the prompt acts before the first."""

    def __init__(self, taps: int, vision_width: int, condition: int, width: int) -> None:
        super().__init__()
        self.reduces = nn.ModuleList(nn.Linear(vision_width, width) for _ in range(taps))
        self.film = TokenFiLM(condition, width)
        layer = LayerConfig(width, DECODER_HEADS, DECODER_HIDDEN, "relu", norm_first=False)
        self.layers = nn.ModuleList(TransformerLayer(layer) for _ in range(taps))
        self.to_logits = MapHead(width)

    def forward(self, taps: tuple[Tensor, ...], condition: Tensor) -> Tensor:
        """Map taps [B, 1 + N, D] and condition [B, E] -> logits [B, 1, H, W] at 16 times the tokens' grid."""
        deepest, *others = reversed(taps)
        x = self.layers[0](self.film(self.reduces[0](deepest), condition))
        for tap, reduce, layer in zip(others, self.reduces[1:], self.layers[1:], strict=True):
            x = layer(reduce(tap) + x)
        return self.to_logits(tokens_to_map(x[:, 1:]))


def tokens_to_map(tokens: Tensor) -> Tensor:
    """Tokens of a square image to a map: [B, N, C] -> [B, C, √N, √N]."""
    side = math.isqrt(tokens.shape[1])
    return tokens.transpose(1, 2).unflatten(2, (side, side))


class CLIPSegmenter(Segmenter):
    """A vision transformer, a text encoder and ``CLIPSegDecoder``.

    Args:
        spec: Input contract.
        tokenizer: The text encoder's.
        vision: A tower that ends with the last tap.
        text: Token ids and mask [B, L] to one vector a prompt, [B, E].
        decoder: Takes as many taps, and vectors as wide.
        taps: Vision blocks to decode, counted from 1.

    Raises:
        ModelError: If a tap is no block.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        tokenizer: Tokenizer,
        vision: VisionTransformer,
        text: nn.Module,
        decoder: CLIPSegDecoder,
        taps: tuple[int, ...],
    ) -> None:
        super().__init__(spec, tokenizer)
        if min(taps) < 1:
            raise ModelError(f"taps are vision blocks counted from 1, got {taps}.")
        self.taps = taps
        self.vision = vision
        self.text = text
        self.decoder = decoder

    @property
    def token_count(self) -> int:
        """Tokens of an image at the working size, 1 + N."""
        return 1 + (self.spec.image_size // self.vision.patch_size) ** 2

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """The vision tower, or the text encoder with its projection."""
        return [self.vision] if part == "image" else [self.text]

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Outputs of the tapped blocks, each [B, 1 + N, D]."""
        outputs = self.vision(pixel_values)
        taps = tuple(outputs[block - 1] for block in self.taps)
        return ImageFeatures(pixel_values.new_zeros(len(pixel_values), 0), taps)

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """The projected text embedding [B, E]."""
        return TextFeatures(self.text(input_ids, attention_mask))

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at the working resolution."""
        return MaskPrediction(self.decoder(image.taps, text.embedding))


@register_model
def clipseg(
    *,
    image_size: int = 352,
    position_size: int = 224,
    taps: tuple[int, ...] = TAPS,
    vision_width: int = 768,
    text_width: int = 512,
    text_layers: int = 12,
    decoder_width: int = 64,
) -> CLIPSegmenter:
    """CLIPSeg (Lüddecke & Ecker, 2022): CLIP ViT-B/16 and a FiLM-conditioned transformer decoder.

    The defaults are those of ``CIDAS/clipseg-rd64-refined``.

    Args:
        image_size: Side the network works on, pixels.
        position_size: Side that the position embeddings were made for; they are stretched to ``image_size``.
        taps: Vision blocks whose outputs are decoded, counted from 1; the tower ends with the last.
        vision_width: Width of the vision tower.
        text_width: Width of the text tower and of the embedding.
        text_layers: Its depth.
        decoder_width: Width of the decoder.
    """
    text = ClipTextConfig(text_width, text_layers, max(1, text_width // 64), text_width)
    vision = VisionConfig(position_size, width=vision_width, layers=max(taps), heads=max(1, vision_width // 64))
    return CLIPSegmenter(
        EncoderSpec(image_size),
        ClipTokenizer(text.context_length),
        VisionTransformer(vision),
        ClipTextEncoder(text),
        CLIPSegDecoder(len(taps), vision_width, text_width, decoder_width),
        taps,
    )
