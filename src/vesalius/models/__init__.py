"""Models: a registry of named segmenters and encoders that share one contract.

The classes load PyTorch, so they are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING

from vesalius.models.registry import build_model, describe_model, list_encoders, list_models, register_model

if TYPE_CHECKING:
    from vesalius.models.encoder import VisionLanguageEncoder
    from vesalius.models.features import EncoderSpec, ImageFeatures, MaskPrediction, TextFeatures
    from vesalius.models.segmenter import Segmenter

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
_HOMES = {"VisionLanguageEncoder": "encoder", "Segmenter": "segmenter"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'vesalius.models' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vesalius.models.{_HOMES.get(name, 'features')}"), name)
