"""The DICOM frames that a result is about: what refers to them, whose they are, and where they lie."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage
from pydicom.valuerep import format_number_as_ds

from vesalius.errors import ImageError
from vesalius.files import writing
from vesalius.imaging import MedicalImage, Notice
from vesalius.imaging.dicom_attributes import FileAttributes, FrameAttributes
from vesalius.imaging.dicom_file import open_dicom, reading_dicom
from vesalius.imaging.image import SourceFrame
from vesalius.imaging.orientation import MAX_MM
from vesalius.imaging.safeguards import quiet

if TYPE_CHECKING:
    from highdicom.base import SOPClass

REFERRED_TO = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
"""UIDs without which nothing can refer to an image."""
ALIKE = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
"""Attributes in which all images of a series agree."""
PATIENT_AND_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
"""Attributes that every object has, empty if need be."""
GROUPS = (0x0008, 0x0010, 0x0012, 0x0020, 0x0028, 0x0032, 0x0038, 0x0040)
"""Groups of attributes that speak of more than an acquisition."""
UNICODE = "ISO_IR 192"

UNPLACED = Notice(
    "no place in the patient is written",
    "the images have no positions or no common frame of reference, so viewers find the frames by references alone",
)


@dataclass(frozen=True)
class ReferencedFrame:
    """One frame of an image; directions and positions are DICOM's LPS mm."""

    sop_class: str
    instance: str
    number: int | None
    """Number in its file, from 1; None if that has one frame only."""
    position: tuple[float, ...]
    """Centre of the first pixel, [3]; () if unknown."""
    orientation: tuple[float, ...]
    """Direction of growing column index, then of growing row index, [6]; () if unknown."""
    spacing: tuple[float, float] | None
    """Distance of rows, then of columns; None if unknown."""
    thickness: float


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The frames of one stack, and the patient and study they belong to."""

    path: Path
    """File or folder that was read."""
    header: Dataset
    """What the first file says of patient, study and series, in Unicode."""
    frames: tuple[ReferencedFrame, ...]
    """Its frames in the order of the slices of the file's own grid, see `MedicalImage.source_frames`."""
    size: tuple[int, int]
    """Rows and columns."""
    placed: bool
    """Whether all lie in one frame of reference."""
    burned_in: str | None = None
    """What the headers say of identifying text in the pixels, see `burned_in`."""

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What a result cannot say."""
        return () if self.placed else (UNPLACED,)

    def instances(self) -> list[Dataset]:
        """One dataset a file with what refers to it, and no word of the patient: highdicom logs odd names."""
        found = {frame.instance: frame for frame in self.frames}
        return [self._dataset(frame.sop_class, frame.instance) for frame in found.values()]

    def references(self) -> list[Dataset]:
        """What refers to each file, as results list their sources."""
        found = []
        for instance in self.instances():
            reference = Dataset()
            reference.ReferencedSOPClassUID = instance.SOPClassUID
            reference.ReferencedSOPInstanceUID = instance.SOPInstanceUID
            found.append(reference)
        return found

    def stand_ins(self) -> tuple[list[Dataset], dict[str, ReferencedFrame]]:
        """A single-frame dataset for each frame, whatever file it lies in, and UID -> the frame that it stands for.

        highdicom takes one multi-frame image or several others, wants one orientation that all share, and no more than
        one frame without a place. Where frames have none, they stand a millimetre apart, in their order, until the
        result is finished.
        """
        datasets, meant = [], {}
        for place, frame in enumerate(self.frames, start=1):
            dataset = self._dataset(CTImageStorage, f"2.25.{place}")
            position = frame.position if self.placed else (0.0, 0.0, -float(place))
            dataset.ImagePositionPatient = _decimals(position)
            dataset.ImageOrientationPatient = _decimals(
                self.frames[0].orientation if self.placed else (1, 0, 0, 0, 1, 0)
            )
            dataset.PixelSpacing = _decimals(self.frames[0].spacing or (1.0, 1.0))
            dataset.SliceThickness = format_number_as_ds(self.frames[0].thickness)
            dataset.FrameOfReferenceUID = self.header.FrameOfReferenceUID if self.placed else "2.25.1"
            datasets.append(dataset)
            meant[dataset.SOPInstanceUID] = frame
        return datasets, meant

    def adopt(self, result: "SOPClass") -> None:
        """Give a result the patient and study of its source, as they stand there, in Unicode."""
        with quiet("pydicom"):
            result.copy_patient_and_study_information(self.header)
        result.SpecificCharacterSet = UNICODE

    def _dataset(self, sop_class: str, instance: str) -> Dataset:
        dataset = Dataset()
        for keyword in PATIENT_AND_STUDY:
            setattr(dataset, keyword, "")
        dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
            self.header.StudyInstanceUID,
            self.header.SeriesInstanceUID,
        )
        dataset.Rows, dataset.Columns = self.size
        dataset.Modality = "OT"
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if self.header.get(keyword):
                setattr(dataset, keyword, self.header[keyword].value)
        return dataset


@quiet("pydicom")
def read_source(image: MedicalImage) -> SourceSeries:
    """Find what a result of an image has to refer to.

    Args:
        image: Read from DICOM.

    Raises:
        ImageError: If it does not come from DICOM, is made of tiles of a mosaic, lacks UIDs, or is made of files of
            several patients or studies.
    """
    path = image.source
    if not image.source_frames:
        raise ImageError(
            f"{path}: is no DICOM image, and a DICOM result refers to the images that it was made from. Name the "
            "original series, or ask for another kind of result."
        )
    if not all(frame.whole for frame in image.source_frames):
        raise ImageError(
            f"{path}: is a mosaic, whose slices are tiles of one frame, and a DICOM result cannot refer to tiles. "
            "Export it as enhanced MR or as single slices."
        )
    headers = {frame.path: open_dicom(frame.path).header for frame in image.source_frames}
    for file, header in headers.items():
        check_uids(header, file)
    _check_alike(headers.values(), ALIKE, path)
    with reading_dicom(path):
        frames = tuple(_refer(headers, image.source_frames))
        placed = _is_placed(image, headers.values())
    if len({(frame.instance, frame.number) for frame in frames}) < len(frames):
        raise ImageError(
            f"{path}: several files at different places have one SOPInstanceUID, so that a DICOM result could not say "
            "which it means; export them again from the archive."
        )
    with reading_dicom(path):
        header = _read_patient(headers[image.source_frames[0].path])
    shape = image.pixels.shape if image.source_shape is None else (0, image.source_shape[1], image.source_shape[0])
    return SourceSeries(path, header, frames, (shape[1], shape[2]), placed, burned_in(*headers.values()))


@quiet("pydicom")
def check_uids(header: Dataset, path: Path) -> None:
    """Refuse what nothing could refer to.

    Raises:
        ImageError: If a UID is missing or is none.
    """
    for keyword in REFERRED_TO:
        value = str(header.get(keyword) or "")
        if not value or not UID(value).is_valid:
            state = "is no valid UID" if value else "is missing"
            raise ImageError(
                f"{path}: its {keyword} {state}, so that a DICOM result could not refer to it; export it again from "
                "the archive."
            )


@quiet("pydicom")
def burned_in(*headers: Dataset) -> str | None:
    """What headers say of identifying text in the pixels: YES if one does, NO if all do, None if nobody knows."""
    said = {str(header.get("BurnedInAnnotation") or "").strip().upper() for header in headers}
    return "YES" if "YES" in said else "NO" if said == {"NO"} else None


@contextmanager
def building(path: Path) -> Iterator[None]:
    """Turn what libraries raise where a header holds values of no use into an error that names the file, not the value.

    Args:
        path: What was read.

    Raises:
        ImageError: For errors of values and of their kinds.
    """
    try:
        with quiet("pydicom"):  # it repeats values that are not valid
            yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ImageError(
            f"{path}: its header holds values of which no DICOM result can be made ({type(error).__name__}); have it "
            "corrected, or export it again from the archive."
        ) from error


def encode_dataset(dataset: Dataset) -> memoryview:
    """A DICOM file in memory: pydicom wraps what a full disk says into errors of its own."""
    content = BytesIO()
    with quiet("pydicom"):
        dataset.save_as(content, enforce_file_format=True)
    return content.getbuffer()


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Write a DICOM file that is whole or not there.

    Raises:
        OutputError: If it cannot be written.
    """
    content = encode_dataset(dataset)
    with writing(path) as unfinished:
        unfinished.write_bytes(content)


def _read_patient(header: Dataset) -> Dataset:
    """What a header says of patient, study and series, in Unicode; values that are not valid stay as they are."""
    kept = Dataset()
    kept.SpecificCharacterSet = header.get("SpecificCharacterSet")
    for tag in [each for each in header.keys() if each.group in GROUPS]:  # noqa: SIM118 - itself gives elements
        kept.add(header[tag])
    kept.decode()
    kept.SOPClassUID = CTImageStorage  # by which highdicom looks up what belongs to patient and study
    return kept


def _refer(headers: dict[Path, Dataset], frames: Iterable[SourceFrame]) -> Iterable[ReferencedFrame]:
    files = {path: FileAttributes(header) for path, header in headers.items()}
    for frame in frames:
        attributes = FrameAttributes(files[frame.path], frame.index)
        header = headers[frame.path]
        position, orientation = attributes.position, attributes.orientation
        yield ReferencedFrame(
            sop_class=str(header.SOPClassUID),
            instance=str(header.SOPInstanceUID),
            number=frame.index + 1 if files[frame.path].frames > 1 else None,
            position=() if position is None else tuple(position.tolist()),
            orientation=() if orientation is None else tuple(orientation.tolist()),
            spacing=attributes.spacing,
            thickness=_thickness(attributes),
        )


def _thickness(attributes: FrameAttributes) -> float:
    """SliceThickness, where it is one."""
    stated = attributes.number("SliceThickness") or 0.0
    return stated if 0 < stated < MAX_MM else attributes.thickness


def _is_placed(image: MedicalImage, headers: Iterable[Dataset]) -> bool:
    """Whether frames lie somewhere, all in one frame of reference."""
    spaces = {str(header.get("FrameOfReferenceUID") or "") for header in headers}
    return image.affine is not None and len(spaces) == 1 and "" not in spaces


def _check_alike(headers: Iterable[Dataset], keywords: Sequence[str], path: Path) -> None:
    for (one, other), keyword in itertools.product(itertools.pairwise(headers), keywords):
        if str(one.get(keyword) or "") != str(other.get(keyword) or ""):
            raise ImageError(
                f"{path}: files of this series differ in their {keyword}, and one DICOM result cannot belong to both. "
                "Put those that belong together into a folder of their own."
            )


def _decimals(values: Iterable[float]) -> list[str]:
    return [format_number_as_ds(float(each)) for each in values]
