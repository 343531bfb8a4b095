"""VLSM-Ensemble (Dietlmeier et al., MIDL 2025): fusions A and B of a CLIP segmenter with a U-Net, and Ensemble-C.

An adapter turns the segmenter's taps into a map that joins the U-Net at its bottleneck. The U-Net's logits are merged
with a map of the branch, and the result with the segmenter's own logits. A and B differ in the adapter and in the map.
The released adapter of B runs over the first images of a batch instead of the taps; ours over the taps of each image.

Every segmenter keeps its own size, normalisation and tokenizer; the released code feeds one's token ids to the other.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.biomedclip import biomedclipseg
from vesalius.models.clipseg import CLIPSegmenter, MapHead, TokenFiLM, clipseg, tokens_to_map
from vesalius.models.encoder import EncoderSpec, ImageFeatures, MaskPrediction, Part, Segmenter, TextFeatures, resize
from vesalius.models.registry import Option, register_model
from vesalius.models.tokenizers import JointTokenizer
from vesalius.models.unet import UNet

ADAPTER_WIDTH = 128
ADAPTER_HEADS = 4


class LogitMerge(nn.Module):
    """A learned weighted sum of logit maps: a convolution of one pixel that starts as their mean."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, maps, 1, 1), 1 / maps))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, *logits: Tensor) -> Tensor:
        """Maps [B, 1, H, W] -> [B, 1, H, W]."""
        return F.conv2d(torch.cat(logits, dim=1), self.weight, self.bias)


class TokensToMap(nn.Module):
    """Tokens to a map, every place a learned mixture of all tokens, class token included."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.mix = nn.Linear(tokens, tokens - 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1 + N, C] -> [B, C, √N, √N]."""
        return tokens_to_map(self.mix(x.transpose(1, 2)).transpose(1, 2))


class FirstTapAdapter(nn.Module):
    """DA1, of BiomedCLIPSeg-A: the shallowest tap, steered by the prompt."""

    def __init__(self, branch: CLIPSegmenter) -> None:
        super().__init__()
        self.reduce = nn.Linear(branch.vision.width, ADAPTER_WIDTH)
        self.film = TokenFiLM(branch.decoder.film.scale.in_features, ADAPTER_WIDTH)
        self.to_map = TokensToMap(branch.token_count)

    def forward(self, taps: tuple[Tensor, ...], condition: Tensor) -> Tensor:
        """Taps [B, 1 + N, D] and condition [B, E] -> [B, 128, √N, √N]."""
        return self.to_map(self.film(self.reduce(taps[0]), condition))


class AllTapsAdapter(nn.Module):
    """DA2, of CLIPSeg-B: a running sum over the taps, a transformer layer after each; the prompt acts at the first."""

    def __init__(self, branch: CLIPSegmenter) -> None:
        super().__init__()
        self.reduces = nn.ModuleList(nn.Linear(branch.vision.width, ADAPTER_WIDTH) for _ in branch.taps)
        self.film = TokenFiLM(branch.decoder.film.scale.in_features, ADAPTER_WIDTH)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(ADAPTER_WIDTH, ADAPTER_HEADS, batch_first=True) for _ in branch.taps
        )
        self.to_map = TokensToMap(branch.token_count)

    def forward(self, taps: tuple[Tensor, ...], condition: Tensor) -> Tensor:
        """Taps [B, 1 + N, D] and condition [B, E] -> [B, 128, √N, √N]."""
        x = self.layers[0](self.film(self.reduces[0](taps[0]), condition))
        for tap, reduce, layer in zip(taps[1:], self.reduces[1:], self.layers[1:], strict=True):
            x = layer(reduce(tap) + x)
        return self.to_map(x)


class FusedSegmenter(Segmenter):
    """A CLIP segmenter and a U-Net, decoded together.

    Args:
        branch: The CLIP segmenter; its tokenizer and input contract are the whole's.
        adapter: Taps and condition to the map that joins the U-Net.
        branch_map: What turns that map into logits to merge with the U-Net's; None merges the branch's own logits.
    """

    def __init__(self, branch: CLIPSegmenter, adapter: nn.Module, branch_map: nn.Module | None) -> None:
        super().__init__(branch.spec, branch.tokenizer)
        self.branch = branch
        self.adapter = adapter
        self.branch_map = branch_map
        self.unet = UNet(extra=ADAPTER_WIDTH)
        self.merge_unet = LogitMerge(2)
        self.merge_branch = LogitMerge(2)

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """The branch's; the U-Net always trains."""
        return self.branch.encoder_modules(part)

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """The U-Net's maps; the branch's features as a part."""
        branch = self.branch.encode_pixels(pixel_values)
        return ImageFeatures(branch.embedding, self.unet.encode(pixel_values), (branch,))

    @property
    def completes_with_images(self) -> bool:
        """The U-Net trains, and sees them."""
        return True

    def encode_frozen(self, images: Tensor) -> ImageFeatures:
        """The branch's features, as a part."""
        branch = self.branch.encode_image(images)
        return ImageFeatures(branch.embedding, (), (branch,))

    def complete(self, images: Tensor, frozen: ImageFeatures) -> ImageFeatures:
        """Add the U-Net's maps."""
        return ImageFeatures(frozen.embedding, self.unet.encode(self.spec.prepare(images)), frozen.parts)

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """The branch's text embedding [B, E]."""
        return self.branch.encode_tokens(input_ids, attention_mask)

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at the working resolution."""
        (picture,) = image.parts
        branch = self.branch.decode(picture, text).logits
        adapted = self.adapter(picture.taps, text.embedding)
        guide = branch if self.branch_map is None else self.branch_map(adapted)
        fused = self.merge_unet(guide, self.unet.decode(image.taps, adapted))
        return MaskPrediction(self.merge_branch(branch, fused))


@register_model
def biomedclipseg_a(**options: Option) -> FusedSegmenter:
    """BiomedCLIPSeg-A (Dietlmeier et al., 2025): BiomedCLIPSeg whose first tap guides a U-Net.

    Args:
        **options: Those of ``biomedclipseg``.
    """
    branch = biomedclipseg(**options)  # type: ignore[arg-type]  # checked when called
    return FusedSegmenter(branch, FirstTapAdapter(branch), MapHead(ADAPTER_WIDTH))


@register_model
def clipseg_b(**options: Option) -> FusedSegmenter:
    """CLIPSeg-B (Dietlmeier et al., 2025): CLIPSeg whose taps together guide a U-Net.

    Args:
        **options: Those of ``clipseg``.
    """
    branch = clipseg(**options)  # type: ignore[arg-type]  # checked when called
    return FusedSegmenter(branch, AllTapsAdapter(branch), branch_map=None)


class EnsembleSegmenter(Segmenter):
    """Segmenters behind one contract.

    Its "pixel values" are RGB in [0, 1], which each member resizes and normalises in its own way, and its token ids
    [B, M, L] are those of its M members.

    Args:
        members: The largest working size is the ensemble's.
    """

    def __init__(self, members: Sequence[Segmenter]) -> None:
        size = max(member.spec.image_size for member in members)
        longest = max(member.spec.context_length for member in members)
        tokenizer = JointTokenizer([member.tokenizer for member in members])
        super().__init__(EncoderSpec(size, (0, 0, 0), (1, 1, 1), longest), tokenizer)
        self.members = nn.ModuleList(members)
        self.merge = LogitMerge(len(members))

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """All members' encoders."""
        return [module for member in self._members() for module in member.encoder_modules(part)]

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """RGB [B, 3, H, W] in [0, 1] to features; each member shrinks the original, not what another shrank."""
        return self.encode_pixels(images)

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """The members' features of RGB in [0, 1]."""
        return self._join(pixel_values, [member.encode_image(pixel_values) for member in self._members()])

    @property
    def completes_with_images(self) -> bool:
        """Whether a member does."""
        return any(member.completes_with_images for member in self._members())

    def encode_frozen(self, images: Tensor) -> ImageFeatures:
        """Features of each member's frozen encoder."""
        return self._join(images, [member.encode_frozen(images) for member in self._members()])

    def complete(self, images: Tensor, frozen: ImageFeatures) -> ImageFeatures:
        """Member by member."""
        pairs = zip(self._members(), frozen.parts, strict=True)
        return self._join(images, [member.complete(images, part) for member, part in pairs])

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """The members' features of ids and mask [B, M, L]."""
        rows = zip(self._members(), input_ids.unbind(1), attention_mask.unbind(1), strict=True)
        parts = tuple(member.encode_tokens(ids, mask) for member, ids, mask in rows)
        return TextFeatures(parts[0].embedding.new_zeros(len(input_ids), 0), parts=parts)

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at the ensemble's working resolution."""
        size = (self.spec.image_size, self.spec.image_size)
        answers = zip(self._members(), image.parts, text.parts, strict=True)
        logits = [resize(member.decode(picture, prompt).logits, size) for member, picture, prompt in answers]
        return MaskPrediction(self.merge(*logits))

    @staticmethod
    def _join(images: Tensor, parts: Sequence[ImageFeatures]) -> ImageFeatures:
        return ImageFeatures(images.new_zeros(len(images), 0), (), tuple(parts))

    def _members(self) -> list[Segmenter]:
        return [member for member in self.members if isinstance(member, Segmenter)]


@register_model
def ensemble_c(*, a: Mapping[str, Option] | None = None, b: Mapping[str, Option] | None = None) -> EnsembleSegmenter:
    """Ensemble-C (Dietlmeier et al., 2025): BiomedCLIPSeg-A and CLIPSeg-B side by side.

    Args:
        a: Options of ``biomedclipseg_a``.
        b: Options of ``clipseg_b``.
    """
    return EnsembleSegmenter([biomedclipseg_a(**(a or {})), clipseg_b(**(b or {}))])
