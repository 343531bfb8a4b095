"""Tiny models, tiny data sets, and where the shared material lies."""

import copy
import gc
import importlib
import importlib.util
import io
import json
import logging
import os
import pickle
import re
import sys
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

# Tiny matrices are not worth a second thread: waking it costs more than it brings. NumPy reads this when imported.
# Where a test asks for more threads, those that wait sleep: on busy cores, waiting awake takes several times the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
from PIL import Image

from vesalius.data.annotations import ask_for_absent, to_record
from vesalius.imaging import write_mask, write_rgb
from vesalius.prompts.anatomy import AnatomyLabel
from vesalius.runtime.contract import EncodedImages, EncodedPhrases, Outlines, resize_plane

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from vesalius.models import Segmenter

# PyTorch is imported by the fixtures that need it: the process that only hands out tests does without, and so does the
# core alone.
HAS_TORCH = importlib.util.find_spec("torch") is not None

TINY_CLIPSEG = {
    "image_size": 64, "taps": (1, 2, 3), "vision_width": 64, "text_width": 64, "text_layers": 2, "decoder_width": 16,
}  # fmt: skip
TINY_BIOMEDCLIPSEG = {
    "image_size": 48, "taps": (1, 2, 3), "width": 64, "text_layers": 2, "embedding": 48, "decoder_width": 16,
    "vocabulary": "bert",
}  # fmt: skip
TINY = {
    "biomedclip": {"image_size": 32, "width": 64, "layers": 2, "embedding": 48, "vocabulary": "bert"},
    "biomedclipseg": TINY_BIOMEDCLIPSEG,
    "biomedclipseg_a": TINY_BIOMEDCLIPSEG,
    "biomedclipseg_d": TINY_BIOMEDCLIPSEG,
    "clip_rn50": {"image_size": 64, "width": 8, "text_width": 64, "layers": 2},
    "clip_vit_b16": {"image_size": 32, "width": 64, "text_width": 64, "layers": 2},
    "clip_vit_b32": {"image_size": 64, "width": 64, "text_width": 64, "layers": 2},
    "clipseg": TINY_CLIPSEG,
    "clipseg_b": TINY_CLIPSEG,
    "cris": {"image_size": 64, "trunk_width": 8, "text_width": 64, "text_layers": 2, "decoder_layers": 2},
    "ensemble_c": {"a": TINY_BIOMEDCLIPSEG, "b": TINY_CLIPSEG},
    "pocket": {"image_size": 64, "trunk": 0, "text_width": 48, "text_layers": 1, "decoder_scale": 2, "condition": 16},
    "unet_d": {"image_size": 32},
}
SLIM_UNET = {
    "ENCODER_WIDTHS": (3, 14, 18, 22, 30),
    "BOTTLENECK": 40,
    "DECODER_WIDTHS": ((40, 20, 22), (42, 12, 18), (30, 10, 14), (24, 8, 0)),
}
"""Channels of the U-Nets of tests; untrained, `unet_d` of seed 0 marks most of a picture and that of seed 9 nothing."""
PROMPTS = {
    "p0": "",
    "p1": "polyp",
    "p2": ["round polyp", "oval polyp"],
    "p3": "one pink polyp, located in left of the image",
}
SIZE = (40, 56)
"""Height and width of the pictures of a tiny data set."""

SLOW_AS_A_WHOLE = re.compile(r"^pytestmark = (\[\s*)?pytest\.mark\.slow(,|$)", re.M)

BuildTiny = Callable[..., "Segmenter"]
ImportScript = Callable[[str, str], ModuleType]
WriteDataset = Callable[..., Path]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files that are slow as a whole, all that train among them, are not imported when slow tests are left out.

    Their mark stands at the start of a line, alone or first in a list.
    """
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return bool(SLOW_AS_A_WHOLE.search(collection_path.read_text(encoding="utf-8"))) or None


def pytest_collection() -> None:
    """Modules and collected tests stay; looking through them for garbage again and again is a tenth of a run."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)  # sources are parsed in half the time
    gc.enable()


def pytest_runtest_setup() -> None:
    """PyTorch computes in one thread again, whatever a test before this one asked for.

    Its number of threads belongs to the whole process, and opening a model with a number of threads sets it.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _slim_unet() -> Iterator[dict[str, object]]:
    """U-Nets of few channels everywhere: the published 11.8 M parameters take seconds to train and to save."""
    if not HAS_TORCH:
        yield {}
        return
    from vesalius.models import unet

    published = {name: getattr(unet, name) for name in SLIM_UNET}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SLIM_UNET.items():
            patch.setattr(unet, name, value)
        yield published


@pytest.fixture
def _published_unet(_slim_unet: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """U-Nets of the published width, for a test whose point is the published size."""
    from vesalius.models import unet

    for name, value in _slim_unet.items():
        monkeypatch.setattr(unet, name, value)


@pytest.fixture(scope="session")
def build_tiny() -> BuildTiny:
    """Build a named model small enough for a test, in evaluation mode, with the weights that `seed` decides.

    Of every model without further options the first is kept and copied, which takes a fifth of the time of building
    one; chance goes on as after building. Copies share their tokenizers, which nothing changes.
    """
    import torch

    from vesalius.models import build_model

    @cache
    def first(name: str, seed: int) -> "tuple[Callable[[], Segmenter], torch.Tensor]":
        torch.manual_seed(seed)
        model = build_model(name, **TINY[name]).eval()
        tokenizers = [module.tokenizer for module in model.modules() if hasattr(module, "tokenizer")]
        return copier(model, tokenizers), torch.get_rng_state()

    def build(name: str, *, seed: int = 0, **options: object) -> "Segmenter":
        if options:
            torch.manual_seed(seed)
            return build_model(name, **{**TINY[name], **options}).eval()
        copied, chance = first(name, seed)
        torch.set_rng_state(chance)
        return copied()

    return build


def copier(model: "Segmenter", shared: Collection[object]) -> "Callable[[], Segmenter]":
    """As ``copy.deepcopy``, which spends its time on thousands of small dictionaries.

    All but the tensors is pickled, once; what is shared stays one object.
    """
    import torch

    kept: list[object] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, each: object) -> int | None:
            if not isinstance(each, torch.Tensor) and not any(each is other for other in shared):
                return None
            kept.append(each)
            return len(kept) - 1

    file = io.BytesIO()
    Pickler(file).dump(model)

    def copy_model() -> "Segmenter":
        memo: dict[int, object] = {id(each): each for each in shared}
        unpickler = pickle.Unpickler(io.BytesIO(file.getvalue()))
        unpickler.persistent_load = lambda place: copy.deepcopy(kept[place], memo)
        return unpickler.load()

    return copy_model


class BrightRuntime:
    """Outlines what is bright, for every phrase, in 8 by 8 blocks; surely there."""

    name, device, image_size, reads_text, judges_existence, logit_scale = "bright", "cpu", 8, True, True, 1.0

    def encode_image(self, rgb: np.ndarray) -> EncodedImages:
        return EncodedImages(self.embed_image(rgb), resize_plane(rgb[0, ..., 0], (8, 8)))

    def embed_image(self, rgb: np.ndarray) -> np.ndarray:
        return np.zeros((len(rgb), 0), np.float32)

    def encode_text(self, phrases: list[str]) -> EncodedPhrases:
        return EncodedPhrases(np.zeros((len(phrases), 0), np.float32))

    def decode(self, image: EncodedImages, text: EncodedPhrases) -> Outlines:
        count = len(text.vectors)
        return Outlines(np.stack([20 * (image.maps - 0.5)] * count), np.full(count, 3.0))


@pytest.fixture(scope="session")
def bright() -> BrightRuntime:
    """A model that marks something, but not everything."""
    return BrightRuntime()


@pytest.fixture(scope="session")
def import_script() -> ImportScript:
    """Import a script by its folder in the repository and its name; it finds those beside it."""

    def load(folder: str, name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(Path(__file__).parents[1] / folder))
            return importlib.import_module(name)

    return load


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared material beside the repository."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the shared material in {folder}, which is not part of the repository")
    return folder


@pytest.fixture(scope="session")
def write_dataset(tmp_path_factory: pytest.TempPathFactory) -> WriteDataset:
    """Write a data set of coloured ellipses in the benchmark's layout; `prompts` are every record's."""

    def write(name: str = "ellipses", *, train: int = 4, val: int = 2, prompts: dict[str, object] = PROMPTS) -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path_factory.mktemp("data") / name
        for folder in ("images", "masks", "anns"):
            (root / folder).mkdir(parents=True)
        for split, count in {"train": train, "val": val, "test": 2}.items():
            records = []
            for index in range(count):
                image_name = f"{split}_{index}.png"
                rgb, mask = draw_ellipse(SIZE, rng)
                write_rgb(root / "images" / image_name, rgb)
                write_mask(root / "masks" / image_name, mask)
                records.append({"img_name": image_name, "mask_name": image_name, "prompts": prompts})
            (root / "anns" / f"{split}.json").write_text(json.dumps(records), encoding="utf-8")
        return root

    return write


@pytest.fixture(scope="session")
def add_absent() -> Callable[[Path, str], Path]:
    """Add a record about what it does not show to each image of a split; returns the data set's folder."""

    def add(root: Path, split: str) -> Path:
        path = root / "anns" / f"{split}.json"
        rows = json.loads(path.read_text(encoding="utf-8"))
        records = [to_record(row, str(path)) for row in rows]
        images = []
        for record in records:
            with Image.open(root / "images" / record.img_name) as picture:
                images.append((record, picture.size[::-1], ("a bicycle", "a stent")))
        path.write_text(json.dumps(rows + ask_for_absent(root, images)), encoding="utf-8")
        return root

    return add


@pytest.fixture(scope="session")
def tiny_dataset(write_dataset: WriteDataset) -> Path:
    """Four training, two validation and two test pictures whose target the catalog knows; not to be changed."""
    return write_dataset("kvasir_polyp")


def draw_ellipse(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture [H, W, 3] in [0, 1] with one bright ellipse, and its mask [H, W]."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    centre, radius = rng.uniform(0.3, 0.7, 2) * size, rng.uniform(0.15, 0.3, 2) * size
    mask = ((rows - centre[0]) / radius[0]) ** 2 + ((columns - centre[1]) / radius[1]) ** 2 < 1
    colour = rng.uniform(0.5, 0.9, 3)
    rgb = np.where(mask[..., None], colour, 0.2) + rng.normal(0, 0.02, (*size, 3))
    return rgb.clip(0, 1), mask


KINDS = {
    "head": AnatomyLabel("MR", "T1", "axial", frozenset({"head"}), frozenset({"brain"})),
    "abdomen": AnatomyLabel("CT", None, "axial", frozenset({"abdomen"}), frozenset({"liver", "kidneys"})),
    "chest": AnatomyLabel("CT", None, "coronal", frozenset({"chest"}), frozenset({"lungs"}), frozenset({"heart"})),
}


@pytest.fixture(scope="session")
def tiny_slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three kinds of slices, told apart by their brightness: nine to train on, three for validation, three to test."""
    from vesalius.data.slices.table import PICTURES, SliceRow, write_slice_table

    root, rng, rows = tmp_path_factory.mktemp("slices"), np.random.default_rng(0), []
    (root / PICTURES).mkdir()
    for split, count in {"train": 3, "val": 1, "test": 1}.items():
        for shade, (kind, label) in zip((50, 120, 200), KINDS.items(), strict=True):
            for index in range(count):
                file = f"{PICTURES}/{kind}_{split}_{index}.png"
                Image.fromarray((rng.random((32, 32)) * 20 + shade).astype(np.uint8)).save(root / file)
                patient = f"{kind}-{split}-{index}"
                rows.append(SliceRow(file, patient, patient, split, float(index), index, None, 0.0, label))
    write_slice_table(root, rows)
    return root


class Logged(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    @property
    def text(self) -> str:
        """Messages and tracebacks."""
        return "\n".join(map(self.format, self.records))


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What is logged at any level, except by loggers that keep it from the root logger.

    In place of pytest's `caplog`, whose plugin visits all loggers three times a test, and PyTorch has hundreds.
    """
    root, kept = logging.getLogger(), Logged()
    level = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    yield kept
    root.setLevel(level)
    root.removeHandler(kept)


@pytest.fixture
def build_dicom() -> Callable[..., "Dataset"]:
    """Build a DICOM image of frames [H, W], [F, H, W] or, in colour, [..., 3], without attributes that are None."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def build(pixels: np.ndarray, **attributes: object) -> Dataset:
        dataset = Dataset()
        colour = pixels.ndim > 2 and pixels.shape[-1] == 3
        grid = pixels.shape[:-1] if colour else pixels.shape
        bits = pixels.dtype.itemsize * 8
        own = {
            "SOPClassUID": CTImageStorage, "SOPInstanceUID": generate_uid(), "Modality": "CT",
            "Rows": grid[-2], "Columns": grid[-1], "NumberOfFrames": grid[0] if len(grid) == 3 else None,
            "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1,
            "PixelRepresentation": int(pixels.dtype.kind == "i"), "SamplesPerPixel": 3 if colour else 1,
            "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
            "PlanarConfiguration": 0 if colour else None,
        }  # fmt: skip
        for keyword, value in {**own, **attributes}.items():
            if value is not None:
                setattr(dataset, keyword, value)
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        return dataset

    return build


@pytest.fixture
def write_echoes(build_dicom) -> Callable[[Path], Path]:
    """Write a DICOM series of two stacks into a folder: three slices of one echo, and one of another."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True)
        for number, (height, echo) in enumerate([(0.0, 10), (3.0, 10), (6.0, 10), (0.0, 20)], start=1):
            pixels = np.full((16, 20), 50 * number, np.int16)
            pixels[:, 10:] = 1000
            place = {"ImagePositionPatient": [0.0, 0.0, height], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
            facts = {"PixelSpacing": [2.0, 2.0], "InstanceNumber": number, "SeriesInstanceUID": "1.2.3"}
            made = build_dicom(pixels, EchoTime=echo, **place, **facts)
            made.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        return folder

    return write


@pytest.fixture
def lock_folder(monkeypatch) -> Callable[[Path], None]:
    """Let nobody list a folder, as with a mode of 0, which does not stop who runs tests as root."""
    listing = os.scandir

    def lock(folder: Path) -> None:
        def refuse(path: str | Path = ".") -> Iterator[os.DirEntry[str]]:
            if Path(path) == folder:
                raise PermissionError(13, "Permission denied", str(path))
            return listing(path)

        monkeypatch.setattr(os, "scandir", refuse)

    return lock


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command in an empty folder; its exit code, and what it printed on stdout and stderr."""
    from vesalius.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run
