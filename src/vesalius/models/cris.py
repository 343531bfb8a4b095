"""CRIS (Wang et al., CVPR 2022): CLIP's ResNet-50, a neck gated by the prompt, and a decoder that looks at its words.

Deviations from the benchmark's code (Poudel et al., 2024), whose numbers it otherwise equals (tested): padding is what
the attention mask says rather than id 0, and the shortcut around the attention pool is never frozen (see ``Neck``).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.clip_text import ClipTextConfig, ClipTextEncoder
from vesalius.models.cris_decoder import CrossDecoder, PromptFilter
from vesalius.models.cris_neck import Neck
from vesalius.models.encoder import Part
from vesalius.models.features import CLIP_MEAN, CLIP_STD, EncoderSpec, ImageFeatures, MaskPrediction, TextFeatures
from vesalius.models.registry import register_model
from vesalius.models.resnet import AttentionPool, ResNet, ResNetConfig
from vesalius.models.segmenter import Segmenter
from vesalius.models.tokenizers import ClipTokenizer


class CRISSegmenter(Segmenter):
    """See the module's description. The decoder is as wide as the text tower.

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
