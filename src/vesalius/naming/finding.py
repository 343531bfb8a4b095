"""What a path holds: one series, or many to be named one after the other."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vesalius.errors import ImageError
from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.formats import RASTER_SUFFIXES, VOLUME_SUFFIXES, visible_files


@dataclass(frozen=True)
class FoundSeries:
    """A series that has not been read yet."""

    source: Path
    """The file, or the folder in which its files lie."""
    files: tuple[Path, ...] = ()
    """DICOM files of one series; none for what one file holds."""
    choices: Mapping[str, int | str | None] = field(default_factory=dict)
    """What was chosen among series, stacks, volumes and frames, as `read_image` takes it."""

    def read(self) -> list[MedicalImage]:
        """Every stack of parallel slices, the one with most slices first.

        Raises:
            ImageError: If it cannot be read.
        """
        if self.choices:
            return [read_image(self.source, **self.choices)]  # type: ignore[arg-type]  # by name
        if self.files:
            from vesalius.imaging.dicom_folder import read_files  # pydicom loads slowly

            return [stack.image for stack in read_files(self.files, self.source)]
        image = read_image(self.source)
        if "SOPClassUID" not in image.header:
            return [image]
        from vesalius.imaging.dicom import read_stacks

        return read_stacks(self.source)


def find_series(
    path: Path,
    *,
    series: str | int | None = None,
    stack: int | None = None,
    volume: int | None = None,
    frame: int | None = None,
) -> list[FoundSeries]:
    """List the series of a file or of a folder with its subfolders.

    Every DICOM series, every volume and every picture is one. Hidden files and folders are passed over. Where a series,
    stack, volume or frame is chosen, as `read_image` takes them, that alone is listed.

    Raises:
        ImageError: If nothing is there, or nothing that is an image.
    """
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder; check the path.")
    choices = {"series": series, "stack": stack, "volume": volume, "frame": frame}
    if any(value is not None for value in choices.values()):
        return [FoundSeries(path, choices=choices)]
    if not path.is_dir():
        return [FoundSeries(path)]
    alone: list[Path] = []
    others: list[Path] = []
    for file in visible_files(path):
        (alone if file.name.lower().endswith((*RASTER_SUFFIXES, *VOLUME_SUFFIXES)) else others).append(file)
    found = [*_find_dicom(others), *map(FoundSeries, alone)]
    if not found:
        raise ImageError(f"{path}: holds no image; name a file, or a folder with DICOM, NIfTI or pictures.")
    return sorted(found, key=lambda each: each.source.parts)


def _find_dicom(files: list[Path]) -> list[FoundSeries]:
    from vesalius.imaging.dicom_folder import sort_files

    found = sort_files(files)
    groups = [each.paths for each in found.series] + [[path] for path, _ in found.broken]
    homes = Counter(group[0].parent for group in groups)
    # Where several series lie in one folder, each is called by its first file.
    return [FoundSeries(group[0].parent if homes[group[0].parent] == 1 else group[0], tuple(group)) for group in groups]
