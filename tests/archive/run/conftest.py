"""Tiny archives of pictures and DICOM series, and a model that outlines what is bright."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fsspec", reason="needs the extra archive")
pytest.importorskip("pyarrow", reason="needs the extra archive")

import pyarrow as pa  # noqa: E402
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid  # noqa: E402

from vesalius.archive import work  # noqa: E402
from vesalius.archive.read import read_tables  # noqa: E402
from vesalius.files import sha256_of  # noqa: E402
from vesalius.models import checkpoint_file  # noqa: E402
from vesalius.predict import Predictor  # noqa: E402

SIDE = 16
ORDER = [(name, "ascending") for name in ("source", "series_uid", "stack", "slice", "phrase")]
CUSTOMIZE = '''
"""Loaded by every process of a test: a model without weights, and names of files that break or hang what reads them."""
import importlib.abc, importlib.util, os, signal, sys, time

sys.path.insert(1, {tests!r})

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "vesalius.archive.work":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            patch(module)
        spec.loader.exec_module = exec_module
        return spec

def patch(module):
    from bright_model import BrightRuntime
    from vesalius.predict import Predictor
    module.Predictor = lambda model, **how: Predictor(BrightRuntime())
    run = module.ItemWorker.run
    def poisoned(self, item):
        if "crash" in item.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in item.name:
            time.sleep(3600)
        if "slow" in item.name:
            time.sleep(0.05)
        while "held" in item.name and os.path.exists({held!r}):
            time.sleep(0.05)
        return run(self, item)
    module.ItemWorker.run = poisoned

sys.meta_path.insert(0, Finder())
'''


def draw(path: Path, number: int) -> None:
    """A bright square somewhere on black."""
    levels = np.zeros((SIDE, SIDE), np.uint8)
    row, column = number % 5, number // 5 % 5
    levels[2 * row : 2 * row + 6, 2 * column : 2 * column + 6] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).save(path)


fingerprint_once = cache(sha256_of)


@pytest.fixture(autouse=True)
def _packaged_weights_are_hashed_once(monkeypatch) -> None:
    """The 40 MB that the package carries never change, and nearly every test asks for their fingerprint."""

    def fingerprint(path: Path) -> str:
        return fingerprint_once(path) if path.is_relative_to(checkpoint_file.WEIGHTS) else sha256_of(path)

    for module in (checkpoint_file, work):
        monkeypatch.setattr(module, "sha256_of", fingerprint)


@pytest.fixture
def write_picture() -> Callable[[Path, int], None]:
    return draw


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with seven pictures in two folders."""
    for number in range(7):
        draw(tmp_path / "in" / ("a" if number < 4 else "b") / f"{number}.png", number)
    return tmp_path / "in"


def make_slice(series: str, place: int) -> Dataset:
    """A CT slice whose upper left quarter is bright on the first two slices."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=[series, str(place)])
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["study", series]), series
    numbers = {"Rows": SIDE, "Columns": SIDE + 2, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
               "PixelRepresentation": 1, "SamplesPerPixel": 1, "InstanceNumber": place + 1,
               "RescaleSlope": 1, "RescaleIntercept": 0}  # fmt: skip
    for keyword, value in numbers.items():
        setattr(dataset, keyword, value)
    dataset.Modality, dataset.PhotometricInterpretation = "CT", "MONOCHROME2"
    dataset.PixelSpacing, dataset.ImageOrientationPatient = [2, 2], [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, -10 * place]
    values = np.full((SIDE, SIDE + 2), -1000, np.int16)
    values[:8, :8] = 3000 if place < 2 else -1000
    dataset.PixelData = values.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


@pytest.fixture
def write_series() -> Callable[..., None]:
    """Write a CT series of four slices, 10 mm apart, from the head down."""

    def write(folder: Path, series: str = "1.2.3", prefix: str = "s") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for place in range(4):
            make_slice(series, place).save_as(folder / f"{prefix}{place}.dcm", enforce_file_format=True)

    return write


@pytest.fixture
def bright_here(bright, monkeypatch) -> None:
    """Every model is one that outlines what is bright."""
    monkeypatch.setattr(work, "Predictor", lambda model, **how: Predictor(bright))


@pytest.fixture
def bright_everywhere(tmp_path, monkeypatch) -> Path:
    """The same in all processes that are started; names of files break ("crash") or hang ("hang") what reads them.

    What is called "held" hangs while there is a file "held" in the folder that is returned.
    """
    home = tmp_path / "site"
    home.mkdir()
    (home / "sitecustomize.py").write_text(CUSTOMIZE.format(tests=str(home), held=str(home / "held")))
    source = Path(__file__).parents[2] / "conftest.py"
    text = source.read_text()
    begin = text.index("class BrightRuntime")
    names = "EncodedImages, EncodedPhrases, Outlines, resize_plane"
    model = f"import numpy as np\nfrom vesalius.runtime.contract import {names}\n\n"
    (home / "bright_model.py").write_text(model + text[begin : text.index("@pytest.fixture", begin)])
    monkeypatch.syspath_prepend(str(home))
    paths = [str(home), str(Path(work.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(each for each in paths if each))
    return home


@pytest.fixture
def load() -> Callable[..., pa.Table]:
    """All rows of an archive, in one order."""

    def read(out: object, table: str = "rows") -> pa.Table:
        found = pa.concat_tables(read_tables(str(out), table))
        return found.sort_by([each for each in ORDER if each[0] in found.column_names])

    return read
