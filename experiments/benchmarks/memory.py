"""How much memory and time `vesalius segment` takes on large pictures and long series.

    python experiments/benchmarks/memory.py                  # everything, about fifteen minutes on two cores
    python experiments/benchmarks/memory.py --slices 250     # shorter series only

The files are made in a temporary folder (about 1.6 GB) and segmented one after the other, each in a process of its own,
whose peak of resident memory the operating system tells.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from start_up import run

PROMPT = "lungs"
SIDE = 512
LIMIT_MIB = 1200
"""What the project promises for each of these."""


def main() -> None:
    """Make, segment and measure each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs="*", default=[250, 500, 1000], help="lengths of the CT series")
    lengths = parser.parse_args().slices
    command = str(Path(sys.executable).with_name("vesalius"))
    print(f"{'file':16} {'peak MiB':>8} {'seconds':>8} {'of processor':>12}", flush=True)
    with tempfile.TemporaryDirectory() as home:
        for name, make in _cases(lengths):
            path = make(Path(home) / name)
            out = str(Path(home) / "out" / path.name)
            seconds, peak, busy = run([command, "segment", str(path), PROMPT, "--out", out])
            print(f"{name:16} {peak:8.0f} {seconds:8.1f} {busy:12.1f}{'  too much' * (peak > LIMIT_MIB)}", flush=True)
            _remove(path)


def _cases(lengths: list[int]) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    yield "scan.png", lambda path: _picture(path, (SIDE, SIDE))
    yield "big.png", lambda path: _picture(path, (9400, 9400))
    yield "big.jpg", lambda path: _picture(path, (9400, 9400, 3))
    yield "fax.tiff", _fax
    for length in lengths:
        yield f"ct{length}.nii.gz", partial(_volume, length=length)
        yield f"ct{length}.nii", partial(_volume, length=length)
        yield f"ct{length}", partial(_series, length=length)


def _picture(path: Path, size: tuple[int, ...]) -> Path:
    Image.fromarray(np.zeros(size, np.uint8)).save(path)
    return path


def _fax(path: Path) -> Path:
    first, *others = (Image.new("1", (4677, 3307), 1) for _ in range(3))
    first.save(path, save_all=True, append_images=others, compression="group4")
    return path


def _body(number: int, length: int) -> np.ndarray:
    """One slice [H, W] of an oval body with two lungs, in HU."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / (SIDE / 2) - 1
    values = np.full((SIDE, SIDE), -1000, np.int16)
    values[rows**2 / 0.4 + columns**2 / 0.7 < 1] = 40
    share = np.sin(np.pi * (number + 0.5) / length)
    for side in (-0.4, 0.4):
        values[(rows / 0.4) ** 2 + ((columns - side) / 0.25) ** 2 < share] = -800
    noise = np.random.default_rng(number).integers(-15, 16, values.shape)
    return (values + noise).astype(np.int16)


def _volume(path: Path, length: int) -> Path:
    volume = np.empty((SIDE, SIDE, length), np.int16, order="F")
    for number in range(length):
        volume[..., number] = _body(number, length).T
    nib.save(nib.Nifti1Image(volume, np.diag([-0.7, -0.7, 0.8, 1])), path)
    return path


def _series(path: Path, length: int) -> Path:
    path.mkdir()
    series, study = generate_uid(), generate_uid()
    for number in range(length):
        file = path / f"{number:04d}.dcm"
        dataset = FileDataset(file, {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
        dataset.Modality, dataset.InstanceNumber = "CT", number + 1
        dataset.Rows = dataset.Columns = SIDE
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0.8 * number], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [0.7, 0.7], 0.8
        dataset.PixelData = _body(number, length).tobytes()
        dataset.save_as(file, enforce_file_format=True)
    return path


def _remove(path: Path) -> None:
    for each in path.iterdir() if path.is_dir() else (path,):
        os.remove(each)


if __name__ == "__main__":
    main()
