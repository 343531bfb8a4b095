"""Vesalius reads medical images with words.

Segment what phrases name, in a picture or slice, or in a whole volume:

    found = vesalius.segment("pocket", "scan.png", "polyp")            # a Segmentation; for a list of phrases a list
    found.mask, found.probability, found.existence, found.known        # bool and float32 [H, W]; probability; learnt?
    found.save("mask.png", "overlay.png")

    liver = vesalius.segment_volume("pocket", "ct.nii.gz", "liver")    # a VolumeSegmentation, on the file's own grid
    liver.mask, liver.volume_ml, liver.existence
    liver.save("liver.nii.gz")
    vesalius.view("ct.nii.gz", liver)                                  # a widget for notebooks (the extra notebook)

    predictor = vesalius.Predictor("pocket", device="auto")            # opens a model once …
    predictor.set_image("scan.png").predict(["polyp", "lungs"])        # … and encodes a picture once

Images are files (PNG, JPEG, TIFF, DICOM, NIfTI), folders with a series, arrays, pictures of Pillow, or a MedicalImage:

    image = vesalius.read_image("ct.nii.gz")                           # stored values, and where they lie
    image.slices("coronal", window="lung")[0].rgb

Name what an image shows: modality, protocol, plane, body stations and organs:

    vesalius.AnatomyLabeller().label("ct.nii.gz").stations

Models, which need the extra ``train`` (PyTorch) from here on:

    vesalius.list_models()                                             # names
    vesalius.build_model("clipseg")                                    # untrained; a Segmenter, or an encoder
    vesalius.load_model("runs/mine")                                   # trained

A model's name, a checkpoint and the folder of a run are equal wherever a model is asked for. Training data are in
`vesalius.data`, all that can go wrong is in `vesalius.errors`, and docs/python.md has the tour.

Examples:
    >>> import numpy as np, vesalius
    >>> black = np.zeros((64, 80), np.uint8)
    >>> polyp, bicycle = vesalius.segment("pocket", black, ["polyp", "bicycle"])
    >>> polyp.mask.shape, bool(polyp.mask.any()), polyp.known
    ((64, 80), False, True)
    >>> bicycle
    Segmentation('bicycle', 64×80, not learnt)
    >>> vesalius.segment_volume("pocket", np.zeros((3, 64, 80), np.uint8), "liver").mask.shape
    (3, 64, 80)

The names load their modules when first used, so that importing the package and ``vesalius --help`` stay instant.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vesalius.imaging import MedicalImage, read_image
    from vesalius.models import Segmenter, build_model, list_models
    from vesalius.models.checkpoints import load_model
    from vesalius.naming import AnatomyLabeller
    from vesalius.notebook import view
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
    "view",
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
    "view": "notebook",
}


_NEED_TORCH = {"Segmenter", "load_model"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'vesalius' has no attribute '{name}'")
    if name in _NEED_TORCH:
        from vesalius.errors import require

        require("torch", extra="train")
    return getattr(importlib.import_module(f"vesalius.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """All names that can be had here, so that ``help`` works without PyTorch."""
    from importlib.util import find_spec

    lacking = set() if find_spec("torch") else _NEED_TORCH
    return sorted({*__all__, "__version__"} - lacking)
