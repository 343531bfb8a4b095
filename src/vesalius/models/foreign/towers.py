"""Names of the parts that layouts share: the towers of OpenAI, transformers, timm and BERT, and the decoders."""

from vesalius.models.foreign.renaming import Changes, Rules

OPENAI_TEXT: Rules = [
    (r"^transformer\.resblocks\.", "text.layers."),
    (r"^token_embedding\.", "text.tokens."),
    (r"^positional_embedding$", "text.positions"),
    (r"^ln_final\.", "text.norm."),
    (r"^text_projection$", "text.projection.weight"),
    (r"^logit_scale$", "log_scale"),
]
OPENAI_VISION: Rules = [
    (r"^visual\.transformer\.resblocks\.", "image.trunk.layers."),
    (r"^visual\.conv1\.", "image.trunk.patches."),
    (r"^visual\.class_embedding$", "image.trunk.class_token"),
    (r"^visual\.positional_embedding$", "image.trunk.positions"),
    (r"^visual\.ln_pre\.", "image.trunk.stem_norm."),
    (r"^visual\.ln_post\.", "image.norm."),
    (r"^visual\.proj$", "image.projection.weight"),
]
OPENAI_LAYERS: Rules = [
    (r"\.ln_1\.", ".attention_norm."),
    (r"\.ln_2\.", ".mlp_norm."),
    (r"\.attn\.in_proj_", ".qkv."),
    (r"\.attn\.out_proj\.", ".out."),
    (r"\.mlp\.c_fc\.", ".up."),
    (r"\.mlp\.c_proj\.", ".down."),
]

TRANSFORMERS_TEXT: Rules = [
    (r"^text_model\.encoder\.layers\.", "text.layers."),
    (r"^text_model\.embeddings\.token_embedding\.", "text.tokens."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "text.positions"),
    (r"^text_model\.final_layer_norm\.", "text.norm."),
    (r"^text_projection\.", "text.projection."),
    (r"^logit_scale$", "log_scale"),
]
TRANSFORMERS_VISION: Rules = [
    (r"^vision_model\.encoder\.layers\.", "vision.layers."),
    (r"^vision_model\.embeddings\.patch_embedding\.", "vision.patches."),
    (r"^vision_model\.embeddings\.class_embedding$", "vision.class_token"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "vision.positions"),
    (r"^vision_model\.pre_layrnorm\.", "vision.stem_norm."),
]
TRANSFORMERS_LAYERS: Rules = [
    (r"\.layer_norm1\.", ".attention_norm."),
    (r"\.layer_norm2\.", ".mlp_norm."),
    (r"\.self_attn\.q_proj\.", ".qkv.query."),
    (r"\.self_attn\.k_proj\.", ".qkv.key."),
    (r"\.self_attn\.v_proj\.", ".qkv.value."),
    (r"\.self_attn\.out_proj\.", ".out."),
    (r"\.mlp\.fc1\.", ".up."),
    (r"\.mlp\.fc2\.", ".down."),
]
"""Of CLIP, and of the CLIPSeg decoder."""
POSITION_IDS = r"\.position_ids$"
"""A constant that older versions of transformers store."""

BERT: Rules = [
    (r"embeddings\.word_embeddings\.", "tokens."),
    (r"embeddings\.position_embeddings\.", "positions."),
    (r"embeddings\.token_type_embeddings\.weight$", "segment"),
    (r"embeddings\.LayerNorm\.", "norm."),
    (r"encoder\.layer\.", "layers."),
    (r"\.attention\.self\.", ".qkv."),
    (r"\.attention\.output\.dense\.", ".out."),
    (r"\.attention\.output\.LayerNorm\.", ".attention_norm."),
    (r"\.intermediate\.dense\.", ".up."),
    (r"\.output\.dense\.", ".down."),
    (r"\.output\.LayerNorm\.", ".mlp_norm."),
]
BERT_CHANGES: Changes = [
    # Sentence pairs are never used, so the second segment's vector is not kept.
    (r"token_type_embeddings\.weight$", lambda value: value[0]),
]
BERT_UNUSED = (r"(^|\.)pooler\.", POSITION_IDS)

TIMM: Rules = [
    (r"\.cls_token$", ".class_token"),
    (r"\.pos_embed$", ".positions"),
    (r"\.patch_embed\.proj\.", ".patches."),
    (r"\.blocks\.", ".layers."),
    (r"\.norm1\.", ".attention_norm."),
    (r"\.norm2\.", ".mlp_norm."),
    (r"\.attn\.qkv\.", ".qkv."),
    (r"\.attn\.proj\.", ".out."),
    (r"\.mlp\.fc1\.", ".up."),
    (r"\.mlp\.fc2\.", ".down."),
]
TIMM_CHANGES: Changes = [
    (r"\.trunk\.cls_token$", lambda value: value[0, 0]),
    (r"\.trunk\.pos_embed$", lambda value: value[0]),
]
BIOMEDCLIP_TEXT: Rules = [
    (r"^text\.transformer\.", "text.bert."),
    (r"^text\.proj\.", "text.projection."),
    *BERT,
]

CLIPSEG_DECODER: Rules = [
    (r"^decoder\.film_mul\.", "decoder.film.scale."),
    (r"^decoder\.film_add\.", "decoder.film.shift."),
    (r"^decoder\.transposed_convolution\.", "decoder.to_logits."),
]


def _unet_rules() -> Rules:
    rules = []
    for stage, number in enumerate((1, 2, 3, 4)):
        second = f"{number}{number}{number}" if number > 1 else "12"
        rules += [
            (rf"^unet\.conv{number}{number}\.", f"unet.encoder.{stage}.0."),
            (rf"^unet\.conv{second}\.", f"unet.encoder.{stage}.1."),
            (rf"^unet\.bn{number}\.", f"unet.encoder.{stage}.2."),
            (rf"^unet\.upconv{number}\.", f"unet.decoder.{4 - number}.up."),
            (rf"^unet\.convup{number}\.", f"unet.decoder.{4 - number}.conv."),
            (rf"^unet\.upbn{number}\.", f"unet.decoder.{4 - number}.norm."),
        ]
    return [
        *rules,
        (r"^unet\.upconv41\.", "unet.bottleneck."),
        (r"^unet\.eca4\.", "unet.attention."),
        (r"^unet\.outconv\.", "unet.to_logits."),
    ]


UNET = _unet_rules()
