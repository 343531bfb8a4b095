"""A small archive of pictures and DICOM files, and a model without PyTorch that tells from brightness what is shown."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from vesalius.archive.encoding import SliceEncoder
from vesalius.archive.index import ArchiveIndex
from vesalius.archive.indexing import IndexReport, update_index
from vesalius.naming.phrasebook import LABELS, NamingCalibration, Phrasebook, label_phrases
from vesalius.runtime.contract import EncodedImages, EncodedPhrases, Outlines

MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
SHOWN = {
    40: {"modality": "X-ray", "stations": "upper limb", "organs": "hand"},
    80: {"modality": "CT", "plane": "axial", "stations": "chest", "organs": "lungs"},
    120: {"modality": "CT", "plane": "axial", "stations": "abdomen", "organs": "liver"},
    160: {"modality": "MR", "plane": "sagittal", "protocol": "T2", "stations": "lower body", "organs": "knee"},
    200: {"modality": "MR", "plane": "axial", "protocol": "T1", "stations": "head", "organs": "brain"},
    225: {"modality": "fundus"},
    245: {"modality": "endoscopy"},
}
"""Brightness -> what the model takes it for; others count as the nearest."""


class BrightnessNamer:
    """Every label is a direction, and so is brightness itself; other phrases have none."""

    name, device, image_size, reads_text, judges_existence, logit_scale = "fake", "cpu", 8, True, False, 20.0

    def __init__(self) -> None:
        pairs = [(question, label) for question, labels in LABELS.items() for label in labels]
        self.columns = {pair: column for column, pair in enumerate(pairs)}
        self.phrases = {text: column for pair, column in self.columns.items() for text in label_phrases(*pair)}
        self.seen = 0
        self.patience: int | None = None
        """Pictures after which the process dies."""

    def embed_image(self, rgb: np.ndarray) -> np.ndarray:
        self.seen += len(rgb)
        if self.patience is not None and self.seen > self.patience:
            raise KeyboardInterrupt
        return np.stack([self._tell(255 * float(each.mean())) for each in rgb])

    def encode_text(self, phrases: list[str]) -> EncodedPhrases:
        vectors = np.zeros((len(phrases), len(self.columns) + 1), np.float32)
        for row, phrase in enumerate(phrases):
            if phrase in self.phrases:
                vectors[row, self.phrases[phrase]] = 1
        return EncodedPhrases(vectors)

    def encode_image(self, rgb: np.ndarray) -> EncodedImages:
        return EncodedImages(self.embed_image(rgb), None)

    def decode(self, image: EncodedImages, text: EncodedPhrases) -> Outlines:
        raise NotImplementedError

    def _tell(self, level: float) -> np.ndarray:
        vector = np.zeros(len(self.columns) + 1, np.float32)
        for pair in SHOWN[min(SHOWN, key=lambda each: abs(each - level))].items():
            vector[self.columns[pair]] = 1
        vector[-1] = 3 * level / 255
        return vector


@pytest.fixture
def namer() -> BrightnessNamer:
    return BrightnessNamer()


@pytest.fixture
def encoder(namer: BrightnessNamer) -> SliceEncoder:
    return SliceEncoder(namer, Phrasebook(namer, NamingCalibration({})), "fake", "0" * 64)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    root.mkdir()
    return root


WritePicture = Callable[..., Path]


@pytest.fixture
def write_picture(archive: Path) -> WritePicture:
    """Write a grey picture into the archive, with a somewhat brighter edge unless it is blank."""

    def write(name: str, level: int, *, blank: bool = False) -> Path:
        path = archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((12, 12), level, np.uint8)
        pixels[0] += 0 if blank else 4
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def write_mr(archive: Path) -> Callable[..., Path]:
    """Write one sagittal MR slice into the archive, as a modality would, patient included."""

    def write(name: str, level: int, number: int, **attributes: object) -> Path:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MR_STORAGE
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        known = {
            "PatientName": "Doe^Jane", "PatientID": "MRN-778", "PatientBirthDate": "19610102", "StudyDate": "20240506",
            "AccessionNumber": "ACC-9", "SeriesInstanceUID": "1.2.826.55", "StudyInstanceUID": "1.2.826.44",
            "Modality": "MR", "BodyPartExamined": "KNEE", "SeriesDescription": "T2W_TSE cartilage",
            "ProtocolName": "knee routine", "ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "PixelSpacing": [1.0, 1.0],
            "ImagePositionPatient": [float(4 * number), 0.0, 0.0], "InstanceNumber": number, "WindowCenter": 128,
            "WindowWidth": 256, "Rows": 12, "Columns": 12, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
            "PixelRepresentation": 0, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        }  # fmt: skip
        for keyword, value in {**known, **attributes}.items():
            setattr(dataset, keyword, value)
        pixels = np.full((12, 12), level, np.uint16)
        pixels[0], pixels[-1] = range(1, 13), 255  # the display range of MR is what the image has
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        path = archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the index goes."""
    return tmp_path / "index"


@pytest.fixture
def reindex(archive: Path, folder: Path, encoder: SliceEncoder) -> Callable[..., IndexReport]:
    """Bring the index up to date."""

    def run(**options: object) -> IndexReport:
        return update_index(archive, folder, encoder, **options)

    return run


@pytest.fixture
def filled(write_picture: WritePicture, write_mr, reindex, folder: Path) -> Iterator[ArchiveIndex]:
    """An open index of a hand, a chest, two livers and a knee of three slices."""
    for name, level in {"hand.png": 40, "ct/chest.png": 80, "ct/liver-a.png": 115, "ct/liver-b.png": 125}.items():
        write_picture(name, level)
    for number, level in enumerate((150, 160, 170), start=1):
        write_mr(f"knee/{number}.dcm", level, number)
    reindex()
    with ArchiveIndex.open(folder) as index:
        yield index
