"""pocket: the small text-prompted model the package carries.

An EfficientNet-Lite0 trunk and a U-Net decoder whose every stage is scaled and shifted by the prompt's sentence vector
(FiLM, Perez et al., 2018) and reweighted by channel attention (ECA, Wang et al., 2020). A head judges whether the
image shows what the prompt names at all; the mask's probability is the product of the two, so an absent object gets an
empty mask. The same trunk names slices: its pooled features are projected into the sentence space.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.attention import EfficientChannelAttention
from vesalius.models.bert import BertConfig, BertEncoder, mean_pool
from vesalius.models.efficientnet import EfficientNetLite0, global_averages
from vesalius.models.encoder import Part
from vesalius.models.existence import Existence
from vesalius.models.features import EncoderSpec, ImageFeatures, MaskPrediction, TextFeatures, joint_logits
from vesalius.models.film import FiLM
from vesalius.models.registry import register_model
from vesalius.models.segmenter import Segmenter
from vesalius.models.tokenizers import WordPieceTokenizer
from vesalius.models.vocabularies import read_bert

CONTEXT_LENGTH = 64


class PromptedBlock(nn.Module):
    """Two 3×3 convolutions; the prompt acts between them, channel attention after them."""

    def __init__(self, in_channels: int, channels: int, condition: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.mix_norm = nn.BatchNorm2d(channels)
        self.film = FiLM(condition, channels)
        self.refine = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.refine_norm = nn.BatchNorm2d(channels)
        self.attention = EfficientChannelAttention(channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map x [B, C, H, W], condition [B, E] -> [B, C', H, W]."""
        x = F.relu(self.film(self.mix_norm(self.mix(x)), condition))
        return self.attention(F.relu(self.refine_norm(self.refine(x))))


class PromptedDecoder(nn.Module):
    """From the deepest map upwards, joining the trunk's map of each resolution."""

    def __init__(self, taps: tuple[int, ...], widths: tuple[int, ...], condition: int) -> None:
        super().__init__()
        deepest, *skips = reversed(taps)
        inputs = [deepest, *(width + skip for width, skip in zip(widths, skips, strict=False))]
        self.blocks = nn.ModuleList(
            PromptedBlock(channels, width, condition) for channels, width in zip(inputs, widths, strict=True)
        )
        self.to_logits = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, taps: tuple[Tensor, ...], condition: Tensor) -> Tensor:
        """Maps from fine to coarse and condition [B, E] -> logits at the finest map's size."""
        deepest, *skips = reversed(taps)
        x = self.blocks[0](deepest, condition)
        for block, skip in zip(list(self.blocks)[1:], skips, strict=True):
            larger = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([larger, skip], dim=1), condition)
        logits: Tensor = self.to_logits(x).float()
        return logits


class SentenceProjection(nn.Module):
    """Pooled trunk features to the sentence space, for naming."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, pooled: Tensor) -> Tensor:
        """[B, C] -> unit vectors [B, E]."""
        return F.normalize(self.layers(pooled).float(), dim=-1)

    @staticmethod
    def pool(taps: tuple[Tensor, ...]) -> Tensor:
        """Means of the two deepest maps, [B, C]."""
        return global_averages(taps[-2:])


class PocketSegmenter(Segmenter):
    """See the module's description.

    Args:
        spec: Input contract.
        text: Sizes of the sentence encoder.
        widths: Channels of the decoder's stages, coarse to fine, one for each of the trunk's five maps.
        condition: Width of the vectors that steer the decoder and the existence score.
    """

    judges_existence = True

    def __init__(self, spec: EncoderSpec, text: BertConfig, widths: tuple[int, ...], condition: int) -> None:
        super().__init__(spec, WordPieceTokenizer(read_bert, spec.context_length))
        self.trunk = EfficientNetLite0()
        self.sentences = BertEncoder(text)
        self.to_condition = nn.Sequential(nn.Linear(text.width, condition), nn.GELU())
        self.decoder = PromptedDecoder(self.trunk.channels, widths, condition)
        self.existence = Existence(self.trunk.channels, text.width, condition)
        self.projection = SentenceProjection(sum(self.trunk.channels[-2:]), text.width)

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """The trunk, or the sentence encoder."""
        return [self.trunk] if part == "image" else [self.sentences]

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Taps at strides 2 to 32, and the unit vector in the sentence space."""
        return self._project(self._tap(pixel_values))

    def encode_frozen(self, images: Tensor) -> ImageFeatures:
        """The trunk's taps; the projection into the sentence space trains."""
        taps = self._tap(self.spec.prepare(images))
        return ImageFeatures(images.new_zeros(len(images), 0), taps)

    def complete(self, images: Tensor, frozen: ImageFeatures) -> ImageFeatures:
        """Add the unit vector in the sentence space."""
        return self._project(frozen.taps)

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Unit sentence vectors [B, 384]."""
        return TextFeatures(mean_pool(self.sentences(input_ids, attention_mask), attention_mask))

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at half the working resolution, and the existence score."""
        existence = self.existence(image.taps[-1], global_averages(image.taps), text.embedding)
        logits = self.decoder(image.taps, self.to_condition(text.embedding))
        return MaskPrediction(joint_logits(logits, existence), existence)

    def _tap(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        # The trunk is nearly all depthwise convolutions: on a CPU they run 1.5 times faster in this layout, and train
        # more slowly in bfloat16 than in float32, so automatic mixed precision is for the decoder alone there.
        pixels = pixel_values.contiguous(memory_format=torch.channels_last)
        with torch.autocast(pixels.device.type, enabled=pixels.is_cuda and torch.is_autocast_enabled("cuda")):
            return self.trunk(pixels)

    def _project(self, taps: tuple[Tensor, ...]) -> ImageFeatures:
        return ImageFeatures(self.projection(self.projection.pool(taps)), taps)


@register_model
def pocket(
    *, image_size: int = 256, text_width: int = 384, text_layers: int = 6, decoder_scale: int = 8, condition: int = 128
) -> PocketSegmenter:
    """Small text-prompted U-Net on EfficientNet-Lite0 and MiniLM-L6, carried by the package.

    Args:
        image_size: Side the network works on, pixels.
        text_width: Width of the sentence encoder.
        text_layers: Its depth.
        decoder_scale: Width of the decoder's unit; its stages are 24, 16, 12, 6 and 4 units wide.
        condition: Width of the vector that steers the decoder.
    """
    text = BertConfig(width=text_width, layers=text_layers, hidden=4 * text_width)
    widths = tuple(units * decoder_scale for units in (24, 16, 12, 6, 4))
    return PocketSegmenter(EncoderSpec(image_size, context_length=CONTEXT_LENGTH), text, widths, condition)
