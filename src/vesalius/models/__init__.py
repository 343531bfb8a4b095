"""Models: a registry of named segmenters and encoders that share one contract.

The classes load PyTorch, so they are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING

from vesalius.models.registry import build_model, describe_model, list_encoders, list_models, register_model

if TYPE_CHECKING:
    from vesalius.models.encoder import (
        EncoderSpec,
        ImageFeatures,
        MaskPrediction,
        Segmenter,
        TextFeatures,
        VisionLanguageEncoder,
    )

__all__ = [
    "EncoderSpec",
    "ImageFeatures",
    "MaskPrediction",
    "Segmenter",
    "TextFeatures",
    "VisionLanguageEncoder",
    "build_model",
    "describe_model",
    "list_encoders",
    "list_models",
    "register_model",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'vesalius.models' has no attribute '{name}'")
    return getattr(importlib.import_module("vesalius.models.encoder"), name)
