"""CLIPSeg (Lüddecke & Ecker, CVPR 2022) on the layers of ``transformers``.

Deviations from ``transformers.CLIPSegForImageSegmentation``, whose numbers it otherwise equals (tested): the encoders
run under whatever gradients ``freeze`` chose, where the original wraps them in ``no_grad``; only the blocks up to the
last tap and the text tower run; unused parameters (the image projection and the logit scale) are left out.
"""

from torch import Tensor, nn
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from vesalius.models.features import EncoderSpec, ImageFeatures, MaskPrediction, TextFeatures
from vesalius.models.registry import register_model
from vesalius.models.segmenter import Part, Segmenter
from vesalius.models.tokenizers import ClipTokenizer


class CLIPSegmenter(Segmenter):
    """CLIP ViT-B/16 with a small transformer decoder that the text embedding steers by FiLM.

    Args:
        spec: Input contract.
        config: Sizes of both towers and of the decoder.
    """

    def __init__(self, spec: EncoderSpec, config: CLIPSegConfig) -> None:
        super().__init__(spec, ClipTokenizer(spec.context_length))
        whole = CLIPSegForImageSegmentation(config)
        vision = whole.clip.vision_model
        self.taps = tuple(config.extract_layers)
        self.vision_embeddings = vision.embeddings
        self.vision_norm = vision.pre_layrnorm
        self.vision_layers = vision.encoder.layers[: max(self.taps) + 1]
        self.text_model = whole.clip.text_model
        self.text_projection = whole.clip.text_projection
        self.decoder = whole.decoder

    def encoder_modules(self, part: Part) -> list[nn.Module]:
        """CLIP's vision tower, or its text tower with the projection."""
        if part == "image":
            return [self.vision_embeddings, self.vision_norm, self.vision_layers]
        return [self.text_model, self.text_projection]

    def encode_pixels(self, pixel_values: Tensor) -> ImageFeatures:
        """Outputs of the tapped blocks, each [B, 1 + N, D]."""
        x = self.vision_norm(self.vision_embeddings(pixel_values, interpolate_pos_encoding=True))
        taps = []
        for index, layer in enumerate(self.vision_layers):
            x = layer(x, attention_mask=None)
            if index in self.taps:
                taps.append(x)
        return ImageFeatures(x.new_zeros(len(x), 0), tuple(taps))

    def encode_tokens(self, input_ids: Tensor, attention_mask: Tensor) -> TextFeatures:
        """CLIP's projected text embedding [B, E]."""
        pooled = self.text_model(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return TextFeatures(self.text_projection(pooled))

    def decode(self, image: ImageFeatures, text: TextFeatures) -> MaskPrediction:
        """Logits at the working resolution."""
        logits = self.decoder(image.taps, text.embedding).logits
        return MaskPrediction(logits.reshape(len(text.embedding), 1, *logits.shape[-2:]))


@register_model
def clipseg(
    *,
    image_size: int = 352,
    vision_width: int = 768,
    vision_layers: int = 12,
    text_width: int = 512,
    text_layers: int = 12,
    reduce_dim: int = 64,
) -> CLIPSegmenter:
    """CLIPSeg (Lüddecke & Ecker, 2022): CLIP ViT-B/16 and a FiLM-conditioned transformer decoder.

    The defaults are those of ``CIDAS/clipseg-rd64-refined``.

    Args:
        image_size: Side the network works on, pixels; there is a position embedding for each of its patches.
        vision_width: Width of the vision tower.
        vision_layers: Its depth; taps lie after a third, a half and three quarters of 12 (blocks 4, 7, 10).
        text_width: Width of the text tower.
        text_layers: Its depth.
        reduce_dim: Width of the decoder.
    """
    config = CLIPSegConfig(
        vision_config={
            "patch_size": 16,
            "image_size": image_size,
            "hidden_size": vision_width,
            "intermediate_size": 4 * vision_width,
            "num_hidden_layers": vision_layers,
            "num_attention_heads": max(1, vision_width // 64),
        },
        text_config={
            "hidden_size": text_width,
            "intermediate_size": 4 * text_width,
            "num_hidden_layers": text_layers,
            "num_attention_heads": max(1, text_width // 64),
            "eos_token_id": 49407,
            "bos_token_id": 49406,
        },
        extract_layers=[layer for layer in (3, 6, 9) if layer < vision_layers],
        reduce_dim=reduce_dim,
        use_complex_transposed_convolution=True,
    )
    return CLIPSegmenter(EncoderSpec(image_size), config)
