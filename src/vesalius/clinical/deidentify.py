"""De-identified copies of DICOM images, by the Basic Application Level Confidentiality Profile (PS3.15, annex E).

The profile is applied to the items of all sequences, too. New UIDs are the same wherever the old ones were, within one
run, and nothing keeps a list of them.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import UID, generate_uid

from vesalius import __version__
from vesalius.clinical.profile import (
    OVERLAYS,
    TEXTS,
    ProfileRule,
    empty_told,
    patient_of,
    put_dummy,
    rule_of,
    rule_of_declared,
    words_of,
)
from vesalius.clinical.source import UNICODE, building, burned_in, check_uids, encode_dataset
from vesalius.errors import ImageError, OutputError
from vesalius.files import unfinished_name
from vesalius.imaging import MedicalImage, Notice
from vesalius.imaging.dicom import read_dicom, read_files, sort_files
from vesalius.imaging.dicom_file import DicomFile, open_dicom, pixel_bytes, reading_dicom
from vesalius.imaging.formats import visible_files
from vesalius.imaging.safeguards import MEGABYTES, megabytes

OFTEN_SHOW_TEXT = ("US", "IVUS", "SC", "OT", "XC", "ES", "RF", "XA", "DOC", "ECG")
"""Modalities."""
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
OFFSETS = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
"""Where compressed frames begin."""
PREAMBLE = bytes(128)

MAY_SHOW_TEXT = Notice(
    "files may show text in their pixels",
    "their header does not say that they have none, and pixels are copied as they are",
    "Look at them before you pass them on",
)


class Change(StrEnum):
    """What became of an attribute."""

    REMOVED = "removed"
    EMPTIED = "emptied"
    REPLACED = "replaced"


@dataclass(frozen=True)
class AttributeChange:
    """How often an attribute was changed in all copies; values are told nowhere."""

    tag: str
    """As (gggg,eeee); private ones as (gggg,xxxx)."""
    attribute: str
    change: Change
    count: int

    def to_row(self) -> tuple[object, ...]:
        """For a table."""
        return self.tag, self.attribute, self.change, self.count


@dataclass(frozen=True)
class Deidentified:
    """Copies that were written."""

    folder: Path
    files: tuple[Path, ...]
    changes: tuple[AttributeChange, ...]
    refused: tuple[str, ...] = ()
    """Why others were left out."""
    notices: tuple[Notice, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        rows = [dict(zip(("tag", "attribute", "change", "count"), each.to_row(), strict=True)) for each in self.changes]
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
    cleaner, unsure = _Cleaner(), 0
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


class _Cleaner:
    """Copies of one run, in which equal UIDs and patients stay equal."""

    def __init__(self) -> None:
        self._uids: dict[str, str] = {}
        self._patients: dict[tuple[str, ...], str] = {}
        self._counts: Counter[tuple[str, str, Change]] = Counter()

    def copy(self, path: Path) -> Dataset:
        """A de-identified copy of an image.

        Raises:
            ImageError: If it is no image, or cannot be de-identified.
        """
        file = open_dicom(path)
        check_uids(file.header, path)
        with reading_dicom(path):
            whole = dcmread(path, force=True)
            _refuse_shown_text(whole, path)
            _bare_pixels(whole, file)
            with building(path):
                whole.decode()
                texts, patient = words_of(whole), patient_of(whole)
                self._clean(whole, texts)
                self._label(whole, patient)
                _replace_meta(whole, file)
        return whole

    def changes(self) -> tuple[AttributeChange, ...]:
        """What was changed so far, by tag."""
        return tuple(AttributeChange(*what, count) for what, count in sorted(self._counts.items()))

    def _clean(self, dataset: Dataset, texts: re.Pattern[str] | None) -> None:
        for tag in sorted(dataset.keys()):
            rule = rule_of(tag)
            if rule is ProfileRule.REMOVE:
                self._note(dataset, tag, Change.REMOVED)
                del dataset[tag]
                continue
            element = dataset[tag]
            rule = rule or rule_of_declared(element)
            if element.VR == "SQ" and rule in (None, ProfileRule.NEW_UID):
                for item in element.value:
                    self._clean(item, texts)
            elif rule is not None:
                self._apply(rule, dataset, element)
            elif element.VR in TEXTS and empty_told(element, texts):
                self._note(dataset, tag, Change.EMPTIED)

    def _apply(self, rule: ProfileRule, dataset: Dataset, element: DataElement) -> None:
        if element.is_empty:
            return
        if rule is ProfileRule.NEW_UID:
            self._renew(dataset, element)
            return
        if rule is ProfileRule.EMPTY:
            element.clear()
            self._note(dataset, element.tag, Change.EMPTIED)
            return
        if rule is ProfileRule.DUMMY and put_dummy(element):
            self._note(dataset, element.tag, Change.REPLACED)
            return
        del dataset[element.tag]
        self._note(dataset, element.tag, Change.REMOVED)

    def _renew(self, dataset: Dataset, element: DataElement) -> None:
        if element.VR != "UI":
            del dataset[element.tag]
            self._note(dataset, element.tag, Change.REMOVED)
            return
        old = element.value if isinstance(element.value, MultiValue) else [element.value]
        new = [self._new_uid(str(each)) for each in old]
        if new != list(old):
            element.value = new if len(new) > 1 else new[0]
            self._note(dataset, element.tag, Change.REPLACED)

    def _new_uid(self, old: str) -> str:
        if UID(old).type:  # of the standard's own list
            return old
        return self._uids.setdefault(old, str(generate_uid(prefix=None)))

    def _label(self, dataset: Dataset, patient: tuple[str, ...]) -> None:
        """Say that, and how, it was de-identified, and whose other images belong to it, by no name."""
        name = self._patients.setdefault(patient, f"DEID-{uuid4().hex[:8].upper()}")
        dataset.PatientID = dataset.PatientName = name
        dataset.SpecificCharacterSet = UNICODE
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = f"Vesalius {__version__}, DICOM PS3.15 basic profile"
        code, method = codes.DCM.BasicApplicationConfidentialityProfile, Dataset()
        method.CodeValue, method.CodingSchemeDesignator, method.CodeMeaning = code.value, "DCM", code.meaning
        dataset.DeidentificationMethodCodeSequence = [method]
        dataset.LongitudinalTemporalInformationModified = "REMOVED"

    def _note(self, dataset: Dataset, tag: BaseTag, change: Change) -> None:
        private = tag.is_private
        name = "private" if private else keyword_for_tag(tag) or "unknown"
        self._counts[f"({tag.group:04X},{'xxxx' if private else f'{tag.element:04X}'})", name, change] += 1


def _refuse_shown_text(dataset: Dataset, path: Path) -> None:
    """Refuse pixels that show text, or may, as their header says."""
    if burned_in(dataset) == "YES":
        raise ImageError(
            f"{path}: its header says that its pixels show identifying text (BurnedInAnnotation), which cannot be "
            "removed here; blank it with a tool that can, or leave the file out."
        )
    groups = {tag.group for tag in dataset.keys() if tag.group & 0xFF00 == OVERLAYS}  # noqa: SIM118 - see `source`
    if any((group, 0x0010) in dataset and (group, 0x3000) not in dataset for group in groups):
        raise ImageError(
            f"{path}: has an overlay in its pixels, which may be text and cannot be removed here; export it without "
            "overlays, or leave the file out."
        )


def _may_show_text(dataset: Dataset) -> bool:
    if burned_in(dataset) == "NO":
        return False
    kinds = str(dataset.get("ImageType") or "").upper()
    return dataset.get("Modality") in OFTEN_SHOW_TEXT or "ConversionType" in dataset or "SCREEN" in kinds


def _bare_pixels(dataset: Dataset, file: DicomFile) -> None:
    """Decode compressed pixels, in whose streams comments may hide, and cut off what follows the others."""
    size = pixel_bytes(file.pixels.options)
    MEGABYTES.check(megabytes(size), file.path)
    dataset.file_meta = file.header.file_meta
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        file.pixels.decompress(dataset)
        size = len(dataset.PixelData)
    for keyword in OFFSETS:
        dataset.pop(keyword, None)
    for keyword in PIXELS:
        if keyword in dataset:
            dataset[keyword].value = _cut(dataset[keyword], size, file.header.original_encoding == (False, False))


def _cut(element: DataElement, size: int, swapped: bool) -> bytes:
    """So many bytes of pixels and, if odd, a zero, which stands before the last one where words are swapped."""
    value: bytes = element.value
    if size % 2 and swapped and element.VR == "OW":
        return value[: size - 1] + bytes(1) + value[size : size + 1]
    return value[:size] + bytes(size % 2)


def _replace_meta(dataset: Dataset, file: DicomFile) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.preamble = PREAMBLE


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
