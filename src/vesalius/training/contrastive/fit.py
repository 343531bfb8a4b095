"""Train a model on captions of labelled slices, and leave behind weights that say where they came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning import seed_everything

from vesalius.data.anatomy.dataset import open_slices
from vesalius.data.anatomy.views import SliceView, collate_slices
from vesalius.data.loading import Batches, Pool, ResumableLoader
from vesalius.errors import ConfigError, DataError
from vesalius.models.checkpoint_file import CHECKPOINT_NAME
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.training.contrastive.config import ContrastiveConfig
from vesalius.training.contrastive.module import MONITOR, ContrastiveModule
from vesalius.training.keep_best import KeepBest
from vesalius.training.manifest import describe_run
from vesalius.training.optimizer import count_steps
from vesalius.training.preparing import prepare
from vesalius.training.running import Running
from vesalius.training.whole_run import Finished, begin, train_module


@dataclass(frozen=True)
class ContrastiveResult:
    """What a run left behind."""

    checkpoint: Path
    """The weights with the best validation."""
    val_top1: float
    """Their share of right first names, organs and stations together."""
    epochs: int
    """Passes over the training slices."""
    earlier: bool = False
    """Whether the same run was finished before, so that nothing was computed."""


def fit_contrastive(
    model: VisionLanguageEncoder,
    data: Sequence[Path],
    out: Path,
    config: ContrastiveConfig,
    running: Running | None = None,
) -> ContrastiveResult:
    """Train a model and keep the weights that name validation slices best.

    Args:
        model: Built or loaded, its images and text in one space; it ends with its last weights, LoRA's merged.
        data: Folders of slices as `vesalius data slices` writes them; not every one needs validation slices.
        out: Folder for ``model.safetensors``, ``manifest.json``, ``metrics.csv`` and ``last.ckpt``.
        config: What decides the result.
        running: What does not; Running() by default.

    Raises:
        OutputError: If the folder holds another run, or other results.
        DataError: If a folder is damaged or lacks a split, or nothing is known of the validation slices.
        ConfigError: If there is nothing to resume, or several devices are to share a batch.
        ModelError: If images and text share no space.
    """
    running = running or Running()
    if running.devices * running.nodes > 1:
        raise ConfigError("Contrastive training compares all slices of a batch with one another; take one device.")
    open_slices(data, "train")  # a wrong folder is named before anything is written
    begun = begin(model, data, out, config, running, "train-naming")
    if isinstance(begun, Finished):
        return ContrastiveResult(out / CHECKPOINT_NAME, begun.score, begun.epochs, earlier=True)
    seed_everything(config.seed, verbose=False)
    prepare(model, config)
    train, val = _load(model, data, config, begun)
    module = ContrastiveModule(model, config, count_steps(config, len(train)))
    best = KeepBest(model, out / CHECKPOINT_NAME, describe_run(model, data, config), MONITOR, config.keep)
    epochs = train_module(module, (train, val), best, out, config, begun)
    return ContrastiveResult(best.path, best.score, epochs)


def _load(
    model: VisionLanguageEncoder, data: Sequence[Path], config: ContrastiveConfig, running: Running
) -> tuple[ResumableLoader, ResumableLoader]:
    """Batches to train on, and to validate on, which are neither changed nor worded in other ways."""
    size = model.spec.image_size
    changing = [
        SliceView(slices, size, config.augment, config.captions, seed=config.seed + place)
        for place, slices in enumerate(open_slices(data, "train"))
    ]
    still = [SliceView(slices, size) for slices in open_slices(dict.fromkeys(data), "val")]
    if not any(row.label.organs or row.label.stations for view in still for row in view.source.rows):
        raise DataError(f"{data[0]}: no validation slice shows a known organ or station; nothing tells good from bad.")
    train, val = Pool(changing), Pool(still)
    if len(train) < 2:
        raise DataError(f"{data[0]}: one training slice; contrastive training needs two or more.")
    full = len(train) >= config.batch_size
    order = Batches(len(train), config.batch_size, seed=config.seed, drop_rest=full)
    shown = Batches(len(val), config.batch_size, seed=None)
    return (
        ResumableLoader(train, order, running.workers, collate_slices),
        ResumableLoader(val, shown, running.workers, collate_slices),
    )
