"""All series of a folder, each on its own: what is wrong with one keeps nobody from the others."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from vesalius.errors import ImageError
from vesalius.imaging.dicom_file import is_dicom, is_image, open_dicom, quiet_pydicom, read_frames
from vesalius.imaging.dicom_stacks import build_stacks
from vesalius.imaging.formats import DICOM_SUFFIXES
from vesalius.imaging.image import MedicalImage


@quiet_pydicom()
def group_series(paths: Sequence[Path]) -> list[list[Path]]:
    """Sort files by the series they belong to, reading headers only.

    Args:
        paths: Files of any kind; other than DICOM images are passed over.

    Returns:
        The files of each series, in the order given; a damaged file stands alone.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        try:
            if path.suffix.lower() in DICOM_SUFFIXES or is_dicom(path):
                header = open_dicom(path, stop_before_pixels=True)
                if is_image(header, path):
                    groups[str(header.get("SeriesInstanceUID", ""))].append(path)
        except ImageError:  # told by whoever reads it
            groups[str(path)].append(path)
    return list(groups.values())


@quiet_pydicom()
def read_files(paths: Sequence[Path], source: Path) -> list[MedicalImage]:
    """Read the files of one series.

    Args:
        paths: DICOM images.
        source: What the images name as their origin.

    Returns:
        Every stack of parallel slices, the one with most slices first.

    Raises:
        ImageError: If a file is damaged.
    """
    return build_stacks([frame for path in paths for frame in read_frames(path)], source)
