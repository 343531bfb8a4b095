"""BiomedCLIP (Zhang et al., 2023) and BiomedCLIPSeg (Poudel et al., MIDL 2024), its towers under CLIPSeg's decoder.

The vision tower is timm's ViT-B/16, the text tower PubMedBERT read at its first token and projected by a small MLP.
The benchmark's BiomedCLIPSeg taps one block later than CLIPSeg; ``taps`` says it here, (5, 8, 11) for its checkpoints.
"""

from torch import Tensor, nn

from vesalius.errors import ModelError, unknown_name
from vesalius.models.clip import ClassTokenTower, ContrastiveEncoder
from vesalius.models.clipseg import TAPS, CLIPSegDecoder, CLIPSegmenter
from vesalius.models.encoder import CLIP_MEAN, CLIP_STD, EncoderSpec
from vesalius.models.registry import Option, register_model
from vesalius.models.tokenizers import VOCABULARIES, VocabularyName, WordPieceTokenizer
from vesalius.models.towers import BertConfig, BertEncoder, VisionConfig, VisionTransformer

CONTEXT_LENGTH = 256
POSITION_SIZE = 224
"""Side of the images that the position embeddings were made for, pixels."""
EPSILON = 1e-6
"""Layer-norm epsilon of timm's ViT."""


class BiomedTextEncoder(nn.Module):
    """BERT read at the first token, and a two-layer projection without biases."""

    def __init__(self, config: BertConfig, embedding: int) -> None:
        super().__init__()
        self.bert = BertEncoder(config)
        between = (config.width + embedding) // 2
        self.projection = nn.Sequential(
            nn.Linear(config.width, between, bias=False), nn.GELU(), nn.Linear(between, embedding, bias=False)
        )

    @property
    def tokens(self) -> nn.Embedding:
        """The table of tokens, as in CLIP's tower."""
        return self.bert.tokens

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask [B, L] -> one vector a prompt, [B, E]."""
        return self.projection(self.bert(input_ids, attention_mask)[:, 0])


@register_model
def biomedclip(
    *,
    image_size: int = 224,
    width: int = 768,
    layers: int = 12,
    embedding: int = 512,
    vocabulary: VocabularyName = "pubmedbert",
) -> ContrastiveEncoder:
    """BiomedCLIP (Zhang et al., 2023): ViT-B/16 and PubMedBERT, trained on 15 million biomedical figures.

    Args:
        image_size: Side the network works on, pixels.
        width: Width of both towers.
        layers: Their depth.
        embedding: Width of the space they share.
        vocabulary: "pubmedbert", which the published weights need, or "bert", which the package carries.
    """
    spec = _spec(image_size)
    return ContrastiveEncoder(
        spec,
        _tokenizer(vocabulary, spec),
        ClassTokenTower(_vision(image_size, width, layers), embedding),
        BiomedTextEncoder(_text(width, layers), embedding),
    )


@register_model
def biomedclipseg(
    *,
    image_size: int = 224,
    taps: tuple[int, ...] = TAPS,
    width: int = 768,
    text_layers: int = 12,
    embedding: int = 512,
    decoder_width: int = 64,
    vocabulary: VocabularyName = "pubmedbert",
) -> CLIPSegmenter:
    """BiomedCLIPSeg (Poudel et al., 2024): BiomedCLIP's towers under CLIPSeg's decoder, which starts untrained.

    Args:
        image_size: Side the network works on, pixels; position embeddings are stretched to it.
        taps: Vision blocks whose outputs are decoded, counted from 1; the tower ends with the last.
        width: Width of both towers.
        text_layers: Depth of the text tower.
        embedding: Width of the text embedding.
        decoder_width: Width of the decoder.
        vocabulary: "pubmedbert", which the published weights need, or "bert", which the package carries.
    """
    spec = _spec(image_size)
    return CLIPSegmenter(
        spec,
        _tokenizer(vocabulary, spec),
        VisionTransformer(_vision(POSITION_SIZE, width, max(taps))),
        BiomedTextEncoder(_text(width, text_layers), embedding),
        CLIPSegDecoder(len(taps), width, embedding, decoder_width),
        taps,
    )


@register_model
def biomedclipseg_d(**options: Option) -> CLIPSegmenter:
    """BiomedCLIPSeg-D (Poudel et al., 2024): BiomedCLIPSeg whose decoder starts from CLIPSeg's trained one.

    Args:
        **options: Those of ``biomedclipseg``; the two differ in what ``--pretrained`` loads.
    """
    return biomedclipseg(**options)  # type: ignore[arg-type]  # checked when called


def _spec(image_size: int) -> EncoderSpec:
    return EncoderSpec(image_size, CLIP_MEAN, CLIP_STD, CONTEXT_LENGTH)


def _tokenizer(vocabulary: VocabularyName, spec: EncoderSpec) -> WordPieceTokenizer:
    if vocabulary not in VOCABULARIES:
        raise ModelError(unknown_name("vocabulary", vocabulary, VOCABULARIES))
    return WordPieceTokenizer(VOCABULARIES[vocabulary], spec.context_length)


def _vision(position_size: int, width: int, layers: int) -> VisionConfig:
    heads = max(1, width // 64)
    return VisionConfig(position_size, 16, width, layers, heads, "gelu", epsilon=EPSILON, clip_stem=False)


def _text(width: int, layers: int) -> BertConfig:
    return BertConfig(width=width, layers=layers, heads=max(1, width // 64), hidden=4 * width)
