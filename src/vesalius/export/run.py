"""Export a trained segmenter to a folder of graphs, checked against the model and timed; or write nothing."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from statistics import median

import torch
from rich.progress import Progress

from vesalius import __version__
from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import DataError, OutputError, require
from vesalius.export.checking import CHECKED, DiceChange, check_dice, check_numbers, why_not_naming
from vesalius.export.tracing import Tracing, check_exportable, quantise, trace_model, write_graph
from vesalius.files import end_of_name, sha256_of
from vesalius.journal import alone
from vesalius.models import Segmenter
from vesalius.models.checkpoint_file import (
    JOBS,
    SUFFIX,
    ExportContract,
    GraphName,
    GraphProgram,
    Job,
    NumberFormat,
    find_checkpoint,
    read_notes,
    write_contract,
)
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.exported import import_openvino, open_exported, unreported

ROUNDS = 15
PROMPT = "one small white polyp"


@dataclass(frozen=True)
class Timing:
    """Median milliseconds of one model, for one image at its working size and one prompt."""

    image: float
    """Time to encode an image."""
    prompt: float
    """Time to encode a prompt, which is done once for any number of images."""
    decoder: float
    """Time to answer one prompt about one image."""

    @property
    def answer(self) -> float:
        """For a new image and a prompt met before."""
        return self.image + self.decoder


def time_models(models: Sequence[Segmenter], rounds: int = ROUNDS) -> list[Timing]:
    """Time models that work on the same size.

    Args:
        models: In evaluation mode.
        rounds: Turns of each, after one to warm up.
    """
    steps = [_steps(model) for model in models]
    seconds: list[list[list[float]]] = [[[] for _ in each] for each in steps]
    for turn in range(rounds + 1):
        for each, found in zip(steps, seconds, strict=True):
            for step, times in zip(each, found, strict=True):
                started = time.perf_counter()
                step()
                if turn:
                    times.append(time.perf_counter() - started)
    return [Timing(*(1000 * median(times) for times in found)) for found in seconds]


@torch.inference_mode()
def _steps(model: Segmenter) -> list[Callable[[], object]]:
    size = model.spec.image_size
    picture = torch.rand(1, 3, size, size)
    image, text = model.encode_image(picture), model.encode_text([PROMPT])
    return [
        torch.inference_mode()(lambda: model.encode_image(picture)),
        torch.inference_mode()(lambda: model.encode_text([PROMPT])),
        torch.inference_mode()(lambda: model.decode(image, text)),
    ]


@dataclass(frozen=True)
class ExportReport:
    """An export compared with the model it was made from."""

    folder: Path
    difference: float
    """Largest difference of any logit before weights are rounded."""
    dice: DiceChange | None
    """Mean Dice on validation images; None in 32-bit floats."""
    sizes: tuple[int, int]
    """Bytes of the checkpoint and of the export's folder."""
    timings: tuple[Timing, Timing]
    """Timings in PyTorch and of the export."""
    refused: Mapping[Job, str]
    """Jobs that it does not do, and why."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        before, after = self.timings
        return {
            "folder": str(self.folder),
            "largest_difference_float32": self.difference,
            "dice": None if self.dice is None else asdict(self.dice),
            "bytes": dict(zip(("checkpoint", "export"), self.sizes, strict=True)),
            "jobs": [job for job in JOBS if job not in self.refused],
            "refused_jobs": dict(self.refused),
            "milliseconds": {"pytorch": asdict(before), "export": asdict(after)},
        }


@dataclass(frozen=True)
class _Work:
    model: Segmenter
    tracings: Mapping[GraphName, Tracing]
    folder: Path
    bar: Progress

    def opened(self, runtime: GraphProgram) -> Segmenter:
        """The graphs as they are in the folder now."""
        return open_exported(self.folder, self.contract(runtime))

    def contract(self, runtime: GraphProgram) -> ExportContract:
        """Of the files as they are now."""
        files = {path.name: sha256_of(path) for path in sorted(self.folder.iterdir())}
        return ExportContract(runtime, "float32", self.model.recipe, files, {})


def export_model(
    source: str | Path, out: Path, bar: Progress, *, runtime: GraphProgram = "onnx", calibrate: Path | None = None
) -> ExportReport:
    """Write a model's graphs into a folder that ``load_model`` opens, and check that they are the same model.

    Args:
        source: A model's name, a checkpoint or a run's folder.
        out: A folder that is not there yet.
        bar: Shows what is being done.
        runtime: Which program is to run them.
        calibrate: A data set: 8-bit graphs, calibrated on its training images and checked on its validation images.

    Raises:
        OutputError: If ``out`` is there already, cannot be written, or another process exports to it.
        MissingPackageError: If the extra ``export`` is not installed.
        ModelError: If the model cannot be exported, or the export would not be the same model.
        DataError: If the data set cannot be read.
    """
    checkpoint = find_checkpoint(source)
    if out.exists():
        raise OutputError(f"{out}: is there already; choose another folder with --out.")
    import_openvino() if runtime == "openvino" else require("onnxruntime", extra="export")
    data = None if calibrate is None else (_read_split(calibrate, "train"), _read_split(calibrate, "val"))
    model = load_segmenter(source)
    check_exportable(model)
    try:
        with _unfinished(out) as folder:
            report = _fill(_Work(model, trace_model(model), folder, bar), runtime, data, checkpoint)
            os.replace(folder, out)
    except OSError as error:
        remedy = "check that the folder can be written and has room"
        raise OutputError(f"{out}: cannot be written ({error.strerror or error}); {remedy}.") from error
    return replace(report, folder=out)


@contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """A new folder beside ``out``, removed in the end; what an export left there that was killed is removed first."""
    place = out.with_name(f".export-{end_of_name(out.name)}")
    with alone(place, "export", ".lock"):
        folder = place / "graphs"
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _read_split(root: Path, split: str) -> SegmentationDataset:
    dataset = SegmentationDataset(root, split)
    if not len(dataset):
        raise DataError(f"{root}/anns/{split}.json: has no image, and calibration needs some to train and to validate.")
    return dataset


def _fill(
    work: _Work, runtime: GraphProgram, data: tuple[SegmentationDataset, SegmentationDataset] | None, checkpoint: Path
) -> ExportReport:
    _write_graphs(work)
    found = None
    if data is None:
        _convert(work, runtime)
        exported = work.opened(runtime)
        difference = check_numbers(work.model, exported)
    else:
        train, val = data
        difference = check_numbers(work.model, work.opened("onnx"))
        _quantise(work, train, runtime)
        _convert(work, runtime)
        exported = work.opened(runtime)
        task = work.bar.add_task("Comparing Dice", total=min(len(val), CHECKED))
        found = check_dice(work.model, exported, val, lambda: work.bar.advance(task))
    work.bar.add_task("Measuring", total=None)
    before, after = time_models([work.model, exported])
    reason = why_not_naming(work.model, exported, None if data is None else data[1])
    refused: dict[Job, str] = {} if reason is None else {"name": reason}
    precision: NumberFormat = "float32" if data is None else "int8"
    contract = replace(work.contract(runtime), precision=precision, notes=read_notes(checkpoint), refused=refused)
    write_contract(work.folder, contract, work.model.spec, _facts(work, difference, found))
    size = sum(path.stat().st_size for path in work.folder.iterdir())
    return ExportReport(work.folder, difference, found, (checkpoint.stat().st_size, size), (before, after), refused)


def _write_graphs(work: _Work) -> None:
    task = work.bar.add_task("Tracing", total=len(work.tracings))
    for graph, tracing in work.tracings.items():
        write_graph(tracing, work.folder / f"{graph}{SUFFIX['onnx']}")
        work.bar.advance(task)


def _quantise(work: _Work, train: SegmentationDataset, runtime: GraphProgram) -> None:
    task = work.bar.add_task("Reducing to 8 bits", total=len(work.tracings))
    for graph in work.tracings:
        path = work.folder / f"{graph}{SUFFIX['onnx']}"
        quantise(path, graph, work.model, train, seven_bits=runtime == "openvino")
        work.bar.advance(task)


def _convert(work: _Work, runtime: GraphProgram) -> None:
    if runtime == "onnx":
        return
    openvino = import_openvino()
    for name in work.tracings:
        source = work.folder / f"{name}{SUFFIX['onnx']}"
        # As bytes, because it takes a comma in a path for two paths. Core().read_model, which does not, leaves 8-bit
        # graphs in a form that runs half as fast.
        with unreported():
            graph = openvino.convert_model(BytesIO(source.read_bytes()))
        openvino.save_model(graph, source.with_suffix(SUFFIX[runtime]), compress_to_fp16=False)
        source.unlink()


def _facts(work: _Work, difference: float, found: DiceChange | None) -> dict[str, object]:
    checks: dict[str, object] = {"largest_difference_float32": difference}
    if found is not None:
        checks["dice"] = {"images": found.images, "before": found.before, "after": found.after}
    inputs = {graph: tracing.inputs for graph, tracing in work.tracings.items()}
    return {"vesalius": __version__, "inputs": inputs, "checks": checks}
