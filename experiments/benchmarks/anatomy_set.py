"""The people's slices as the paper's experiment sees them: read, shrunk and changed once, kept as bytes.

Everybody whose series lie under ../shared/data/anatomy, held out in the five parts of ``experiments/pocket``.
"""

import sys
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.console import progress_bar
from vesalius.data.augment import SliceAugment, augment_slice
from vesalius.data.slices.table import TABLE, SliceRow, read_slice_table, write_slice_table
from vesalius.files import writing
from vesalius.models.encoder import resize
from vesalius.prompts.anatomy import AnatomyLabel

POCKET = Path(__file__).parents[1] / "pocket"
SIDE = 160
"""Pixels of a kept view."""
CHANGED = 4
"""Changed views of a slice, beside the plain one."""
MOST_OF_A_SERIES = 40
"""Slices of a series, spread evenly."""
VISIBLE_HUMAN = "head_ct"
"""The person of the paper's second test set, of whom only the head is here."""
VIEWS = "views.npy"


@dataclass(frozen=True, eq=False)
class PeopleSlices:
    """N native slices."""

    views: NDArray[np.uint8]
    """Shades of view 0, which is plain, and of ``CHANGED`` changed ones, [N, 1 + CHANGED, SIDE, SIDE]."""
    labels: tuple[AnatomyLabel, ...]
    series: tuple[str, ...]
    patients: tuple[str, ...]
    folds: NDArray[np.intp]
    """Part in which the person is held out, [N]."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """How often each is drawn for training, in proportion: a series of n slices √n times, [N]."""
        counts = {name: self.series.count(name) for name in set(self.series)}
        return np.array([counts[name] ** -0.5 for name in self.series])


def open_set(shared: Path, folder: Path) -> PeopleSlices:
    """Read what is kept in a folder, and make it where it is not there yet.

    Args:
        shared: Folder with anatomy/.
        folder: Where the slices are kept.
    """
    if not (folder / TABLE).exists():
        with progress_bar() as bar:
            bar.add_task("Reading slices", total=None)
            _make(shared, folder)
    rows = read_slice_table(folder)
    return PeopleSlices(
        np.load(folder / VIEWS, mmap_mode="r"),
        labels=tuple(row.label for row in rows),
        series=tuple(row.volume for row in rows),
        patients=tuple(row.patient for row in rows),
        folds=np.array([int(row.split) for row in rows]),
    )


def _make(shared: Path, folder: Path) -> None:
    """The table comes last: where it is, all is."""
    sys.path.append(str(POCKET))
    from anatomy_data import read_series_people
    from anatomy_head import share_out

    # Of the shared chest CT only every fifth slice is there, and the series do not say their units.
    warnings.filterwarnings("ignore", message=".*slice distances differ")
    warnings.filterwarnings("ignore", message=".*units guessed to be HU")
    everything = list(read_series_people(shared))
    parts = share_out(everything, sorted({each.patient for each in everything}))
    fold_of = {name: part for part, names in enumerate(parts) for name in names}
    series = defaultdict(list)
    for each in everything:
        if each.native:
            series[each.series].append(each)
    kept = [each for own in series.values() for each in own[:: -(-len(own) // MOST_OF_A_SERIES)]]
    views = np.stack([draw_views(torch.from_numpy(each.rgb), place) for place, each in enumerate(kept)])
    with writing(folder / VIEWS) as unfinished, unfinished.open("wb") as file:
        np.save(file, views, allow_pickle=False)
    rows = [
        SliceRow(VIEWS, each.series, each.patient, str(fold_of[each.patient]), None, place, None, 0.0, each.label)
        for place, each in enumerate(kept)
    ]
    write_slice_table(folder, rows)


def draw_views(rgb: Tensor, place: int) -> NDArray[np.uint8]:
    """The plain view and ``CHANGED`` changed ones, all of them shrunk alike first, [1 + CHANGED, SIDE, SIDE].

    Args:
        rgb: [S, S, 3] in [0, 1].
        place: Decides the changes.
    """
    grey = rgb.mean(2).expand(1, 3, *rgb.shape[:2])
    plain = resize(grey, (SIDE, SIDE))[0].clamp(0, 1)
    draws = torch.Generator().manual_seed(place)
    changed = [augment_slice(plain, SliceAugment(), SIDE, draws) for _ in range(CHANGED)]
    shades = torch.stack([plain, *changed])[:, 0]
    return (shades * 255).round().to(torch.uint8).numpy()


def as_pixels(views: NDArray[np.uint8], size: int = SIDE) -> Tensor:
    """RGB in [0, 1], [B, 3, size, size], of views [B, SIDE, SIDE]."""
    shades = torch.from_numpy(np.array(views)).float()[:, None] / 255
    return resize(shades, (size, size)).clamp(0, 1).expand(-1, 3, -1, -1)
