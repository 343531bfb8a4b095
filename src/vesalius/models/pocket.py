"""pocket: the small text-prompted model the package carries.

An EfficientNet-Lite trunk and a U-Net decoder that knows nothing of prompts draw maps of an image once. Each phrase
then costs little: its sentence vector scales and shifts a coarse map (FiLM, Perez et al., 2018), and makes the filters
(as CondInst's, Tian et al., 2020) that read the outline off the finest map, steered by the coarse one. A score judges
whether the image shows what the phrase names at all; the mask's probability is the product of the two, so an absent
object gets an empty mask. The same trunk names slices: its pooled features are projected into the sentence space.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.efficientnet import EfficientNetLite, global_averages, global_deviations
from vesalius.models.encoder import (
    EncoderSpec,
    ImageFeatures,
    MaskPrediction,
    Part,
    Segmenter,
    TextFeatures,
    joint_logits,
)
from vesalius.models.layers import ConvNorm, FiLM, resize_like
from vesalius.models.registry import register_model
from vesalius.models.tokenizers import WordPieceTokenizer, read_bert
from vesalius.models.towers import BertConfig, BertEncoder, mean_pool

CONTEXT_LENGTH = 64
"""Longest prompt, tokens."""
PEAK_SHARE = 0.02
"""Share of a coarse outline's cells, the highest logits, whose mean goes into the existence score."""


class SteadyNorm(nn.BatchNorm1d):
    """Batch norm of vectors; a batch of one, which has no variance, is normalised by the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C] -> [B, C]."""
        if self.training and len(x) > 1:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


class ExistenceEvidence(nn.Module):
    """Features of an image for the existence score, whatever the prompt; computed once an image.

    Gradients stop here, so that the score does not change the trunk and the outlines; trained together, each made the
    other worse (docs/architecture.md).

    Args:
        channels: Widths of all maps of the trunk, the deepest last.
        width: C of the returned features.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.BatchNorm2d(channels[-1], affine=False), nn.Conv2d(channels[-1], width, 1))
        self.middle = nn.Sequential(nn.BatchNorm2d(channels[-2], affine=False), nn.Conv2d(channels[-2], width, 1))
        self.scene = nn.Sequential(SteadyNorm(sum(channels), affine=False), nn.Linear(sum(channels), width), nn.GELU())

    def forward(self, taps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of the trunk -> [B, C, H, W] at strides 32 and 16, and the scene as a whole [B, C]."""
        still = tuple(tap.detach() for tap in taps)
        scene: Tensor = self.scene(global_averages(still))
        return self.deep(still[-1]), self.middle(still[-2]), scene


class Existence(nn.Module):
    """Log-odds that an image shows what a prompt names, from evidence, sentence vector and coarse outline.

    Args:
        sentence: E of the sentence vectors, which are of unit length.
        width: C of the evidence.
    """

    def __init__(self, sentence: int, width: int) -> None:
        super().__init__()
        self.to_condition = nn.Sequential(nn.Linear(sentence, width), nn.GELU())
        self.deep_film = FiLM(width, width)
        self.middle_film = FiLM(width, width)
        self.outline_norm = SteadyNorm(3)
        self.judge = nn.Sequential(nn.Linear(6 * width + 3, 2 * width), nn.ReLU(), nn.Linear(2 * width, 1))
        self.prior = nn.Linear(sentence, 1, bias=False)
        """Term of the words alone, by which calibration shifts the score of each target."""
        nn.init.zeros_(self.prior.weight)

    def forward(self, deep: Tensor, middle: Tensor, scene: Tensor, outline: Tensor, sentence: Tensor) -> Tensor:
        """Evidence of B images, coarse outlines' logits [B, 1, h, w] and sentences [B, E] -> [B]."""
        condition = self.to_condition(sentence * sentence.shape[1] ** 0.5)  # entries of about 1
        seen = [scene, condition]
        for film, evidence in ((self.deep_film, deep), (self.middle_film, middle)):
            x = F.relu(film(evidence, condition))
            seen += [x.mean(dim=(2, 3)), x.amax(dim=(2, 3))]
        seen.append(self.outline_norm(_describe(outline.detach())))
        found: Tensor = (self.judge(torch.cat(seen, dim=1)) + self.prior(sentence)).squeeze(1).float()
        return found


def _describe(outline: Tensor) -> Tensor:
    """Logits [B, 1, h, w] -> highest, mean of the highest few, share of the area, [B, 3]."""
    cells = outline.flatten(1).float()
    few = max(1, int(PEAK_SHARE * cells.shape[1]))
    highest = cells.topk(few, dim=1).values
    return torch.stack([highest[:, 0], highest.mean(dim=1), cells.sigmoid().mean(dim=1)], dim=1)


class PixelDecoder(nn.Module):
    """From the deepest map upwards, joining the trunk's map of each resolution; the same for every prompt.

    Args:
        taps: Widths of the trunk's maps, fine to coarse.
        widths: Of this decoder's, coarse to fine.
    """

    def __init__(self, taps: tuple[int, ...], widths: tuple[int, ...]) -> None:
        super().__init__()
        deepest, *skips = reversed(taps)
        inputs = [deepest, *(width + skip for width, skip in zip(widths, skips, strict=False))]
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvNorm(channels, width, 3), ConvNorm(width, width, 3))
            for channels, width in zip(inputs, widths, strict=True)
        )

    def forward(self, taps: tuple[Tensor, ...]) -> list[Tensor]:
        """The trunk's maps, fine to coarse -> maps coarse to fine, each at its tap's size."""
        deepest, *skips = reversed(taps)
        maps = [self.blocks[0](deepest)]
        for block, skip in zip(list(self.blocks)[1:], skips, strict=True):
            larger = resize_like(maps[-1], skip)
            maps.append(block(torch.cat([larger, skip], dim=1)))
        return maps


class PromptedOutline(nn.Module):
    """Outline of what a phrase names, from the decoder's maps.

    Args:
        coarse: Width of the map at stride 16.
        middle: Width of the map at stride 8.
        fine: Width of the map at stride 2.
        hidden: Channels that the phrase's filters make of the finest map.
        condition: Width of the vector that steers.
    """

    def __init__(self, *, coarse: int, middle: int, fine: int, hidden: int, condition: int) -> None:
        super().__init__()
        self.fine, self.hidden = fine, hidden
        self.coarse_film = FiLM(condition, coarse)
        self.from_coarse = ConvNorm(coarse, middle, 3)
        self.middle_film = FiLM(condition, middle)
        self.from_middle = ConvNorm(middle, middle, 3)
        self.to_coarse_logits = nn.Conv2d(middle, 1, 1)
        self.steer = nn.Conv2d(middle, hidden, 1)
        self.to_filters = nn.Linear(condition, hidden * fine + 2 * hidden + 1)
        nn.init.normal_(self.to_filters.weight, std=0.02)
        nn.init.normal_(self.to_filters.bias, std=fine**-0.5)

    def forward(self, coarse: Tensor, middle: Tensor, fine: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of B images, condition [B, E] -> logits [B, 1, H, W] at stride 2, and coarse ones at stride 8."""
        x = self.from_coarse(F.relu(self.coarse_film(coarse, condition)))
        x = self.from_middle(F.relu(self.middle_film(resize_like(x, middle) + middle, condition)))
        coarse_logits: Tensor = self.to_coarse_logits(x)
        filters = self.to_filters(condition)
        sizes = (self.hidden * self.fine, self.hidden, self.hidden, 1)
        first, first_bias, second, second_bias = filters.split(sizes, dim=1)
        cells = fine.flatten(2)
        seen = torch.bmm(first.unflatten(1, (self.hidden, self.fine)), cells) + first_bias[:, :, None]
        seen = F.relu(seen.unflatten(2, fine.shape[-2:]) + resize_like(self.steer(x), fine))
        logits = torch.bmm(second[:, None], seen.flatten(2)) + second_bias[:, :, None]
        drawn = logits.unflatten(2, fine.shape[-2:]) + resize_like(coarse_logits, fine)
        return drawn.float(), coarse_logits.float()


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
        """Means and standard deviations of all maps, [B, C]: the shallow ones tell CT from MR, and planes apart."""
        return torch.cat([global_averages(taps), global_deviations(taps)], dim=1)


class PocketSegmenter(Segmenter):
    """Trunk, sentence encoder, pixel decoder, prompted outline, existence score and projection for naming.

    Args:
        spec: Input contract.
        text: Sizes of the sentence encoder.
        trunk: Variant of EfficientNet-Lite, 0 to 2.
        unit: The decoder's maps are 24, 16, 12, 8 and 4 of it wide, coarse to fine.
        condition: Width of the vectors that steer outlines and the existence score.
    """

    judges_existence = True

    def __init__(self, spec: EncoderSpec, text: BertConfig, *, trunk: int, unit: int, condition: int) -> None:
        super().__init__(spec, WordPieceTokenizer(read_bert, spec.context_length))
        self.trunk = EfficientNetLite(trunk)
        self.sentences = BertEncoder(text)
        widths = (24 * unit, 16 * unit, 12 * unit, 8 * unit, 4 * unit)
        coarse, middle = 12 * unit, 8 * unit
        self.decoder = PixelDecoder(self.trunk.channels, widths)
        self.to_coarse = nn.Conv2d(widths[1], coarse, 1)
        self.to_middle = nn.Conv2d(widths[2], middle, 1)
        self.to_condition = nn.Sequential(nn.Linear(text.width, condition), nn.GELU())
        self.outline = PromptedOutline(
            coarse=coarse, middle=middle, fine=widths[-1], hidden=2 * unit, condition=condition
        )
        self.evidence = ExistenceEvidence(self.trunk.channels, condition)
        self.existence = Existence(text.width, condition)
        self.projection = SentenceProjection(2 * sum(self.trunk.channels), text.width)

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """The trunk, or the sentence encoder."""
        return [self.trunk] if part == "image" else [self.sentences]

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """All that an image gives whatever the prompt: maps for the outline, evidence, its vector for naming."""
        return self._draw(self._tap(pixel_values))

    def encode_frozen(self, images: Tensor) -> ImageFeatures:
        """The trunk's maps; all after them trains."""
        taps = self._tap(self.spec.prepare(images))
        return ImageFeatures(images.new_zeros(len(images), 0), taps)

    def complete(self, images: Tensor, frozen: ImageFeatures) -> ImageFeatures:
        """Draw the decoder's maps from the trunk's."""
        return self._draw(frozen.taps)

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """Unit sentence vectors [B, 384]."""
        return TextFeatures(mean_pool(self.sentences(input_ids, attention_mask), attention_mask))

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at half the working resolution, and the existence score."""
        logits, _, existence = self.outline_and_judge(image, text)
        return MaskPrediction(joint_logits(logits, existence), existence)

    def outline_and_judge(self, image: ImageFeatures, text: TextFeatures) -> tuple[Tensor, Tensor, Tensor]:
        """What ``decode`` joins, for training: outlines [B, 1, H, W], coarse ones [B, 1, h, w], existence [B]."""
        coarse, middle, fine, deep_evidence, middle_evidence, scene = image.taps
        logits, coarse_logits = self.outline(coarse, middle, fine, self.to_condition(text.embedding))
        existence = self.existence(deep_evidence, middle_evidence, scene, coarse_logits, text.embedding)
        return logits, coarse_logits, existence

    def _tap(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        # The trunk is nearly all depthwise convolutions: on a CPU they run 1.5 times faster in this layout, and train
        # more slowly in bfloat16 than in float32, so automatic mixed precision is for the decoder alone there.
        pixels = pixel_values.contiguous(memory_format=torch.channels_last)
        with torch.autocast(pixels.device.type, enabled=pixels.is_cuda and torch.is_autocast_enabled("cuda")):
            return self.trunk(pixels)

    def _draw(self, taps: tuple[Tensor, ...]) -> ImageFeatures:
        _, coarse, middle, _, fine = self.decoder(taps)
        vector = self.projection(self.projection.pool(tuple(tap.detach() for tap in taps)))
        return ImageFeatures(vector, (self.to_coarse(coarse), self.to_middle(middle), fine, *self.evidence(taps)))


@register_model
def pocket(
    *,
    image_size: int = 320,
    trunk: int = 2,
    text_width: int = 384,
    text_layers: int = 6,
    decoder_scale: int = 8,
    condition: int = 256,
) -> PocketSegmenter:
    """Small text-prompted U-Net on EfficientNet-Lite and MiniLM-L6, carried by the package.

    Args:
        image_size: Side the network works on, pixels.
        trunk: Variant of EfficientNet-Lite: 0, 1 or 2.
        text_width: Width of the sentence encoder.
        text_layers: Its depth.
        decoder_scale: Width of the decoder's unit; its stages are 24, 16, 12, 8 and 4 units wide.
        condition: Width of the vectors that steer the outline and the existence score.
    """
    text = BertConfig(width=text_width, layers=text_layers, hidden=4 * text_width)
    spec = EncoderSpec(image_size, context_length=CONTEXT_LENGTH)
    return PocketSegmenter(spec, text, trunk=trunk, unit=decoder_scale, condition=condition)
