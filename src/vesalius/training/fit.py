"""Train a model on data sets, and leave behind weights that say where they came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning import seed_everything
from pytorch_lightning.utilities import rank_zero_only

from vesalius.data.datasets import SegmentationDataset
from vesalius.data.fingerprints import Fingerprints, fingerprints_path, take_fingerprints, write_fingerprints
from vesalius.data.loading import Batches, Pool, ResumableLoader
from vesalius.data.views import TrainingView, ValidationView, View
from vesalius.models import Segmenter
from vesalius.models.checkpoint_file import CHECKPOINT_NAME
from vesalius.training.config import TrainConfig
from vesalius.training.keep_best import KeepBest
from vesalius.training.manifest import describe_run
from vesalius.training.module import MONITOR, SegmentationModule
from vesalius.training.optimizer import count_steps
from vesalius.training.preparing import prepare
from vesalius.training.progress import watch
from vesalius.training.running import Running
from vesalius.training.stored_features import store_pictures
from vesalius.training.whole_run import Finished, begin, train_module

FEATURES = "features"


@dataclass(frozen=True)
class RunResult:
    """What a training run left behind."""

    checkpoint: Path
    """The weights with the best validation Dice."""
    val_dice: float
    """Their validation Dice at the working resolution."""
    epochs: int
    """Passes over the training images."""
    earlier: bool = False
    """Whether the same run was finished before, so that nothing was computed."""


def fit(
    model: Segmenter,
    data: Sequence[Path],
    out: Path,
    config: TrainConfig,
    running: Running | None = None,
    before: Fingerprints | None = None,
) -> RunResult:
    """Train a model and keep the weights with the best validation Dice.

    Args:
        model: Built or loaded; it is frozen as ``config.freeze`` says, and ends with its last weights, LoRA's merged.
        data: Folders in the benchmark's layout; a folder named twice counts twice while training.
        out: Folder for ``model.safetensors``, ``model.seen.safetensors`` (fingerprints of the training images),
            ``manifest.json``, ``metrics.csv`` and ``last.ckpt``.
        config: What decides the result.
        running: What does not; Running() by default.
        before: Of images that the model was trained on already; by default that is not known.

    Raises:
        DataError: If a folder or its annotations are wrong.
        OutputError: If the folder holds another run, or other results.
        ConfigError: If there is nothing to resume, features to store are too large, devices do not share a batch, or
            an encoder has nothing that LoRA changes.
        MissingPackageError: If a logger's package is not installed, or LoRA's.
    """
    for root in data:
        SegmentationDataset(root, "train")  # a wrong folder is named before anything is written
    begun = begin(model, data, out, config, running or Running(), "train")
    if isinstance(begun, Finished):
        return RunResult(out / CHECKPOINT_NAME, begun.score, begun.epochs, earlier=True)
    seed_everything(config.seed, verbose=False)
    prepare(model, config)
    train, val = _load(model, data, out, config, begun)
    rank_zero_only(_note_images)(data, out, before or Fingerprints())
    best = KeepBest(model, out / CHECKPOINT_NAME, describe_run(model, data, config), MONITOR, config.keep)
    module = SegmentationModule(model, config, count_steps(config, len(train)))
    epochs = train_module(module, (train, val), best, out, config, begun)
    return RunResult(best.path, best.score, epochs)


def _note_images(data: Sequence[Path], out: Path, before: Fingerprints) -> None:
    """Leave fingerprints of the training images beside the weights."""
    path = fingerprints_path(out / CHECKPOINT_NAME)
    if path.is_file():  # of the part of this run that was interrupted
        return
    splits = [SegmentationDataset(root, "train") for root in dict.fromkeys(data)]
    images = list(dict.fromkeys(each.root / "images" / record.img_name for each in splits for record in each.records))
    with watch("Fingerprinting", len(images)) as advance:
        write_fingerprints(before.join(take_fingerprints(images, advance)), path)


def _training_views(model: Segmenter, data: Sequence[Path], config: TrainConfig) -> list[TrainingView]:
    size = model.spec.image_size
    sources = [SegmentationDataset(root, "train") for root in data]
    return [
        TrainingView(source, size, config.augment, config.prompts, seed=config.seed + place, views=config.views)
        for place, source in enumerate(sources)
    ]


def _validation_views(model: Segmenter, data: Sequence[Path]) -> list[ValidationView]:
    roots = dict.fromkeys(data)
    return [ValidationView(SegmentationDataset(root, "val"), model.spec.image_size) for root in roots]


def _load(
    model: Segmenter, data: Sequence[Path], out: Path, config: TrainConfig, running: Running
) -> tuple[ResumableLoader, ResumableLoader]:
    """Batches to train on, and to validate on."""
    views = _training_views(model, data, config)
    everything: Sequence[View] = [*views, *_validation_views(model, data)]
    seen = store_pictures(model, everything, config, running.features or out / FEATURES)
    train, val = Pool(seen[: len(views)]), Pool(seen[len(views) :])
    # A rest of one image would leave batch norm little to measure; but what is less than a batch is all there is.
    full = len(train) >= config.batch_size
    order = Batches(len(train), config.batch_size, seed=config.seed, drop_rest=full)
    shown = Batches(len(val), config.batch_size, seed=None)
    return ResumableLoader(train, order, running.workers), ResumableLoader(val, shown, running.workers)
