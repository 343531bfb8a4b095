"""Sample images of installed packages, their true labels, and the pictures of the answers.

The MNI152 T1 template comes from nilearn, the DICOM files from pydicom.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file

from vesalius.errors import require
from vesalius.files import writing
from vesalius.imaging import MedicalImage, Plane, overlay, read_image
from vesalius.imaging.slices import AMBER, SKY, outline, to_bytes
from vesalius.prompts import AnatomyLabel

SLICES = 9
"""Slices of the brain that are segmented."""
CREDITS = (
    "MNI152 template (2009a): © 1993–2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological "
    "Institute, McGill University; carried by nilearn. DICOM files: pydicom's test files."
)
FOLDER = "pictures"
"""Folder of the pictures, beside the page."""
SIDE = 512
"""Pixels of a picture's shorter side."""
THICKNESS = 4
"""Width of outlines in these pixels; the page shows them at about a third of that."""
QUALITY = 88
Rgb = NDArray[np.uint8]
Mask = NDArray[np.bool_]


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
    """A DICOM file of pydicom and what a person sees on it."""

    file: str
    truth: AnatomyLabel
    remark: str


@dataclass(frozen=True)
class TargetSample:
    """A DICOM file of pydicom and the targets that a person sees on it."""

    file: str
    title: str
    targets: tuple[str, ...]
    """Rows of the prompt bank."""


def axial(modality: str, station: str) -> AnatomyLabel:
    """Labels of an axial slice of one body station."""
    return AnatomyLabel.partial(modality, plane="axial", stations=[station])


DICOM_SAMPLES = (
    DicomSample("693_J2KI.dcm", axial("CT", "head"), "Head, JPEG 2000, compressed beyond recognition"),
    DicomSample("J2K_pixelrep_mismatch.dcm", axial("CT", "head"), "Skull base and cerebellum"),
    DicomSample("examples_overlay.dcm", axial("MR", "abdomen"), "Liver, spleen and both kidneys"),
    DicomSample("CT_small.dcm", axial("CT", "chest"), "A cut-out: vertebra, aorta, edges of the lungs"),
)

TARGET_SAMPLES = (
    TargetSample("J2K_pixelrep_mismatch.dcm", "CT, skull base", ("brain",)),
    TargetSample(
        "examples_overlay.dcm", "MR, abdomen", ("aorta", "intestine", "kidney", "liver", "pancreas", "spine", "spleen")
    ),
    TargetSample("CT_small.dcm", "CT, cut-out of a chest", ("aorta", "lungs", "spine")),
    TargetSample("examples_ybr_color.dcm", "Ultrasound, four chambers", ("heart",)),
)


def read_brain() -> Brain:
    """The template and nilearn's mask of it, through NIfTI files and Vesalius's reader, so that both turn alike.

    Raises:
        MissingPackageError: If nilearn is not installed.
    """
    nilearn = require("nilearn.datasets", extra="demo")
    with TemporaryDirectory() as folder:
        image, mask = Path(folder) / "mni152_t1.nii.gz", Path(folder) / "mni152_brain.nii.gz"
        nilearn.load_mni152_template(resolution=1).to_filename(image)
        nilearn.load_mni152_brain_mask(resolution=1).to_filename(mask)
        return Brain(read_image(image), np.asarray(read_image(mask).pixels, np.float32) > 0.5)


def read_dicom_sample(file: str) -> MedicalImage | None:
    """The file, of several frames the middle one, or None if the installed pydicom does not carry it."""
    path = get_testdata_file(file, download=False)
    if not path:
        return None
    image = read_image(str(path))
    middle = len(image.pixels) // 2
    return image if middle == 0 else replace(image, pixels=np.asarray(image.pixels[middle])[None], source_frames=())


class Album:
    """Pictures in memory, by their paths beside the page."""

    def __init__(self) -> None:
        self.pictures: dict[str, Rgb] = {}

    def add(self, name: str, rgb: Rgb) -> str:
        """Keep a picture, and return its path relative to the page."""
        path = f"{FOLDER}/{name}.jpg"
        self.pictures[path] = rgb
        return path

    def write(self, folder: Path) -> None:
        """Write all of them beside the page.

        Raises:
            OutputError: If one cannot be written.
        """
        for path, rgb in self.pictures.items():
            with writing(folder / path) as unfinished:
                Image.fromarray(rgb).save(unfinished, quality=QUALITY, subsampling=0)


def enlarge(rgb: NDArray[np.floating]) -> Rgb:
    """Scale RGB [H, W, 3] in [0, 1] until the shorter side has 512 pixels."""
    picture = Image.fromarray(to_bytes(rgb))
    return np.array(picture.resize(_size(rgb.shape), Image.Resampling.BICUBIC))


def draw(rgb: NDArray[np.floating], found: Mask, truth: Mask | None = None) -> Rgb:
    """The model's mask in amber over the outline of the true mask in blue, enlarged.

    Args:
        rgb: Picture [H, W, 3] in [0, 1].
        found: The model's mask [H, W].
        truth: The true mask [H, W], if there is one.
    """
    canvas = enlarge(rgb)
    if truth is not None:
        canvas[outline(_enlarge_mask(truth), THICKNESS)] = SKY
    marked = _enlarge_mask(found)
    canvas = overlay(canvas, marked)
    canvas[outline(marked, THICKNESS)] = AMBER
    return canvas


def _enlarge_mask(mask: Mask) -> Mask:
    shades = Image.fromarray(mask.astype(np.uint8) * 255).resize(_size(mask.shape), Image.Resampling.BILINEAR)
    return np.asarray(shades) > 127


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Width and height at which the shorter side has 512 pixels."""
    height, width = shape[:2]
    factor = SIDE / min(height, width)
    return round(width * factor), round(height * factor)
