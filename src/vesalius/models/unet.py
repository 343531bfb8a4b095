"""UNet-D: the VLSM-Ensemble paper's plain U-Net with channel attention (Dietlmeier et al., MIDL 2025).

It reads no text; the paper trains it alone as a baseline and beside CLIP decoders. Each decoder stage applies one
3×3 convolution twice, sharing its weights, as the released code does.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.encoder import EncoderSpec, ImageFeatures, MaskPrediction, Part, Segmenter, TextFeatures, resize
from vesalius.models.registry import register_model
from vesalius.models.tokenizers import NoTokenizer


class EfficientChannelAttention(nn.Module):
    """Scale every channel by a weight computed from its own mean and its neighbours'.

    The 1-D kernel grows with the channel count C: the odd number at or above |(log2 C + 1) / 2|, rounded down first.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        size = int(abs((math.log2(channels) + 1) / 2))
        kernel = size if size % 2 else size + 1
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        means = x.mean(dim=(2, 3))[:, None]
        return x * torch.sigmoid(self.conv(means)).squeeze(1)[:, :, None, None]


ENCODER_WIDTHS = (3, 64, 128, 256, 512)
BOTTLENECK = 1240
DECODER_WIDTHS = ((1240, 546, 256), (802, 182, 128), (310, 91, 64), (155, 45, 0))
"""Channels of each stage: in, out, and of the encoder map joined afterwards."""
STRIDE = 16


class EncoderStage(nn.Sequential):
    """Two 3×3 convolutions without an activation between them, batch norm, ReLU, dropout and pooling."""

    def __init__(self, in_channels: int, channels: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.MaxPool2d(2),
        )


class DecoderStage(nn.Module):
    """Double the resolution, then one 3×3 convolution applied twice, batch norm and ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, channels, 2, stride=2)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', 2H, 2W]."""
        x = self.conv(self.conv(self.up(x)))
        return F.relu(self.norm(x))


class UNet(nn.Module):
    """The network itself: normalised pixels [B, 3, H, W] to logits [B, 1, H, W], H and W multiples of 16.

    Args:
        dropout: After each encoder stage.
        extra: Channels of what others add at the bottleneck.
    """

    def __init__(self, dropout: float = 0.1, *, extra: int = 0) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(EncoderStage(a, b, dropout) for a, b in pairwise(ENCODER_WIDTHS))
        self.bottleneck = nn.Conv2d(extra + ENCODER_WIDTHS[-1], BOTTLENECK, 1)
        self.attention = EfficientChannelAttention(BOTTLENECK)
        self.decoder = nn.ModuleList(DecoderStage(a, b) for a, b, _ in DECODER_WIDTHS)
        self.to_logits = nn.Conv2d(DECODER_WIDTHS[-1][1], 1, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps at strides 2, 4, 8 and 16."""
        maps = []
        for stage in self.encoder:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def decode(self, maps: tuple[Tensor, ...], extra: Tensor | None = None) -> Tensor:
        """Logits at twice the finest map's size.

        Args:
            maps: What ``encode`` gave.
            extra: Joined to the deepest map, [B, extra, h, w].
        """
        *skips, x = maps
        x = x if extra is None else torch.cat([extra, x], dim=1)
        x = self.attention(self.bottleneck(x))
        for stage in self.decoder:
            x = stage(x)
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
        logits: Tensor = self.to_logits(x)
        return logits


class UNetSegmenter(Segmenter):
    """``UNet`` behind the segmenters' contract; the prompt is accepted and cannot matter."""

    reads_text = False

    def __init__(self, spec: EncoderSpec, dropout: float) -> None:
        super().__init__(spec, NoTokenizer())
        self.unet = UNet(dropout)

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """None: the paper's frozen encoders are CLIP's, and the U-Net always trains whole."""
        return []

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Maps at strides 2 to 16; sides that are no multiple of 16 are stretched to the next one."""
        height, width = (math.ceil(side / STRIDE) * STRIDE for side in pixel_values.shape[-2:])
        maps = self.unet.encode(resize(pixel_values, (height, width)))
        return ImageFeatures(pixel_values.new_zeros(len(pixel_values), 0), maps)

    @property
    def completes_with_images(self) -> bool:
        """All of it trains."""
        return True

    def encode_frozen(self, images: Tensor) -> ImageFeatures:
        """Nothing: no encoder is ever frozen."""
        return ImageFeatures(images.new_zeros(len(images), 0), ())

    def complete(self, images: Tensor, frozen: ImageFeatures) -> ImageFeatures:
        """Everything."""
        return self.encode_image(images)

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Nothing: [B, 0]."""
        return TextFeatures(torch.zeros(len(input_ids), 0, device=input_ids.device))

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at the working resolution."""
        return MaskPrediction(self.unet.decode(image.taps))


@register_model
def unet_d(*, image_size: int = 352, dropout: float = 0.1) -> UNetSegmenter:
    """UNet-D (Dietlmeier et al., 2025): 11.8 M parameter U-Net with channel attention that reads no text.

    Args:
        image_size: Side the network works on, a multiple of 16; 352 is the size of the CLIPSeg it is paired with.
        dropout: After each encoder stage.
    """
    return UNetSegmenter(EncoderSpec(image_size), dropout)
