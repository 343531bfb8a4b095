"""Real images that installed packages carry, and what is known about them."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from numpy.typing import NDArray
from pydicom.data import get_testdata_file

from vesalius.imaging import MedicalImage, Plane, read_image
from vesalius.prompts import AnatomyLabel

SLICES = 9
CREDITS = (
    "MNI152 template (2009a): © 1993–2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological "
    "Institute, McGill University; carried by nilearn. DICOM files: pydicom's test files."
)


@dataclass(frozen=True)
class Brain:
    """The MNI152 T1 template and its brain."""

    image: MedicalImage
    mask: NDArray[np.bool_]
    """[D, H, W], in the order of the image's slices."""

    @property
    def middle_slices(self) -> list[int]:
        """Slices spread evenly over the middle half of the volume."""
        depth = len(self.mask)
        return [int(each) for each in np.linspace(depth / 4, 3 * depth / 4 - 1, SLICES).round()]

    def middle(self, plane: Plane) -> MedicalImage:
        """The middle slice across a plane, alone."""
        stack = self.image.slices(plane)
        pixels = stack.pixels[len(stack) // 2][None].astype(np.float32)
        return replace(self.image, pixels=pixels, affine=stack.affine, plane=plane)


@dataclass(frozen=True)
class DicomSample:
    """A DICOM file and what a person sees on it."""

    file: str
    truth: AnatomyLabel
    remark: str


def axial(modality: str, station: str) -> AnatomyLabel:
    """What is known of an axial slice of one station."""
    return AnatomyLabel.partial(modality, plane="axial", stations=[station])


DICOM_SAMPLES = (
    DicomSample("693_J2KI.dcm", axial("CT", "head"), "Head, JPEG 2000, compressed beyond recognition"),
    DicomSample("J2K_pixelrep_mismatch.dcm", axial("CT", "head"), "Skull base and cerebellum"),
    DicomSample("examples_overlay.dcm", axial("MR", "abdomen"), "Liver, spleen and both kidneys"),
    DicomSample("CT_small.dcm", axial("CT", "chest"), "A cut-out: vertebra, aorta, edges of the lungs"),
)


def read_brain() -> Brain:
    """The template and nilearn's mask of it, through NIfTI files and Vesalius's reader, so that both turn alike."""
    with TemporaryDirectory() as folder:
        image, mask = Path(folder) / "mni152_t1.nii.gz", Path(folder) / "mni152_brain.nii.gz"
        load_mni152_template(resolution=1).to_filename(image)
        load_mni152_brain_mask(resolution=1).to_filename(mask)
        return Brain(read_image(image), np.asarray(read_image(mask).pixels, np.float32) > 0.5)


def read_dicom_sample(sample: DicomSample) -> MedicalImage | None:
    """The file, or None if the installed pydicom does not carry it."""
    path = get_testdata_file(sample.file, download=False)
    return read_image(str(path)) if path else None
