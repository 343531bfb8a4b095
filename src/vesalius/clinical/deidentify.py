"""De-identified copies of DICOM images, by the Basic Application Level Confidentiality Profile (PS3.15, annex E)."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from vesalius.clinical.cleaning import AttributeChange, Cleaner
from vesalius.clinical.source import building, burned_in, encode_dataset
from vesalius.errors import ImageError, OutputError
from vesalius.files import unfinished_name
from vesalius.imaging import MedicalImage, Notice
from vesalius.imaging.dicom import read_dicom, read_files, sort_files
from vesalius.imaging.formats import visible_files

OFTEN_SHOW_TEXT = ("US", "IVUS", "SC", "OT", "XC", "ES", "RF", "XA", "DOC", "ECG")
"""Modalities whose pictures often show texts."""

MAY_SHOW_TEXT = Notice(
    "files may show text in their pixels",
    "their header does not say that they have none, and pixels are copied as they are",
    "Look at them before you pass them on",
)


@dataclass(frozen=True)
class Deidentified:
    """Copies that were written."""

    folder: Path
    files: tuple[Path, ...]
    changes: tuple[AttributeChange, ...]
    refused: tuple[str, ...] = ()
    """Reasons why other files were left out."""
    notices: tuple[Notice, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        rows = [asdict(each) for each in self.changes]
        notices = [each.to_dict() for each in self.notices]
        told = {"folder": self.folder, "files": len(self.files), "changes": rows, "notices": notices}
        return {**told, "left_out": self.refused}


def check_new(out: Path) -> None:
    """Refuse a folder that is there.

    Raises:
        OutputError: If it is.
    """
    if out.exists():
        raise OutputError(f"{out}: there already; name a folder that is not there yet for the de-identified copies.")


def deidentify(paths: Sequence[Path], out: Path, *, strict: bool = False) -> Deidentified:
    """Write de-identified copies of DICOM images, a folder a series.

    Args:
        paths: DICOM images.
        out: Folder that is not there yet; it is there when all copies are.
        strict: Whether one image that cannot be de-identified ends it.

    Raises:
        ImageError: If no image, or with ``strict`` not every one, can be de-identified.
        OutputError: If the folder is there, or cannot be written.
    """
    check_new(out)
    cleaner, unsure = Cleaner(), 0
    refused: list[str] = []
    files: list[Path] = []
    homes: dict[str, int] = {}
    with _filling(out) as unfinished:
        for path in paths:
            try:
                copy = cleaner.copy(path)
                home = homes.setdefault(copy.SeriesInstanceUID, len(homes) + 1)
                file = Path(f"series-{home:03d}") / f"{len(files) + 1:06d}.dcm"
                with building(path):
                    content = encode_dataset(copy)
            except ImageError as error:
                if strict:
                    raise
                refused.append(str(error))
                continue
            (unfinished / file).parent.mkdir(exist_ok=True)
            (unfinished / file).write_bytes(content)
            files.append(out / file)
            unsure += _may_show_text(copy)
        if not files:
            raise ImageError(refused[0] if refused else f"{out}: there is no DICOM image to copy.")
    notices = (replace(MAY_SHOW_TEXT, count=unsure, total=len(files)),) if unsure else ()
    return Deidentified(out, tuple(files), cleaner.changes(), tuple(refused), notices)


def deidentify_folder(source: Path, out: Path) -> Deidentified:
    """Write de-identified copies of a file, or of all DICOM images of a folder.

    Raises:
        ImageError: If there is no image that can be de-identified.
        OutputError: If the folder is there, lies in the source, or cannot be written.
    """
    if not source.exists():
        raise ImageError(f"{source}: no such file or folder; check the path.")
    if source.is_file():
        return deidentify([source], out, strict=True)
    if out.resolve().is_relative_to(source.resolve()):
        raise OutputError(
            f"{out}: lies in {source}, so the next run would copy the copies; name a folder outside of it for them."
        )
    unlisted: dict[Path, str] = {}
    found = sort_files(visible_files(source, unlisted))
    broken = (*unlisted.values(), *(str(error) for _, error in found.broken))
    paths = [path for series in found.series for path in series.paths]
    if not paths:
        raise ImageError(broken[0] if broken else f"{source}: holds no DICOM image; name a file or a folder with some.")
    copies = deidentify(paths, out)
    return replace(copies, refused=(*broken, *copies.refused))


def read_deidentified(
    images: Sequence[MedicalImage], out: Path, *, frame: int | None = None
) -> tuple[list[MedicalImage], Deidentified]:
    """Copy the files of the stacks of a series, and read the same stacks again from the copies.

    Args:
        images: One or more, read from DICOM.
        out: Folder for the copies; not there yet.
        frame: That was chosen of a file, from 1.

    Returns:
        The images in their order, made of the same frames in the same order, and what was copied.

    Raises:
        ImageError: If an image is not DICOM or cannot be de-identified, or other frames belong together without what
            was removed; then there are no copies.
        OutputError: If the folder is there, or cannot be written.
    """
    if other := next((each for each in images if not each.source_frames), None):
        raise ImageError(f"{other.source}: is no DICOM image; only those can be de-identified.")
    paths = list(dict.fromkeys(each.path for image in images for each in image.source_frames))
    copies = deidentify(paths, out, strict=True)
    origins = dict(zip(copies.files, paths, strict=True))
    try:
        by_frames = {_frames_of(each, origins): each for each in _read_again(copies, frame)}
        again = [by_frames.get(_frames_of(image)) for image in images]
        if None in again:
            raise ImageError(
                f"{images[0].source}: its slices belong together otherwise without what is removed, such as private "
                "b-values and times, so there are no copies; take one stack alone where the command has --stack, or "
                "de-identify it with a tool that keeps them."
            )
    except ImageError:
        shutil.rmtree(out)
        raise
    pairs = zip(again, images, strict=True)
    return [replace(each, notices=image.notices) for each, image in pairs if each is not None], copies


def _read_again(copies: Deidentified, frame: int | None) -> list[MedicalImage]:
    if frame is not None:
        return [read_dicom(copies.files[0], frame=frame)]
    source = copies.files[0] if len(copies.files) == 1 else copies.folder
    return [stack.image for stack in read_files(copies.files, source)]


def _frames_of(image: MedicalImage, origins: Mapping[Path, Path] | None = None) -> tuple[object, ...]:
    """What an image is made of: its size, and its frames by the files that they come from."""
    files = [each.path if origins is None else origins[each.path] for each in image.source_frames]
    frames = ((file, each.index, each.whole) for file, each in zip(files, image.source_frames, strict=True))
    return image.pixels.shape, *frames


def _may_show_text(dataset: Dataset) -> bool:
    if burned_in(dataset) == "NO":
        return False
    kinds = str(dataset.get("ImageType") or "").upper()
    return dataset.get("Modality") in OFTEN_SHOW_TEXT or "ConversionType" in dataset or "SCREEN" in kinds


@contextmanager
def _filling(out: Path) -> Iterator[Path]:
    """A temporary folder beside ``out``, which takes its place when the block ends well."""
    unfinished = unfinished_name(out)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        os.replace(unfinished, out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
