"""Batches of examples by number: the same on one process or many, resumed or not.

An example's number holds its epoch and its place, so that worker processes need not be told which epoch it is.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from vesalius.data.draws import seed_of
from vesalius.data.views import collate
from vesalius.errors import ConfigError

Seen = TypeVar("Seen", covariant=True)


class Epochs(Protocol[Seen]):
    """A data set that may change with the epoch, such as a ``View``."""

    def set_epoch(self, epoch: int) -> None:
        """Draw as an epoch does from now on."""

    def __len__(self) -> int:
        """Number of its examples."""

    def __getitem__(self, index: int) -> Seen:
        """One of them."""


class Pool(Dataset[Seen]):
    """Several views as one; number ``epoch * len(pool) + place`` is an example as that epoch draws it."""

    def __init__(self, views: Sequence[Epochs[Seen]]) -> None:
        self.views = views
        self._ends = list(accumulate(len(view) for view in views))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, number: int) -> Seen:
        epoch, place = divmod(number, len(self))
        which = bisect_right(self._ends, place)
        view = self.views[which]
        view.set_epoch(epoch)
        return view[place - (self._ends[which] - len(view))]


class Batches(Sampler[list[int]]):
    """The numbers of each batch that this process sees.

    Args:
        count: Examples of an epoch.
        batch_size: Examples of a batch, over all processes.
        seed: Decides the order of every epoch; None keeps that of the pool, in every epoch the same.
        drop_rest: Leave out what is left after the last whole batch.
    """

    def __init__(self, count: int, batch_size: int, *, seed: int | None, drop_rest: bool = False) -> None:
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.drop_rest = drop_rest
        self.rank, self.world = 0, 1
        self.epoch = 0
        self.start = 0

    def share(self, rank: int, world: int) -> None:
        """Give this process its part of every batch, so that what is in a batch does not depend on their number.

        Args:
            rank: Which process this is, from 0.
            world: How many there are.

        Raises:
            ConfigError: If a process would go without an example.
        """
        if min(self.count, self.batch_size) < world:
            got = f"{self.count} images in batches of {self.batch_size}"
            raise ConfigError(f"{got} cannot be shared by {world} processes; take fewer devices or a larger batch.")
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return len(self._bounds())

    def __iter__(self) -> Iterator[list[int]]:
        order, first = self._order(), self.epoch * self.count
        for start, end in self._bounds()[self.start :]:
            yield [first + place for place in order[start + self.rank : end : self.world]]

    def _bounds(self) -> list[tuple[int, int]]:
        starts = list(range(0, self.count, self.batch_size))
        rest = self.count - starts[-1]
        # Every process must see every batch, so a rest that is too small to share joins the batch before it.
        if len(starts) > 1 and rest < (self.batch_size if self.drop_rest else self.world):
            starts.pop()
        end = min(self.count, starts[-1] + self.batch_size) if self.drop_rest else self.count
        return list(zip(starts, [*starts[1:], end], strict=True))

    def _order(self) -> list[int]:
        if self.seed is None:
            return list(range(self.count))
        draws = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        order: list[int] = torch.randperm(self.count, generator=draws).tolist()
        return order


class ResumableLoader(DataLoader[Any]):
    """Batches of a pool, from the one after the last that was handed out.

    pytorch-lightning saves its state with every checkpoint and restores it.

    Args:
        pool: Examples by number.
        batches: Their numbers.
        workers: Processes that prepare them; 0 for none but this.
        join: Makes a batch of examples.
    """

    def __init__(
        self, pool: Pool[Any], batches: Batches, workers: int = 0, join: Callable[[Sequence[Any]], object] = collate
    ) -> None:
        super().__init__(pool, batch_sampler=batches, collate_fn=join, num_workers=workers)
        self.batches = batches
        self.handed_out = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch, unless it is the one being resumed."""
        if epoch != self.batches.epoch:
            self.batches.epoch, self.batches.start = epoch, 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a collated batch is not one example
        self.handed_out = self.batches.start
        for batch in super().__iter__():
            self.handed_out += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many of its batches are done."""
        return {"epoch": self.batches.epoch, "done": self.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there; after the last batch comes the first of the next epoch."""
        over = state["done"] >= len(self.batches)
        self.batches.epoch = state["epoch"] + over
        self.batches.start = 0 if over else state["done"]
