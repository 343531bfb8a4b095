"""Features of frozen encoders, computed once and kept on disk, and data sets that train from them.

A store is a folder: ``rows.bin`` holds a row an image (its tensors, then its mask in bits), ``done.bin`` eight bytes a
row (0 until it is written, then its checksum), and ``store.json`` all that decided the numbers.
"""

import hashlib
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.utils.data import Dataset

from vesalius.data.datasets import SegmentationDataset
from vesalius.data.views import PromptedSample, View
from vesalius.errors import DataError, OutputError, check_positive
from vesalius.files import write_json

FORMAT = 2
"""Raise it whenever rows are laid out or computed in another way."""
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
StoredType = Literal["float32", "float16", "bfloat16"]
_ROWS, _DONE, _KEY, _LOCK = "rows.bin", "done.bin", "store.json", "lock"
_MARK = np.dtype("<u8")
_WRITTEN = 1 << 32


@dataclass(frozen=True)
class StoreConfig:
    """Whether and how features are kept."""

    on: bool = True
    """Keep them wherever that is possible."""
    dtype: StoredType = "float32"
    """Type of their numbers on disk; "float32" repeats the run without a store exactly, others take half the space."""
    limit_gb: float = 50.0
    """Largest size on disk, 10⁹ bytes; a run that would need more does not start."""

    def __post_init__(self) -> None:
        check_positive(self, "limit_gb", finite=False)


@dataclass(frozen=True)
class RowLayout:
    """What one row holds."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shapes of its tensors by name, without the batch."""
    side: int
    """Side S of its mask."""
    dtype: StoredType
    """Type of its tensors."""

    @property
    def values(self) -> int:
        """Numbers of all tensors together."""
        return sum(map(math.prod, self.shapes.values()))

    @property
    def feature_bytes(self) -> int:
        """Bytes of the tensors."""
        return self.values * DTYPES[self.dtype].itemsize

    @property
    def row_bytes(self) -> int:
        """Bytes of tensors and mask; rows begin at multiples of eight."""
        return math.ceil((self.feature_bytes + math.ceil(self.side**2 / 8)) / 8) * 8


class FeatureStore:
    """Tensors and a mask for each of a data set's images.

    Args:
        root: Where stores lie; this one gets a folder of its own there, named after its key.
        name: How that folder's name begins, for people.
        key: All that decides the numbers, JSON; anything else has another folder, so what is stale is never read.
        rows: Images.
        layout: What is kept of each.
    """

    def __init__(self, root: Path, name: str, key: Mapping[str, object], rows: int, layout: RowLayout) -> None:
        kept = {
            "format": FORMAT,
            "shapes": list(layout.shapes.items()),
            "side": layout.side,
            "dtype": layout.dtype,
            "rows": rows,
        }
        self._text = json.dumps({**key, **kept}, sort_keys=True)
        self.folder = root / f"{name}-{hashlib.sha256(self._text.encode()).hexdigest()[:32]}"
        self.rows = rows
        self.layout = layout
        self._trusted: set[int] = set()

    @property
    def total_bytes(self) -> int:
        """Bytes on disk, once it is built."""
        return self.rows * self.layout.row_bytes

    @contextmanager
    def building(self, on_wait: Callable[[], None] = lambda: None) -> Iterator[list[int]]:
        """Hold the store alone, and give the rows that are still to be written.

        A second process waits here until the first has finished, or has died; then it writes what is missing.

        Args:
            on_wait: Told once if another process is at work.

        Raises:
            OutputError: If the folder cannot be written.
            DataError: If what lies there is not this store.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / _LOCK, on_wait):
                self._prepare()
                yield [row for row in range(self.rows) if not self._mark(row)]
        except OSError as error:
            remedy = "check that the folder can be written and has room"
            raise OutputError(f"{self.folder}: cannot be written ({error.strerror or error}); {remedy}.") from error

    def write(self, rows: Sequence[int], tensors: Mapping[str, Tensor], masks: Tensor) -> None:
        """Keep B rows; a row counts from the moment its bytes are safely on disk.

        Only inside ``building``.

        Args:
            rows: B places.
            tensors: By name, each [B, ...], as the layout says.
            masks: 0 or 1, [B, 1, S, S].

        Raises:
            DataError: If a number is beyond what the layout's type can hold.
        """
        packed = [
            self._pack([tensors[name][place] for name in self.layout.shapes], masks[place])
            for place in range(len(rows))
        ]
        with (self.folder / _ROWS).open("r+b") as file:
            for row, content in zip(rows, packed, strict=True):
                file.seek(row * self.layout.row_bytes)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with (self.folder / _DONE).open("r+b") as file:
            for row, content in zip(rows, packed, strict=True):
                file.seek(row * _MARK.itemsize)
                file.write(np.array(_WRITTEN | zlib.crc32(content), _MARK).tobytes())

    def read(self, row: int) -> tuple[dict[str, Tensor], Tensor]:
        """One row.

        Returns:
            Its tensors by name, in the type they are kept in, and its mask [1, S, S], float.

        Raises:
            DataError: If the row is not there or damaged; its checksum is compared at the first reading.
        """
        content = np.array(self._content[row])
        if row not in self._trusted:
            self._check(row, content)
        values, bits = np.split(content, [self.layout.feature_bytes])
        flat = torch.from_numpy(values).view(DTYPES[self.layout.dtype])
        pieces = flat.split([math.prod(shape) for shape in self.layout.shapes.values()])
        shapes = self.layout.shapes.items()
        tensors = {name: piece.view(shape) for (name, shape), piece in zip(shapes, pieces, strict=True)}
        mask = np.unpackbits(bits, count=self.layout.side**2).astype(np.float32)
        return tensors, torch.from_numpy(mask).view(1, self.layout.side, self.layout.side)

    @cached_property
    def _content(self) -> np.ndarray:
        return np.memmap(self.folder / _ROWS, np.uint8, mode="r", shape=(self.rows, self.layout.row_bytes))

    @cached_property
    def _marks(self) -> np.ndarray:
        return np.memmap(self.folder / _DONE, _MARK, mode="r", shape=(self.rows,))

    def _mark(self, row: int) -> int:
        return int(self._marks[row])

    def _prepare(self) -> None:
        """Give all files their length, and compare what is there with what is asked for."""
        for name, length in ((_ROWS, self.layout.row_bytes), (_DONE, _MARK.itemsize)):
            with (self.folder / name).open("ab") as file:
                file.truncate(self.rows * length)
        path = self.folder / _KEY
        if not path.is_file():
            write_json(path, json.loads(self._text))
        elif not _says(path, self._text):
            raise DataError(f"{path}: does not describe what lies beside it; delete {self.folder}.")

    def _pack(self, tensors: Sequence[Tensor], mask: Tensor) -> bytes:
        flat = torch.cat([tensor.detach().cpu().flatten() for tensor in tensors]).to(DTYPES[self.layout.dtype])
        if not flat.isfinite().all():
            remedy = "take float32 or bfloat16" if self.layout.dtype == "float16" else "look at the model's weights"
            raise DataError(f"{self.folder}: features that {self.layout.dtype} cannot hold; {remedy}.")
        bits = np.packbits(mask.cpu().numpy() > 0.5)
        content = flat.view(torch.uint8).numpy().tobytes() + bits.tobytes()
        return content.ljust(self.layout.row_bytes, b"\0")

    def _check(self, row: int, content: np.ndarray) -> None:
        mark = self._mark(row)
        if not mark or mark != _WRITTEN | zlib.crc32(content.tobytes()):
            finding = "is damaged" if mark else "was never written"
            raise DataError(f"{self.folder / _ROWS}: row {row} {finding}; delete the folder, it is made anew.")
        self._trusted.add(row)


def _says(path: Path, text: str) -> bool:
    try:
        return json.dumps(json.loads(path.read_text(encoding="utf-8")), sort_keys=True) == text
    except ValueError:
        return False


@contextmanager
def _locked(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock, which the system gives back when a process ends, however it ends."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class StoredView(Dataset[PromptedSample]):
    """A view whose pictures' features and masks come from stores; prompts are drawn as ever.

    Args:
        view: What was stored.
        stores: One for each of ``view.picture_numbers``, built.
        with_images: Read and augment the images too, for models part of which sees them while it trains; without,
            an example's image is [3, 0, 0].
    """

    def __init__(self, view: View, stores: Sequence[FeatureStore], *, with_images: bool) -> None:
        self.view = view
        self.stores = stores
        self.with_images = with_images

    def __len__(self) -> int:
        return len(self.view)

    def set_epoch(self, epoch: int) -> None:
        """Draw as an epoch does from now on."""
        self.view.set_epoch(epoch)

    def __getitem__(self, index: int) -> PromptedSample:
        frozen, mask = self.stores[self.view.picture_number].read(index)
        prompt, present = self.view.draw_prompt(index)
        image = self.view.draw_picture(index, self.view.picture_number)[0] if self.with_images else torch.empty(3, 0, 0)
        return PromptedSample(image, mask if present else torch.zeros_like(mask), prompt, frozen)


def fingerprint_files(source: SegmentationDataset, on_image: Callable[[int], None] = lambda steps: None) -> str:
    """SHA-256 over the contents of all images and masks of a split, in their order.

    Args:
        source: The split.
        on_image: Told 1 after each image with its mask, for progress.

    Raises:
        DataError: If a file cannot be read.
    """
    digest = hashlib.sha256()
    for record in source.records:
        for path in record.files(source.root):
            digest.update(_hash(path))
        on_image(1)
    return digest.hexdigest()


def _hash(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        remedy = "`vesalius data check` lists what is missing"
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); {remedy}.") from error
