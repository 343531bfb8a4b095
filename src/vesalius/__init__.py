"""Vesalius reads medical images with words.

The names below load their modules when first used, so that importing the package and ``vesalius --help`` stay instant.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.imaging import MedicalImage, read_image
    from vesalius.models import Segmenter, build_model, list_models
    from vesalius.models.checkpoints import load_model
    from vesalius.naming import AnatomyLabeller
    from vesalius.predict import Predictor, segment, segment_volume
    from vesalius.segmentation import Segmentation
    from vesalius.volumes import VolumeSegmentation

__version__ = "0.1.0"

__all__ = [
    "AnatomyLabeller",
    "MedicalImage",
    "Predictor",
    "Segmentation",
    "Segmenter",
    "VolumeSegmentation",
    "build_model",
    "list_models",
    "load_model",
    "read_image",
    "segment",
    "segment_volume",
]

_HOMES = {
    "AnatomyLabeller": "naming",
    "MedicalImage": "imaging",
    "Predictor": "predict",
    "Segmentation": "segmentation",
    "Segmenter": "models",
    "VolumeSegmentation": "volumes",
    "build_model": "models",
    "list_models": "models",
    "load_model": "models.checkpoints",
    "read_image": "imaging",
    "segment": "predict",
    "segment_volume": "predict",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'vesalius' has no attribute '{name}'")
    return getattr(importlib.import_module(f"vesalius.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
