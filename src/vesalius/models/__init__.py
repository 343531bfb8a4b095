"""Models: a registry of named segmenters that share one contract."""

from vesalius.models.features import EncoderSpec, ImageFeatures, MaskPrediction, TextFeatures
from vesalius.models.registry import build_model, describe_model, list_models, register_model
from vesalius.models.segmenter import Segmenter

__all__ = [
    "EncoderSpec",
    "ImageFeatures",
    "MaskPrediction",
    "Segmenter",
    "TextFeatures",
    "build_model",
    "describe_model",
    "list_models",
    "register_model",
]
