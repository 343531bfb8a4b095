"""Small DICOM files and series, made on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"

WriteDicom = Callable[..., Path]


def build_dataset(pixels: np.ndarray, attributes: dict[str, object]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CT_STORAGE
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PatientName = "Nobody^Known"
    dataset.PatientID = "12345"
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.Modality = "CT"
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    grid = pixels.shape[:-1] if colour else pixels.shape
    dataset.Rows, dataset.Columns = grid[-2:]
    if len(grid) == 3:
        dataset.NumberOfFrames = grid[0]
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset


@pytest.fixture
def write_dicom(tmp_path: Path) -> WriteDicom:
    """Write `pixels` as `name` below tmp_path with the given DICOM attributes; `compress` names a transfer syntax."""

    def write(name: str, pixels: np.ndarray, *, compress: str | None = None, **attributes: object) -> Path:
        dataset = build_dataset(pixels, attributes)
        if compress:
            dataset.compress(compress)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def write_series(write_dicom: WriteDicom, tmp_path: Path) -> Callable[..., Path]:
    """Write slices of 4×6 pixels whose values are their height in mm; file names run against the order of slices."""

    def write(heights: list[float], *, folder: str = "series", start: int = 1, **attributes: object) -> Path:
        shared = {
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [2.0, 0.5],
            "SliceThickness": 3.0,
            **attributes,
        }
        for number, height in enumerate(heights):
            pixels = np.full((4, 6), int(height), np.int16)
            name = f"{folder}/{90 - number:03d}-{start}"
            place = {"ImagePositionPatient": [10.0, 20.0, height], "InstanceNumber": start + number}
            write_dicom(name, pixels, **{**place, **shared})
        return tmp_path / folder

    return write
