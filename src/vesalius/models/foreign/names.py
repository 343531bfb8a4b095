"""Tensor names of other programs (OpenAI, transformers, timm, BERT, CRIS) and tables that turn them into ours."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Rules = Sequence[tuple[str, str]]
"""Patterns and what replaces them, applied one after the other to every name."""
Changes = Sequence[tuple[str, Callable[[Tensor], Tensor]]]
"""Patterns, and what is done to the tensors whose name in the file has them."""


def transpose(value: Tensor) -> Tensor:
    """A matrix that is stored the other way round."""
    return value.T.contiguous()


@dataclass(frozen=True)
class Renaming:
    """How one layout's tensors become ours; patterns are searched for in their names."""

    rules: Rules
    unused: Sequence[str] = ()
    """Tensors that no output of our model depends on; they are left out."""
    changes: Changes = ()
    """Tensors that are stored in another form."""

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our names and tensors; those that no rule knows keep their name, and will be called unexpected."""
        renamed = {}
        for name, value in tensors.items():
            if any(re.search(pattern, name) for pattern in self.unused):
                continue
            for pattern, change in self.changes:
                value = change(value) if re.search(pattern, name) else value
            renamed[self._rename(name)] = value
        return _join_attention(renamed)

    def _rename(self, name: str) -> str:
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name


def _join_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values that stand apart become the one matrix of our layers."""
    joined = {}
    for name, value in tensors.items():
        found = re.fullmatch(r"(.*\.qkv)\.(query|key|value)\.(weight|bias)", name)
        thirds = [f"{found[1]}.{part}.{found[3]}" for part in ("query", "key", "value")] if found else []
        if not found or not all(third in tensors for third in thirds):
            joined[name] = value
        elif found[2] == "query":
            joined[f"{found[1]}.{found[3]}"] = torch.cat([tensors[third] for third in thirds])
    return joined


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
"""Names of layers in CLIP and in the CLIPSeg decoder."""
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


RESNET_NAMES: Rules = [
    (r"^visual\.attnpool\.positional_embedding$", "pool.positions"),
    (r"^visual\.attnpool\.q_proj\.", "pool.query."),
    (r"^visual\.attnpool\.k_proj\.", "pool.key."),
    (r"^visual\.attnpool\.v_proj\.", "pool.value."),
    (r"^visual\.attnpool\.c_proj\.", "pool.out."),
    *((rf"^visual\.layer{number}\.", f"trunk.stages.{number - 1}.") for number in (1, 2, 3, 4)),
    (r"^visual\.", "trunk."),
    (r"^(trunk\..*)downsample\.", r"\1shortcut."),
    (r"^(trunk\..*)conv(\d)\.weight$", r"\1conv\2.0.weight"),
    (r"^(trunk\..*)bn(\d)\.", r"\1conv\2.1."),
]
"""CLIP's ``visual`` where it is a ResNet."""

NECK_NAMES: Rules = [
    (r"^neck\.txt_proj\.0\.", "neck.gate.linear."),
    (r"^neck\.txt_proj\.1\.", "neck.gate.norm."),
    (r"^neck\.norm_layer\.0\.", "neck.gated_norm."),
    (r"^neck\.f1_v_proj\.", "neck.from_c5."),
    (r"^neck\.f2_v_proj\.", "neck.from_c4."),
    (r"^neck\.f2_cat\.", "neck.fuse_c4."),
    (r"^neck\.f3_v_proj\.", "neck.from_c3."),
    (r"^neck\.f3_cat\.", "neck.fuse_c3."),
    *((rf"^neck\.f4_proj{tap}\.", f"neck.to_gather.{place}.") for place, tap in enumerate((3, 4, 5))),
    (r"^neck\.aggr\.", "neck.gather."),
    (r"^neck\.coordconv\.0\.conv1\.", "neck.locate."),
    (r"^neck\.coordconv\.1\.", "neck.refine."),
]

DECODER_NAMES: Rules = [
    (r"^(decoder\..*)self_attn_norm\.", r"\1places_out_norm."),
    (r"^(decoder\..*)cross_attn_norm\.", r"\1words_out_norm."),
    (r"^(decoder\..*)self_attn\.", r"\1places."),
    (r"^(decoder\..*)multihead_attn\.", r"\1words."),
    (r"^(decoder\..*)ffn\.", r"\1mlp."),
    (r"^(decoder\..*)norm1\.", r"\1places_norm."),
    (r"^(decoder\..*)norm2\.", r"\1words_norm."),
    (r"^(decoder\..*)norm3\.", r"\1mlp_norm."),
    (r"^proj\.vis\.", "filter.enlarge."),
    (r"^proj\.txt\.", "filter.to_filter."),
]

CRIS_NAMES: Rules = [
    # CRIS adds this shortcut to CLIP's attention pool; it trains with our neck.
    (r"^backbone\.visual\.attnpool\.connect\.", "neck.connect."),
    (r"^backbone\.", ""),
    *OPENAI_TEXT,
    *RESNET_NAMES,
    *OPENAI_LAYERS,
    *NECK_NAMES,
    *DECODER_NAMES,
]
"""CLIP's inside, and everything around it."""

CRIS_UNUSED = (r"^backbone\.logit_scale$",)
"""No mask depends on it."""
