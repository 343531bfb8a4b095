"""Files to arrays and back; knows no model. `read_image` is the way in.

Series and stacks of DICOM, and NIfTI, live in `vesalius.imaging.dicom` and `vesalius.imaging.nifti`, which need pydicom
and nibabel; nothing here does.
"""

from vesalius.imaging.formats import IMAGE_SUFFIXES
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.intensity import CT_WINDOWS, Window, apply_window
from vesalius.imaging.memory import as_image
from vesalius.imaging.orientation import Plane
from vesalius.imaging.raster import read_mask, write_mask, write_rgb
from vesalius.imaging.read import read_image
from vesalius.imaging.safeguards import Notice
from vesalius.imaging.slices import Slice, SliceStack, from_square_pixels, overlay, to_square_pixels

__all__ = [
    "CT_WINDOWS",
    "IMAGE_SUFFIXES",
    "MedicalImage",
    "Notice",
    "Plane",
    "Slice",
    "SliceStack",
    "Window",
    "apply_window",
    "as_image",
    "from_square_pixels",
    "overlay",
    "read_image",
    "read_mask",
    "to_square_pixels",
    "write_mask",
    "write_rgb",
]
