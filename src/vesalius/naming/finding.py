"""What a path holds: one series, or many to be named one after the other."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from vesalius.errors import ImageError
from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.formats import RASTER_SUFFIXES, VOLUME_SUFFIXES


@dataclass(frozen=True)
class FoundSeries:
    """A series that has not been read yet."""

    source: Path
    """The file, or the folder in which its files lie."""
    files: tuple[Path, ...] = ()
    """DICOM files of one series; none for what one file holds."""

    def read(self) -> list[MedicalImage]:
        """Every stack of parallel slices, the one with most slices first.

        Raises:
            ImageError: If it cannot be read.
        """
        if self.files:
            from vesalius.imaging.dicom_folder import read_files  # pydicom loads slowly

            return read_files(self.files, self.source)
        image = read_image(self.source)
        if "SOPClassUID" not in image.header:
            return [image]
        from vesalius.imaging.dicom import read_stacks

        return read_stacks(self.source)


def find_series(path: Path) -> list[FoundSeries]:
    """List the series of a file or of a folder with its subfolders.

    Every DICOM series, every volume and every picture is one. Hidden files are passed over.

    Raises:
        ImageError: If nothing is there, or nothing that is an image.
    """
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder; check the path.")
    if not path.is_dir():
        return [FoundSeries(path)]
    files = sorted(each for each in path.rglob("[!.]*") if each.is_file())
    alone = [each for each in files if each.name.lower().endswith((*RASTER_SUFFIXES, *VOLUME_SUFFIXES))]
    found = [*_find_dicom([each for each in files if each not in set(alone)]), *map(FoundSeries, alone)]
    if not found:
        raise ImageError(f"{path}: holds no image; name a file, or a folder with DICOM, NIfTI or pictures.")
    return sorted(found, key=lambda each: each.source)


def _find_dicom(files: list[Path]) -> list[FoundSeries]:
    from vesalius.imaging.dicom_folder import group_series

    groups = group_series(files)
    homes = Counter(group[0].parent for group in groups)
    # Where several series lie in one folder, each is called by its first file.
    return [FoundSeries(group[0].parent if homes[group[0].parent] == 1 else group[0], tuple(group)) for group in groups]
