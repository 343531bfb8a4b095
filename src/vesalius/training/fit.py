"""Train a model on data sets, and leave behind weights that say where they came from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader

from vesalius.data.datasets import SegmentationDataset
from vesalius.data.views import Example, TrainingView, ValidationView, collate
from vesalius.errors import ConfigError
from vesalius.files import write_json
from vesalius.models import Segmenter
from vesalius.models.checkpoints import CHECKPOINT_NAME, save_model
from vesalius.training.config import TrainConfig
from vesalius.training.history import History
from vesalius.training.manifest import describe_run
from vesalius.training.module import SegmentationModule
from vesalius.training.progress import EpochBar, quiet_lightning
from vesalius.training.stored_features import store_pictures

HISTORY = "metrics.csv"
FEATURES = "features"
LAST = "last.ckpt"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class RunResult:
    """What a training run left behind."""

    checkpoint: Path
    """The weights with the best validation Dice."""
    val_dice: float
    """Their validation Dice at the working resolution."""
    epochs: int
    """Passes over the training images."""


def fit(
    model: Segmenter,
    data: Sequence[Path],
    out: Path,
    config: TrainConfig,
    *,
    features: Path | None = None,
    resume: bool = False,
) -> RunResult:
    """Train a model and keep the weights with the best validation Dice.

    Args:
        model: Built or loaded; it is frozen as ``config.freeze`` says.
        data: Folders in the benchmark's layout; a folder named twice counts twice while training.
        out: Folder for ``model.safetensors``, ``manifest.json``, ``metrics.csv`` and ``last.ckpt``.
        config: All other settings.
        features: Folder for stored features, where ``config`` asks for them; ``out/features`` by default.
        resume: Go on from ``out/last.ckpt``.

    Raises:
        DataError: If a folder or its annotations are wrong.
        ConfigError: If there is nothing to resume, or features to store are too large.
    """
    if resume and not (out / LAST).is_file():
        raise ConfigError(f"{out / LAST}: nothing to resume; start the run without --resume.")
    seed_everything(config.seed, verbose=False)
    # Lightning keeps the mode it finds, and loaded models come in evaluation mode.
    model.freeze(*config.freeze).train()
    if config.keep_norms:
        hold_norms(model)
    views = _training_views(model, data, config)
    pictures = store_pictures(model, [*views, *_validation_views(model, data)], config, features or out / FEATURES)
    pool: ConcatDataset[Example] = ConcatDataset(pictures[: len(views)])
    # A rest of one image would leave batch norm little to measure; but what is less than a batch is all there is.
    full = len(pool) >= config.batch_size
    train = DataLoader(pool, config.batch_size, shuffle=True, collate_fn=collate, drop_last=full)
    shown: ConcatDataset[Example] = ConcatDataset(pictures[len(views) :])
    val = DataLoader(shown, config.batch_size, collate_fn=collate)
    best = KeepBest(model, out / CHECKPOINT_NAME, describe_run(model, data, config))
    started = time.monotonic()
    with quiet_lightning():
        callbacks = [best, NextEpoch(views), History(out / HISTORY)]
        trainer = _build_trainer(out, config, callbacks, steps_per_epoch=len(train))
        checkpoint = out / LAST if resume else None
        trainer.fit(SegmentationModule(model, config), train, val, ckpt_path=checkpoint, weights_only=True)
    result = RunResult(best.path, best.score, trainer.current_epoch)
    write_json(out / MANIFEST, best.notes | {"val_dice": best.score, "seconds": round(time.monotonic() - started, 1)})
    return result


def hold_norms(model: nn.Module) -> None:
    """Put every batch norm in evaluation mode; its weight and bias still train."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


class KeepBest(Callback):
    """Save our own checkpoint whenever the validation Dice rises."""

    def __init__(self, model: Segmenter, path: Path, notes: dict[str, object]) -> None:
        self.model = model
        self.path = path
        self.notes = notes
        self.score = -1.0

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Compare and save."""
        score = float(trainer.callback_metrics["val_dice"])
        if trainer.sanity_checking or score <= self.score:
            return
        self.score = score
        notes = self.notes | {"val_dice": score, "epoch": trainer.current_epoch}
        save_model(self.model, self.path, notes)

    def state_dict(self) -> dict[str, float]:
        """What a resumed run must know."""
        return {"score": self.score}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take it up again."""
        self.score = state["score"]


class NextEpoch(Callback):
    """Give every epoch its own draws, the same whether a run was resumed or not.

    The training views learn which epoch it is and draw augmentations and prompts from that; the random numbers behind
    the order of images and dropout go through ``last.ckpt``.
    """

    def __init__(self, views: Sequence[TrainingView]) -> None:
        self.views = views

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Pass the number on."""
        for view in self.views:
            view.epoch = trainer.current_epoch

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Pass it on here too: Lightning leaves the start of an epoch out where a resumed run begins."""
        self.on_train_epoch_start(trainer, module)

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run must know."""
        return {"random": torch.get_rng_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take it up again."""
        torch.set_rng_state(state["random"])


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


def _build_trainer(out: Path, config: TrainConfig, callbacks: list[Callback], *, steps_per_epoch: int) -> Trainer:
    last = ModelCheckpoint(dirpath=out, filename=Path(LAST).stem, enable_version_counter=False)
    patience = EarlyStopping(
        "val_dice", mode="max", patience=config.patience, min_delta=1e-4, check_on_train_epoch_end=False
    )
    # A run cut short inside its first epoch still ends with a validation, or it would leave no weights behind.
    limit = config.max_steps if 0 < config.max_steps < steps_per_epoch else 1.0
    return Trainer(
        limit_train_batches=limit,
        max_epochs=config.max_epochs,
        min_epochs=min(config.min_epochs, config.max_epochs),
        max_steps=config.max_steps,
        precision=config.precision,
        gradient_clip_val=config.clip,
        num_sanity_val_steps=0,
        callbacks=[*callbacks, last, patience, EpochBar()],
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
