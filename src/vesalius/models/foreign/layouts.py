"""The layouts that ``vesalius weights import`` reads: which of our models a file is, and how its names become ours."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from vesalius.errors import ModelError
from vesalius.models.foreign.names import (
    BERT_CHANGES,
    BERT_UNUSED,
    BIOMEDCLIP_TEXT,
    CLIPSEG_DECODER,
    CRIS_NAMES,
    CRIS_UNUSED,
    OPENAI_LAYERS,
    OPENAI_TEXT,
    OPENAI_VISION,
    POSITION_IDS,
    RESNET_NAMES,
    TIMM,
    TIMM_CHANGES,
    TRANSFORMERS_LAYERS,
    TRANSFORMERS_TEXT,
    TRANSFORMERS_VISION,
    UNET,
    Renaming,
    transpose,
)
from vesalius.models.registry import ModelRecipe, Option

BENCHMARK_TAPS = (5, 8, 11)
"""Blocks that the benchmark's and the paper's BiomedCLIPSeg tap, counted from 1."""
BY_PATCH = {32: "clip_vit_b32", 16: "clip_vit_b16"}


Recognised = tuple[ModelRecipe, Renaming]
"""Which of our models a file is, and how its tensors are renamed."""


@dataclass(frozen=True)
class WeightLayout:
    """One program's way to store models."""

    title: str
    recognise: Callable[[Mapping[str, Tensor]], Recognised]
    """Tells from the tensors, without their prefixes, which of our models they are."""
    prefixes: tuple[str, ...] = ("module.",)
    """Beginnings of all names, taken off in this order where there are any."""

    def convert(self, tensors: Mapping[str, Tensor]) -> tuple[ModelRecipe, dict[str, Tensor]]:
        """Which model, and its tensors by our names.

        Raises:
            ModelError: If the tensors are of a model we do not have.
        """
        for prefix in self.prefixes:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        recipe, renaming = self.recognise(tensors)
        return recipe, renaming.apply(tensors)


ARCHIVE_SIZES = (r"^input_resolution$", r"^context_length$", r"^vocab_size$")
"""Numbers that OpenAI's archives keep beside the weights."""
OPENAI_VIT = Renaming(
    rules=[*OPENAI_TEXT, *OPENAI_VISION, *OPENAI_LAYERS],
    unused=ARCHIVE_SIZES,
    changes=[(r"^text_projection$", transpose), (r"^visual\.proj$", transpose)],
)
OPENAI_RESNET = Renaming(
    rules=[*OPENAI_TEXT, *RESNET_NAMES, (r"^(trunk|pool)\.", r"image.\1."), *OPENAI_LAYERS],
    unused=ARCHIVE_SIZES,
    changes=[(r"^text_projection$", transpose)],
)
TRANSFORMERS_CLIP = Renaming(
    rules=[
        (r"^vision_model\.post_layernorm\.", "image.norm."),
        (r"^visual_projection\.", "image.projection."),
        *TRANSFORMERS_TEXT,
        *TRANSFORMERS_VISION,
        (r"^vision\.", "image.trunk."),
        *TRANSFORMERS_LAYERS,
    ],
    unused=(POSITION_IDS,),
)
BIOMEDCLIP = Renaming(
    rules=[
        (r"^visual\.trunk\.norm\.", "image.norm."),
        (r"^visual\.head\.proj\.", "image.projection."),
        (r"^visual\.trunk\.", "image.trunk."),
        (r"^logit_scale$", "log_scale"),
        *TIMM,
        *BIOMEDCLIP_TEXT,
    ],
    unused=BERT_UNUSED,
    changes=(*TIMM_CHANGES, *BERT_CHANGES),
)
CLIPSEG = Renaming(
    rules=[(r"^clip\.", ""), *TRANSFORMERS_TEXT, *TRANSFORMERS_VISION, *CLIPSEG_DECODER, *TRANSFORMERS_LAYERS],
    unused=(
        r"^clip\.logit_scale$",
        r"^clip\.visual_projection\.",
        r"^clip\.vision_model\.post_layernorm\.",
        r"^clip\.vision_model\.encoder\.layers\.1[01]\.",
        POSITION_IDS,
    ),
)
BIOMEDCLIPSEG = Renaming(
    rules=[
        (r"^biomedclip\.visual\.trunk\.", "vision."),
        (r"^biomedclip\.text\.", "text."),
        *TIMM,
        *BIOMEDCLIP_TEXT,
        *CLIPSEG_DECODER,
        *TRANSFORMERS_LAYERS,
    ],
    unused=(
        r"^biomedclip\.logit_scale$",
        r"^biomedclip\.visual\.(head|trunk\.norm|trunk\.blocks\.11)\.",
        *BERT_UNUSED,
    ),
    changes=(*TIMM_CHANGES, *BERT_CHANGES),
)

BIOMEDCLIPSEG_A = Renaming(
    rules=[
        *BIOMEDCLIPSEG.rules,
        (r"^(vision|text|decoder)\.", r"branch.\1."),
        (r"^film_mul\.", "adapter.film.scale."),
        (r"^film_add\.", "adapter.film.shift."),
        (r"^reduce\.", "adapter.reduce."),
        (r"^reduce2\.", "adapter.to_map.mix."),
        (r"^trans_conv1\.", "branch_map."),
        (r"^convlast\.", "merge_branch."),
        (r"^decoder2\.outconv2\.", "merge_unet."),
        (r"^decoder2\.", "unet."),
        *UNET,
    ],
    unused=(*BIOMEDCLIPSEG.unused, r"^dense_layer\.", r"^trans_conv\.", r"^upsample_proj\."),
    changes=(*TIMM_CHANGES, *BERT_CHANGES),
)
CRIS = Renaming(CRIS_NAMES, CRIS_UNUSED, [(r"^backbone\.text_projection$", transpose)])
UNET_D = Renaming([(r"^", "unet."), *UNET], unused=(r"^outconv2\.",))


def _always(name: str, renaming: Renaming, **options: Option) -> Callable[[Mapping[str, Tensor]], Recognised]:
    return lambda tensors: (ModelRecipe(name, options), renaming)


def _clipseg(tensors: Mapping[str, Tensor]) -> Recognised:
    positions = tensors.get("clip.vision_model.embeddings.position_embedding.weight")
    options: dict[str, Option] = {}
    if positions is not None and positions.dim() == 2:
        options = {"position_size": 16 * math.isqrt(len(positions) - 1)}
    return (ModelRecipe("clipseg", options), CLIPSEG)


def _openai(tensors: Mapping[str, Tensor], **options: Option) -> Recognised:
    if "visual.layer1.0.conv1.weight" in tensors:
        return (ModelRecipe("clip_rn50", options), OPENAI_RESNET)
    return (ModelRecipe(_by_patch(tensors, "visual.conv1.weight"), options), OPENAI_VIT)


def _pubmedclip(tensors: Mapping[str, Tensor]) -> Recognised:
    # Its authors trained with ImageNet's mean and standard deviation, not CLIP's.
    return _openai(tensors, normalisation="imagenet")


def _transformers(tensors: Mapping[str, Tensor]) -> Recognised:
    name = _by_patch(tensors, "vision_model.embeddings.patch_embedding.weight")
    return (ModelRecipe(name, {}), TRANSFORMERS_CLIP)


def _by_patch(tensors: Mapping[str, Tensor], patches: str) -> str:
    if patches not in tensors:
        raise ModelError(f"not CLIP in this layout: lacks {patches}; has {', '.join(sorted(tensors)[:3])}, ….")
    side = tensors[patches].shape[-1]
    if side not in BY_PATCH:
        known = ", ".join(f"{size} ({name})" for size, name in BY_PATCH.items())
        raise ModelError(f"CLIP with patches of {side} pixels is not a model here; known sizes: {known}.")
    return BY_PATCH[side]


LIGHTNING = ("module.", "net.")
LAYOUTS: Mapping[str, WeightLayout] = {
    "openai-clip": WeightLayout("OpenAI's CLIP: ViT-B/32, ViT-B/16 or RN50; archive or state dict", _openai),
    "pubmedclip": WeightLayout("PubMedCLIP's .pth files", _pubmedclip),
    "open_clip-biomedclip": WeightLayout("BiomedCLIP as open_clip stores it", _always("biomedclip", BIOMEDCLIP)),
    "transformers-clip": WeightLayout("CLIPModel of transformers", _transformers),
    "transformers-clipseg": WeightLayout("CLIPSegForImageSegmentation of transformers", _clipseg),
    "medvlsm-clipseg": WeightLayout("the benchmark's CLIPSeg (Lightning .ckpt)", _clipseg, (*LIGHTNING, "clipseg.")),
    "medvlsm-biomedclipseg": WeightLayout(
        "the benchmark's BiomedCLIPSeg (Lightning .ckpt)",
        _always("biomedclipseg", BIOMEDCLIPSEG, taps=BENCHMARK_TAPS),
        LIGHTNING,
    ),
    "medvlsm-cris": WeightLayout("CRIS: cris.pt, or the benchmark's Lightning .ckpt", _always("cris", CRIS), LIGHTNING),
    "vlsm-ensemble-a": WeightLayout(
        "VLSM-Ensemble's BiomedCLIPSeg-A",
        _always("biomedclipseg_a", BIOMEDCLIPSEG_A, taps=BENCHMARK_TAPS),
        LIGHTNING,
    ),
    "unet_d": WeightLayout("VLSM-Ensemble's UNet-D", _always("unet_d", UNET_D), LIGHTNING),
}
"""By the names that ``--as`` takes."""
