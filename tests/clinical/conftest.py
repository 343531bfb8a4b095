"""Small series with all that an archive keeps of them, and a model that marks exactly what is bright."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from vesalius.predict import Predictor
from vesalius.runtime.contract import EncodedImages, EncodedPhrases, Outlines

CT = "1.2.840.10008.5.1.4.1.1.2"
SIZE = (12, 16)
PATIENT = {
    "SpecificCharacterSet": "ISO_IR 100", "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.4.5",
    "FrameOfReferenceUID": "1.2.3.4.9", "PatientName": "Müller^Änne", "PatientID": "secret-17", "PatientSex": "F",
    "PatientBirthDate": "19500102", "StudyDate": "20240102", "StudyTime": "101112", "AccessionNumber": "A17",
    "StudyID": "S1", "ReferringPhysicianName": "Doe^Jane", "PatientAge": "074Y", "StudyDescription": "Abdomen",
}  # fmt: skip

WriteImage = Callable[..., Path]


class ExactRuntime:
    """Marks every pixel that is brighter than the middle, at the picture's own size; "nothing" marks none."""

    name, device, image_size, reads_text, judges_existence, logit_scale = "exact", "cpu", 8, True, True, 1.0

    def encode_image(self, rgb: np.ndarray) -> EncodedImages:
        return EncodedImages(self.embed_image(rgb), rgb[0, ..., 0])

    def embed_image(self, rgb: np.ndarray) -> np.ndarray:
        return np.zeros((len(rgb), 0), np.float32)

    def encode_text(self, phrases: list[str]) -> EncodedPhrases:
        return EncodedPhrases(np.array([[phrase == "nothing"] for phrase in phrases], np.float32))

    def decode(self, image: EncodedImages, text: EncodedPhrases) -> Outlines:
        nothing = text.vectors[:, 0] == 1
        logits = [np.full_like(image.maps, -20) if each else 40 * (image.maps - 0.5) for each in nothing]
        return Outlines(np.stack(logits), np.where(nothing, -4.0, 4.0))


@pytest.fixture
def exact() -> Predictor:
    return Predictor(ExactRuntime())


@pytest.fixture
def complaints() -> Callable[[Path], list[str]]:
    """Errors of dciodvfy, an independent validator."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (Debian: dicom3tools)")

    def check(path: Path) -> list[str]:
        told = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        return [line for line in (told.stderr + told.stdout).splitlines() if line.startswith("Error")]

    return check


@pytest.fixture
def write_image(build_dicom: Callable[..., Dataset], tmp_path: Path) -> WriteImage:
    """Write one file below tmp_path; attributes that are None are left out."""

    def write(name: str, pixels: np.ndarray, sop_class: str = CT, **attributes: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        modality = "CT" if sop_class == CT else "MR"
        dataset = build_dicom(pixels, **{**PATIENT, "SOPClassUID": sop_class, "Modality": modality, **attributes})
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def write_series(write_image: WriteImage, tmp_path: Path) -> Callable[..., Path]:
    """Write a CT of slices 7 mm apart, no two alike; neither names nor InstanceNumber follow their order."""

    def write(
        orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
        step: Sequence[float] = (0, 0, 7),
        numbers: Sequence[int] = (0, 1, 2, 3, 4),
        folder: str = "series",
        **attributes: object,
    ) -> Path:
        for number in numbers:
            place = {
                "ImageOrientationPatient": list(orientation),
                "ImagePositionPatient": [-40 + number * step[0], 10.5 + number * step[1], -7.25 + number * step[2]],
                "PixelSpacing": [6.5, 7.5],
                "SliceThickness": 4,
                "InstanceNumber": (number * 7) % 11 + 1,
                "RescaleIntercept": -1024,
                "RescaleSlope": 1,
                "SOPInstanceUID": f"1.2.3.4.5.{number + 1}",
            }
            write_image(f"{folder}/{(number * 3) % 7}.dcm", blob(number), **{**place, **attributes})
        return tmp_path / folder

    return write


def blob(number: int) -> np.ndarray:
    """A slice with a bright rectangle that is another in every slice and no mirror image of itself."""
    pixels = np.full(SIZE, 200, np.int16)
    pixels[1 : 4 + number, 2 + number : 9 + number] = 2500
    pixels[1, 14] = 2500
    return pixels


@pytest.fixture
def frames() -> Callable[..., np.ndarray]:
    """Pixels of a multi-frame image."""
    return lambda count: np.stack([blob(number) for number in range(count)]).astype(np.uint16)


@pytest.fixture
def groups() -> Callable[..., dict[str, object]]:
    """Functional groups of a multi-frame image: position and orientation of each frame, and what all share."""

    def make(places: Sequence[tuple[Sequence[float], Sequence[float]]]) -> dict[str, object]:
        each_frame = []
        for position, orientation in places:
            frame = Dataset()
            for name, keyword, value in (
                ("PlanePositionSequence", "ImagePositionPatient", position),
                ("PlaneOrientationSequence", "ImageOrientationPatient", orientation),
            ):
                group = Dataset()
                setattr(group, keyword, [float(each) for each in value])
                setattr(frame, name, [group])
            each_frame.append(frame)
        measures, shared = Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = [6.5, 7.5], 4.0
        shared.PixelMeasuresSequence = [measures]
        return {"PerFrameFunctionalGroupsSequence": each_frame, "SharedFunctionalGroupsSequence": [shared]}

    return make
