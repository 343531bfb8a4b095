"""Small DICOM files and series, made on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

WriteDicom = Callable[..., Path]


@pytest.fixture
def write_dicom(build_dicom: Callable[..., Dataset], tmp_path: Path) -> WriteDicom:
    """Write `pixels` as `name` below tmp_path with the given DICOM attributes; `compress` names a transfer syntax."""

    def write(name: str, pixels: np.ndarray, *, compress: str | None = None, **attributes: object) -> Path:
        nobody = {"PatientName": "Nobody^Known", "PatientID": "12345", "SeriesInstanceUID": "1.2.3"}
        dataset = build_dicom(pixels, **{**nobody, **attributes})
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
