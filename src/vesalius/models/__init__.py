"""Models: a registry of named segmenters and encoders that share one contract."""

from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.features import EncoderSpec, ImageFeatures, MaskPrediction, TextFeatures
from vesalius.models.registry import build_model, describe_model, list_encoders, list_models, register_model
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
