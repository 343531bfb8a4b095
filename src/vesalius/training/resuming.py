"""What lets a run share its batches among processes, and a resumed one end where an uninterrupted one would."""

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from vesalius.data.loading import ResumableLoader


class NextEpoch(Callback):
    """Tell the loaders which process this is and which epoch begins, and fix the random numbers of every step.

    All that is drawn follows from the seed, the epoch and the number of the batch (and, for dropout, the process).

    Args:
        train: Batches to train on.
        val: Batches to validate on.
        seed: The run's.
    """

    def __init__(self, train: ResumableLoader, val: ResumableLoader, seed: int) -> None:
        self.train = train
        self.val = val
        self.seed = seed

    def setup(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        """Share the batches out: only now are the processes known."""
        for loader in (self.train, self.val):
            loader.batches.share(trainer.global_rank, trainer.world_size)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Pass the number on. Lightning leaves this out where a resumed run begins, whose loader knows it."""
        self.train.turn_to(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: object, batch_idx: int) -> None:
        """Restart the random numbers behind dropout."""
        place = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(hash(place) % 2**63)
