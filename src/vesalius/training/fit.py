"""Train a model: what the folder of a run holds, the run from first epoch to manifest, and ``fit`` for segmenters.

The same run goes on or is finished; another one is refused. ``contrastive`` has the run for models that name.
"""

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, seed_everything
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from vesalius.console import watch
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.fingerprints import Fingerprints, fingerprints_path, take_fingerprints, write_fingerprints
from vesalius.data.loading import Batches, Pool, ResumableLoader
from vesalius.data.views import TrainingView, ValidationView, View, collate
from vesalius.errors import ConfigError, DataError
from vesalius.files import read_json, to_plain, write_json
from vesalius.folders import NOTE, Claim, read_folder_notes, tell_differences
from vesalius.journal import alone
from vesalius.models import Segmenter
from vesalius.models.checkpoint_file import CHECKPOINT_NAME
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.inference import Model
from vesalius.provenance import describe_command, describe_machine, identify_data, list_versions
from vesalius.training.callbacks import History, KeepBest, NextEpoch, WeightAverage, quiet_lightning
from vesalius.training.config import RENAMED, FitConfig, TrainConfig, rename_settings
from vesalius.training.lora import add_lora, merge_lora
from vesalius.training.module import BaseModule, SegmentationModule, count_steps, fingerprint_state
from vesalius.training.runtime_options import RuntimeOptions
from vesalius.training.stored_features import store_pictures
from vesalius.training.trainer import LAST, build_trainer

FEATURES, HISTORY, MANIFEST, LOCK = "features", "metrics.csv", "manifest.json", ".train.lock"
SCORE = "score"
"""Field of the manifest: the validation metric of the best weights."""
FILES = (CHECKPOINT_NAME, fingerprints_path(Path(CHECKPOINT_NAME)).name, HISTORY, LAST, MANIFEST)
"""What a run leaves in its folder, beside stored features and loggers' folders."""
LENGTHS = ("max_epochs", "max_steps")
MAY_CHANGE = ("weights ", *(f"config.{name} " for name in LENGTHS))
"""What may differ from the beginning of a run when it is resumed."""


@dataclass(frozen=True)
class RunResult:
    """What a training run left behind."""

    checkpoint: Path
    """File of the weights with the best validation metric."""
    score: float
    """Their validation metric: Dice at the working resolution, or top-1 accuracy of names."""
    epochs: int
    """Passes over the training data."""
    earlier: bool = False
    """Whether the same run was finished before, so that nothing was computed."""


@contextmanager
def begin(
    model: VisionLanguageEncoder,
    data: Sequence[Path],
    out: Path,
    config: FitConfig,
    running: RuntimeOptions,
    command: str,
) -> Iterator[RuntimeOptions | RunResult]:
    """Hold the folder of a run, so that no other writes there, and see what it has, before anything is computed.

    Args:
        model: As training begins with it.
        data: Folders of data.
        out: Folder of the run.
        config: What decides the result.
        running: What does not.
        command: "train" or "train-naming".

    Yields:
        How to go on, resuming what the same run has left there; or its result, if it is finished.

    Raises:
        DataError: If there is no folder of data.
        ConfigError: If a run is to be resumed that has left no state, or a damaged one.
        OutputError: If the folder holds another run, or other results, or another process works there.
    """
    if not data:
        raise DataError("There is no folder of data to train on; name one or more.")
    if running.resume and not (out / LAST).is_file():
        raise ConfigError(f"{out / LAST}: nothing to resume; start the run without --resume.")
    files = [identify_data(root) for root in data]
    origin = {
        "model": dataclasses.asdict(model.recipe),
        "weights": fingerprint_state(model.state_dict().items())[:16],
        "data": [
            [str(root.resolve()), each["annotations_sha256"], each["files_sha256"]]
            for root, each in zip(data, files, strict=True)
        ],
        "config": config.to_dict(),
    }
    with nullcontext() if getattr(rank_zero_only, "rank", 0) else alone(out, command, LOCK):
        rank_zero_only(_renew_record)(out, command, [str(each["files_sha256"]) for each in files])
        if running.resume:
            same = _check_resumed(out, command, origin)
        else:
            same = rank_zero_only(_claim, default=True)(out, command, origin, running.overwrite)
        finished = _read_finished(out) if same and not running.overwrite else None
        resume = running.resume or (same and not running.overwrite and (out / LAST).is_file())
        yield finished or dataclasses.replace(running, resume=resume)


def _claim(out: Path, command: str, origin: Mapping[str, object], overwrite: bool) -> bool:
    """Whether the folder holds this very run."""
    if overwrite and command in read_folder_notes(out):
        for name in FILES:
            (out / name).unlink(missing_ok=True)
    return Claim(out, command, origin, FILES, overwrite).make()


def _renew_record(out: Path, command: str, files: Sequence[str]) -> None:
    """Bring the record of a run to today's form, so that a run of before goes on.

    Settings get today's names, and data of which the record holds no digest of their files get the present ones.
    """
    notes = read_folder_notes(out)
    origin = notes.get(command, {}).get("from")
    if not isinstance(origin, dict):
        return
    config, data, renewed = origin.get("config"), origin.get("data"), dict(origin)
    if isinstance(config, dict) and RENAMED.keys() & config.keys():
        renewed["config"] = rename_settings(config, str(out / NOTE))
    if isinstance(data, list) and len(data) == len(files) and all(len(each) == 2 for each in data):
        renewed["data"] = [[*each, digest] for each, digest in zip(data, files, strict=True)]
    if renewed != origin:
        write_json(out / NOTE, {**notes, command: {**notes[command], "from": renewed}})


def _check_resumed(out: Path, command: str, origin: Mapping[str, object]) -> bool:
    """Whether nothing was changed since the run was begun.

    It may go on for longer, and from its own weights: what is held still is compared when its state is read.
    """
    note = read_folder_notes(out).get(command)
    if note is None:  # left by a version that wrote none
        return False
    before, now = note["from"], to_plain(origin)
    differences = tell_differences(before, now)
    changes = [each for each in differences if not each.startswith(MAY_CHANGE)]
    longer = [each for each in differences if each.startswith(tuple(f"config.{name} " for name in LENGTHS))]
    config = origin["config"]
    if longer and isinstance(config, Mapping) and config["schedule"] == "one_cycle":
        raise ConfigError(
            f"{out}: a run with schedule 'one_cycle' is planned to its end and cannot go on for longer "
            f"({'; '.join(longer)}); begin another from its weights."
        )
    if changes:
        raise ConfigError(f"{out}: the run to resume was begun with other settings ({'; '.join(changes[:3])}).")
    return not differences


def _read_finished(out: Path) -> RunResult | None:
    """The result of a finished run; None if there is none."""
    try:
        manifest = read_json(out / MANIFEST)
        epochs = len((out / HISTORY).read_text(encoding="utf-8").splitlines()) - 1
    except (DataError, OSError, UnicodeDecodeError):
        return None
    score = manifest.get(SCORE) if isinstance(manifest, dict) else None
    if not isinstance(score, float) or not (out / CHECKPOINT_NAME).is_file():
        return None
    return RunResult(out / CHECKPOINT_NAME, score, epochs, earlier=True)


def prepare_model(model: VisionLanguageEncoder, config: FitConfig) -> None:
    """Freeze encoders, add LoRA's matrices, and set training mode.

    Raises:
        ConfigError: If an encoder has nothing that LoRA changes.
        MissingPackageError: If LoRA's package is needed and not installed.
    """
    model.freeze(*(part for part in config.freeze if part not in config.lora.adapted))
    add_lora(model, config.lora)
    # Lightning keeps the mode it finds, and loaded models come in evaluation mode.
    model.train()
    if config.freeze_batch_norm:
        _freeze_batch_norms(model)


def check_encoders(model: VisionLanguageEncoder, config: FitConfig) -> None:
    """Refuse to freeze what was never trained: a decoder on random features learns next to nothing.

    Args:
        model: Built anew, no weights loaded.
        config: Says which encoders are frozen.

    Raises:
        ConfigError: If one of them is.
    """
    still = [part for part in config.freeze if model.encoder_modules(part)]
    if still:
        name, parts = model.recipe.name, " and ".join(still)
        found = f"{name}: its {parts} encoder{'s are' if len(still) > 1 else ' is'} untrained and would be held still"
        remedy = "start from public weights with --pretrained, let encoders train with --set 'freeze=[]'"
        raise ConfigError(f"{found}, so that it learns on random features; {remedy}, or insist with --from-scratch.")


def _freeze_batch_norms(model: nn.Module) -> None:
    """Put every batch norm in evaluation mode; its weight and bias still train."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()


def build_loaders(
    train: Pool[Any],
    val: Pool[Any],
    config: FitConfig,
    workers: int,
    join: Callable[[Sequence[Any]], object] = collate,
) -> tuple[ResumableLoader, ResumableLoader]:
    """Batches to train on, in a new order every epoch, and to validate on.

    Args:
        train: Training examples.
        val: Validation examples.
        config: Batch size and seed.
        workers: Processes that prepare examples; 0 for none but the one that trains.
        join: Makes a batch of examples.
    """
    # A rest of one image would leave batch norm little to measure; but what is less than a batch is all there is.
    full = len(train) >= config.batch_size
    order = Batches(len(train), config.batch_size, seed=config.seed, drop_rest=full)
    shown = Batches(len(val), config.batch_size, seed=None)
    return ResumableLoader(train, order, workers, join), ResumableLoader(val, shown, workers, join)


def describe_run(model: VisionLanguageEncoder, data: Sequence[Path], config: FitConfig) -> dict[str, object]:
    """Command, configuration, versions, data and machine of a run about to start."""
    return {
        "command": describe_command(),
        "model": dataclasses.asdict(model.recipe),
        "config": config.to_dict(),
        "data": {str(root.resolve()): identify_data(root) for root in data},
        "versions": list_versions("pytorch-lightning"),
        "machine": describe_machine(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def train_module(
    module: BaseModule[Model],
    loaders: tuple[ResumableLoader, ResumableLoader],
    data: Sequence[Path],
    out: Path,
    config: FitConfig,
    running: RuntimeOptions,
) -> RunResult:
    """Train, keep the best weights, merge LoRA's changes, and write the run's table, state and manifest.

    Args:
        module: What trains.
        loaders: Batches to train on, and to validate on.
        data: Folders of data, for the manifest.
        out: Folder of the run.
        config: What decides the result.
        running: What does not.
    """
    model, (train, val) = module.model, loaders
    best = KeepBest(model, out / CHECKPOINT_NAME, describe_run(model, data, config), module.monitor, config.keep)
    callbacks: list[Callback] = [best, NextEpoch(train, val, config.seed), History(out / HISTORY, best.monitor)]
    if config.ema_decay:
        callbacks.append(WeightAverage(model, config.ema_decay))
    started = time.monotonic()
    with quiet_lightning():
        trainer = build_trainer(out, config, running, callbacks, monitor=best.monitor)
        for logger in trainer.loggers:
            logger.log_hyperparams(config.to_dict())
        checkpoint = _check_state(out / LAST) if running.resume else None
        with _passing_interrupts():
            trainer.fit(module, train, val, ckpt_path=checkpoint, weights_only=True)
    merge_lora(model)
    if trainer.is_global_zero:
        seconds = round(time.monotonic() - started, 1)
        write_json(out / MANIFEST, best.notes | {best.monitor: best.score, SCORE: best.score, "seconds": seconds})
    return RunResult(best.path, best.score, trainer.current_epoch)


def _check_state(path: Path) -> Path:
    """The file of a run's state, if it can be read."""
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # PyTorch's reader raises all kinds
        reason = f"is damaged or no state of a run ({type(error).__name__})"
        raise ConfigError(f"{path}: {reason}; begin the run anew with --overwrite.") from error
    return path


@contextmanager
def _passing_interrupts() -> Iterator[None]:
    """Let Ctrl-C be seen by whoever asked for the run, and go on working; Lightning turns it off and exits with 1."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from stop
        raise


def fit(
    model: Segmenter,
    data: Sequence[Path],
    out: Path,
    config: TrainConfig,
    running: RuntimeOptions | None = None,
    before: Fingerprints | None = None,
) -> RunResult:
    """Train a model and keep the weights with the best validation Dice.

    Args:
        model: Built or loaded; it is frozen as ``config.freeze`` says, and ends with its last weights, LoRA's merged.
        data: Folders in the benchmark's layout; a folder named twice counts twice while training.
        out: Folder for ``model.safetensors``, ``model.seen.safetensors`` (fingerprints of the training images),
            ``manifest.json``, ``metrics.csv`` and ``last.ckpt``.
        config: What decides the result.
        running: What does not; RuntimeOptions() by default.
        before: Of images that the model was trained on already; by default that is not known.

    Raises:
        DataError: If a folder or its annotations are wrong.
        OutputError: If the folder holds another run, or other results.
        ConfigError: If there is nothing to resume, features to store are too large, devices do not share a batch, or
            an encoder has nothing that LoRA changes.
        MissingPackageError: If a logger's package is not installed, or LoRA's.
    """
    for root in dict.fromkeys(data):  # what is wrong or missing is named before anything is written
        for split in ("train", "val"):
            SegmentationDataset(root, split).check_files()
    with begin(model, data, out, config, running or RuntimeOptions(), "train") as begun:
        if isinstance(begun, RunResult):
            return begun
        seed_everything(config.seed, verbose=False)
        prepare_model(model, config)
        loaders = _load(model, data, out, config, begun)
        rank_zero_only(_note_images)(data, out, before or Fingerprints())
        module = SegmentationModule(model, config, count_steps(config, len(loaders[0])))
        return train_module(module, loaders, data, out, config, begun)


def _note_images(data: Sequence[Path], out: Path, before: Fingerprints) -> None:
    """Leave fingerprints of the training images beside the weights."""
    path = fingerprints_path(out / CHECKPOINT_NAME)
    if path.is_file():  # of the part of this run that was interrupted
        return
    splits = [SegmentationDataset(root, "train") for root in dict.fromkeys(data)]
    images = list(dict.fromkeys(record.files(each.root)[0] for each in splits for record in each.records))
    with watch("Fingerprinting", len(images)) as advance:
        write_fingerprints(before.join(take_fingerprints(images, advance)), path)


def _load(
    model: Segmenter, data: Sequence[Path], out: Path, config: TrainConfig, running: RuntimeOptions
) -> tuple[ResumableLoader, ResumableLoader]:
    size = model.spec.image_size
    training: list[View] = [
        TrainingView(
            SegmentationDataset(root, "train"),
            size,
            config.augment,
            config.prompts,
            seed=config.seed + place,
            cached_augmentations=config.cached_augmentations,
        )
        for place, root in enumerate(data)
    ]
    validation = [ValidationView(SegmentationDataset(root, "val"), size) for root in dict.fromkeys(data)]
    seen = store_pictures(model, [*training, *validation], config, running.features or out / FEATURES)
    return build_loaders(Pool(seen[: len(training)]), Pool(seen[len(training) :]), config, running.workers)
