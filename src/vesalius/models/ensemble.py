"""Ensemble-C (Dietlmeier et al., MIDL 2025): segmenters side by side, their logits merged by a learned sum.

Every segmenter keeps its own size, normalisation and tokenizer; the released code feeds one's token ids to the other.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from vesalius.models.encoder import Part
from vesalius.models.features import EncoderSpec, ImageFeatures, MaskPrediction, TextFeatures, resize
from vesalius.models.fusion import LogitMerge, biomedclipseg_a, clipseg_b
from vesalius.models.recipe import Option
from vesalius.models.registry import register_model
from vesalius.models.segmenter import Segmenter
from vesalius.models.tokenizers import JointTokenizer


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
        """Where a member does."""
        return any(member.completes_with_images for member in self._members())

    def encode_frozen(self, images: Tensor) -> ImageFeatures:
        """What each member's frozen encoder knows."""
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
