"""What is done with one item: fetch its files, read them, ask the model, and tell rows and masks."""

import hashlib
import io
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from vesalius.archive.items import WorkItem
from vesalius.archive.request import ArchiveRequest
from vesalius.archive.schema import MASKS, ROWS
from vesalius.archive.store import is_remote, open_filesystem, tell_error
from vesalius.errors import ImageError, ModelError, OutputError, reason_of
from vesalius.files import escape_surrogates, parse_json, sha256_of, to_json, to_utf8
from vesalius.imaging import MedicalImage, SliceStack
from vesalius.imaging.search import FoundSeries, group_files
from vesalius.imaging.slices import to_file_order
from vesalius.models.checkpoint_file import find_checkpoint
from vesalius.naming.labeller import AnatomyLabeller
from vesalius.predict import Predictor
from vesalius.segmentation import Segmentation

Row = dict[str, object]
LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Failures of file systems that another try does not mend."""


@dataclass
class ItemOutcome:
    """What became of one item."""

    rows: pa.Table
    masks: pa.Table
    slices: int = 0
    failures: list[dict[str, object]] = field(default_factory=list)
    """What could not be read, all of it or a series: {"source", "reason"}."""
    again: bool = False
    """Whether the failure may pass, as that of a network."""
    left_out: int = 0
    """Files without an ending that are no images."""
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "model": 0.0, "write": 0.0})

    @staticmethod
    def failed(request: ArchiveRequest, source: str, reason: str, *, again: bool = False) -> "ItemOutcome":
        """An item without rows."""
        rows, masks = ROWS[request.task].empty_table(), MASKS.empty_table()
        return ItemOutcome(rows, masks, failures=[{"source": source, "reason": reason}], again=again)

    def to_bytes(self) -> bytes:
        """Ready for a pipe: both tables as Arrow streams, then the rest as JSON."""
        sink = io.BytesIO()
        for table in (self.rows, self.masks):
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        names = ("slices", "failures", "again", "left_out", "seconds")
        told = {name: getattr(self, name) for name in names}
        sink.write(to_json(told, indent=None).encode())
        return sink.getvalue()

    @staticmethod
    def from_bytes(raw: bytes) -> "ItemOutcome":
        """The outcome of a ``to_bytes``."""
        source = pa.BufferReader(raw)
        rows, masks = (pa.ipc.open_stream(source).read_all() for _ in range(2))
        told: Any = parse_json(source.read().decode(), "outcome")
        return ItemOutcome(rows, masks, **told)


class ItemWorker:
    """A model, and what it is asked of every item.

    Args:
        request: What is asked.
        threads: Threads that compute; 0 for all cores.

    Raises:
        ConfigError, MissingPackageError, ModelError: If the model cannot be opened, or is another than the request's.
    """

    def __init__(self, request: ArchiveRequest, threads: int = 0) -> None:
        own = sha256_of(find_checkpoint(request.model, request.task))
        if own != request.weights:
            raise ModelError(
                f"{request.model}: this machine has other weights ({own[:12]}…) than the run began with "
                f"({request.weights[:12]}…); install the same on all machines."
            )
        self.request = request
        opened = AnatomyLabeller if request.task == "name" else Predictor
        how = {"runtime": request.runtime, "device": request.device, "precision": request.precision}
        self._asked: AnatomyLabeller | Predictor = opened(request.model, threads=threads, **how)  # type: ignore[arg-type]

    def run(self, item: WorkItem) -> ItemOutcome:
        """Work on one item; whatever is wrong with it is told, not raised.

        Raises:
            ModelError: If no item at all can be worked on.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="vesalius-", ignore_cleanup_errors=True) as temporary:
                return self._run(item, Path(temporary))
        except OSError as error:
            where = "" if error.filename is None else f"{Path(os.fsdecode(error.filename)).name}: "
            reason = f"{item.name}: cannot be read ({where}{error.strerror or error}); check the file and its access."
            return ItemOutcome.failed(self.request, item.name, reason, again=not isinstance(error, LASTING))
        except Exception as error:  # even a fault of ours in one item must not lose all others
            return ItemOutcome.failed(self.request, item.name, reason_of(item.name, error))

    def _run(self, item: WorkItem, temporary: Path) -> ItemOutcome:
        begin = time.perf_counter()
        try:
            files = _fetch(item, temporary)
        except (OutputError, ImageError) as error:
            return ItemOutcome.failed(self.request, item.name, str(error), again=True)
        except Exception as error:  # file systems raise exceptions of every kind
            reason = f"{item.name}: cannot be fetched ({tell_error(error)}); check the address and its access."
            return ItemOutcome.failed(self.request, item.name, reason, again=True)
        told = _Teller(self.request, item, files)
        groups = group_files(files, each=True)
        told.seconds["read"] = time.perf_counter() - begin
        if not groups:
            if _are_indexes(files):
                return told.finish(str(temporary))
            reason = f"{item.name}: none of its files is an image ({len(files)}); take them out of the source"
            return ItemOutcome.failed(self.request, item.name, f"{reason}, or export them again.")
        images = {path for group in groups for path in group.files or (group.source,)}
        told.outcome.left_out = 0 if item.only else len(set(files) - images)  # those were counted before
        for group in told.choose(groups):
            self._read_and_ask(group, told)
        if not told.outcome.slices and not told.outcome.failures:
            told.fail(item.name, f"{item.name}: holds no slice; export it again.")
        return told.finish(str(temporary))

    def _read_and_ask(self, group: FoundSeries, told: "_Teller") -> None:
        source = told.name_of(group)
        begin = time.perf_counter()
        try:
            stacks = group.read()
            told.seconds["read"] += time.perf_counter() - begin
            if isinstance(self._asked, AnatomyLabeller):
                told.name(stacks, self._asked)
            else:
                told.segment(stacks, self._asked)
            told.outcome.slices += sum(len(image.pixels) for image in stacks)
        except Exception as error:  # even a fault of ours in one item must not lose all others
            told.fail(source, reason_of(source, error))


class _Teller:
    """Rows and masks of one item; those of a series are added when all of it is done, so that it fails as a whole."""

    def __init__(self, request: ArchiveRequest, item: WorkItem, files: Sequence[Path]) -> None:
        self.request, self.item = request, item
        self.outcome = ItemOutcome(ROWS[request.task].empty_table(), MASKS.empty_table())
        self.seconds = self.outcome.seconds
        self._content = _hash(files)
        self._rows: list[Row] = []
        self._masks: list[Row] = []

    def name_of(self, group: FoundSeries) -> str:
        """What a failure of a group is called."""
        alone = len(self.item.files) == 1 or group.source.is_dir()
        return self.item.name if alone else f"{self.item.name}/{group.source.name}"

    def choose(self, groups: Sequence[FoundSeries]) -> list[FoundSeries]:
        """What is to be worked on: all, or what failed before; that is told where it cannot be tried alone."""
        if not self.item.only:
            return list(groups)
        names = {escape_surrogates(self.name_of(each)): each for each in groups}
        for source in self.item.only:
            if source not in names:
                remedy = "it belongs to a series that was done without it; name another --out to do it again"
                self.fail(source, f"{source}: cannot be tried alone; {remedy}.")
        return [group for name, group in names.items() if name in self.item.only]

    def fail(self, source: str, reason: str) -> None:
        """Note a failure."""
        self.outcome.failures.append({"source": source, "reason": reason})

    def finish(self, temporary: str) -> ItemOutcome:
        """All that was told, with no name of a temporary folder in it."""
        self.outcome.rows = pa.Table.from_pylist(self._rows, schema=ROWS[self.request.task])
        self.outcome.masks = pa.Table.from_pylist(self._masks, schema=MASKS)
        for each in self.outcome.failures:
            each["reason"] = str(each["reason"]).replace(temporary, self.item.name)
        return self.outcome

    def name(self, stacks: Sequence[MedicalImage], labeller: AnatomyLabeller) -> None:
        """Name every slice of every stack; those of a localizer together."""
        together = stacks[0].purpose.label == "localizer"
        rows: list[Row] = []
        for number, part in enumerate([stacks] if together else [[each] for each in stacks]):
            begin = time.perf_counter()
            found = labeller.label(part)
            self.seconds["model"] += time.perf_counter() - begin
            places = [place for each in part for place in self._places(each, None)]
            series: Row = {
                "modality": found.modality.label,
                "modality_source": found.modality.source,
                "protocol": found.protocol.label,
                "purpose": found.purpose.label,
                "header_body_part": found.header.get("BodyPartExamined"),
            }
            for each, place in zip(found.slices, places, strict=True):
                chances = {**each.station_probabilities, **each.organ_probabilities}
                names: Row = {"stations": list(each.stations), "organs": list(each.organs)}
                own: Row = {"stack": number, "slice": each.index, "position_mm": each.position_mm, "plane": each.plane}
                rows.append(place | series | names | own | {f"p({label})": value for label, value in chances.items()})
        self._rows += map(to_utf8, rows)

    def segment(self, stacks: Sequence[MedicalImage], predictor: Predictor) -> None:
        """Outline all phrases on every slice of every stack; each slice is encoded once."""
        rows: list[Row] = []
        masks: list[Row] = []
        for number, image in enumerate(stacks):
            stack = image.slices()
            for place, answers in zip(self._places(image, stack), self._ask(stack, predictor), strict=True):
                begin = time.perf_counter()
                here = place | {"stack": number, "modality": stack.modality}
                for answer in answers:
                    mask = to_file_order(answer.mask, stack)
                    rows.append(here | _describe(answer, mask, stack))
                    if mask.any():
                        masks.append({**here, "phrase": answer.prompt, **_pack(mask)})
                self.seconds["write"] += time.perf_counter() - begin
        self._rows += map(to_utf8, rows)
        self._masks += [to_utf8({name: row[name] for name in MASKS.names}) for row in masks]

    def _ask(self, stack: SliceStack, predictor: Predictor) -> Iterator[list[Segmentation]]:
        """Answers slice by slice."""
        begin = time.perf_counter()
        found = predictor.predict_slices(stack, self.request.prompts)
        self.seconds["model"] += time.perf_counter() - begin
        for _ in range(len(stack)):
            begin = time.perf_counter()
            answers = next(found)
            self.seconds["model"] += time.perf_counter() - begin
            yield answers

    def _places(self, image: MedicalImage, slices: SliceStack | None) -> Iterator[Row]:
        """What every row says of a slice, in display order."""
        frames = image.frames_in_display_order
        home = "" if len(self.item.files) == 1 or self.item.name == "." else f"{self.item.name}/"
        for index in range(len(image.pixels)):
            frame = frames[index] if frames else None
            own = self.item.name if frame is None or len(self.item.files) == 1 else f"{home}{frame.path.name}"
            yield {
                "key": self.item.key,
                "source": self.item.name,
                "series_uid": image.header.get("SeriesInstanceUID"),
                "slice": index,
                "file": own,
                "frame": None if frame is None else frame.index,
                "position_mm": None if slices is None else slices.position_mm(index),
                "plane": image.plane,
                "content": self._content,
                "notices": "; ".join(map(str, dict.fromkeys(image.notices))) or None,
            }


def _describe(answer: Segmentation, mask: NDArray[np.bool_], stack: SliceStack) -> Row:
    understood = answer.understanding
    told: Row = {
        "phrase": answer.prompt,
        "answer": "asked" if answer.known else understood and understood.refusal,
        "target": None if understood is None else understood.target,
    }
    if not answer.known:
        return told
    marked = int(np.count_nonzero(mask))
    spacing = stack.pixel_spacing_mm
    return told | {
        "existence": answer.existence,
        "run_existence": answer.run_existence,
        "height": mask.shape[0],
        "width": mask.shape[1],
        "marked": marked,
        "area_mm2": None if spacing is None else marked * float(np.prod(spacing)),
    }


def _pack(mask: NDArray[np.bool_]) -> Row:
    """A mask as a PNG of one bit a pixel."""
    height, width = mask.shape
    file = io.BytesIO()
    Image.frombytes("1", (width, height), np.packbits(mask, axis=1).tobytes()).save(file, "PNG")
    return {"height": height, "width": width, "png": file.getvalue()}


def _are_indexes(files: Sequence[Path]) -> bool:
    """Whether there is nothing but a DICOMDIR, as in the uppermost folder of a patient's CD."""
    from vesalius.imaging.dicom import sort_files  # pydicom loads slowly

    return sort_files(files).indexes == list(files)


def _hash(files: Sequence[Path]) -> str:
    """Checksum of the bytes of all files, one after the other."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(2**20):
                found.update(block)
    return found.hexdigest()


def _fetch(item: WorkItem, temporary: Path) -> list[Path]:
    """The files of an item on this machine: where they are, or copies in a temporary folder."""
    if item.folder.startswith(("http://", "https://")):
        from vesalius.pacs.dicomweb import DicomWeb

        DicomWeb(item.folder).fetch(item.files[0], item.files[1], temporary, instances=item.instances)
        return sorted(temporary.iterdir())
    if not is_remote(item.folder):
        return [Path(item.folder) / name for name in item.files]
    system, folder = open_filesystem(item.folder)
    found = []
    for name in item.files:
        system.get_file(f"{folder.rstrip('/')}/{name}", str(temporary / name))
        found.append(temporary / name)
    return found
