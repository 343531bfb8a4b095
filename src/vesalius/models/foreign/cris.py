"""Names of CRIS's tensors in the benchmark's checkpoints and in ``cris.pt``, and of the ResNet it shares with CLIP."""

from vesalius.models.foreign.renaming import Rules
from vesalius.models.foreign.towers import OPENAI_LAYERS, OPENAI_TEXT

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
