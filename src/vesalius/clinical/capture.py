"""Overlays as secondary captures, for viewers that show no segmentations."""

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray

from vesalius.clinical.coding import Maker
from vesalius.clinical.source import SourceSeries

SERIES_NUMBER = 9003


def build_capture(source: SourceSeries, rgb: NDArray[np.uint8], maker: Maker) -> SCImage:
    """A picture of a result, of the patient and study of its source and referring to all its images.

    Args:
        source: What the picture was drawn from.
        rgb: [H, W, 3], 0–255.
        maker: Who drew it.
    """
    result = SCImage(
        pixel_array=rgb,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=source.header.StudyInstanceUID,
        **maker.new_object(SERIES_NUMBER, "Vesalius overlay"),
    )
    result.PatientOrientation = []  # a sheet of slices has none
    result.Laterality = source.header.get("Laterality")
    result.ImageType = ["DERIVED", "SECONDARY"]
    if source.burned_in is not None:
        result.BurnedInAnnotation = source.burned_in
    result.SourceImageSequence = source.references()
    source.adopt(result)
    return result
