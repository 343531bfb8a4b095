"""What a preparation is made of: items to be read, and the outlines they give."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.sources import Source
from vesalius.prompts import Variants


@dataclass(frozen=True)
class Picture:
    """A picture to be written: a file to be copied as it is, or pixels to be stored as PNG."""

    shape: tuple[int, int]
    """Rows and columns."""
    suffix: str
    """Usual suffix of what will be written."""
    file: Path | None = None
    pixels: NDArray[np.uint8] | NDArray[np.uint16] | None = None
    """[H, W] or [H, W, 3]."""


@dataclass(frozen=True)
class Outline:
    """One mask on one image, ready to be written."""

    image_stem: str
    """Name of the prepared image without suffix."""
    picture: Picture
    mask_stem: str
    """Name of the prepared mask without suffix; may name a folder within masks/."""
    mask: NDArray[np.bool_]
    """[H, W] like the picture."""
    prompts: Mapping[str, Variants]
    kind: str = ""
    """Class that every split shall have its share of."""
    target: str = ""
    """What the mask outlines, in plain words; "" where nobody says."""


class Item(Protocol):
    """What is read at once: a picture with its masks, or a volume with its labels."""

    @property
    def key(self) -> str:
        """Its name; no two items of a source share one."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Paths within the source."""

    @property
    def group(self) -> str:
        """What must not cross splits."""

    @property
    def split(self) -> str | None:
        """Where its authors, or the user's table, put it."""

    @property
    def mask_stems(self) -> tuple[str, ...] | None:
        """Masks it may give; None if only reading it tells."""

    def outlines(self, source: Source) -> Iterator[Outline | Problem]:
        """Read it; what is wrong with a part of it comes as a problem between the outlines.

        Raises:
            VesaliusError: If it is damaged, or its parts do not fit together.
        """


@dataclass(frozen=True)
class Found:
    """What a source holds."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()
    leaks: tuple[Problem, ...] = ()
    """What the user should know where splits are drawn, not given."""


def plain_prompts(phrase: str) -> dict[str, Variants]:
    """The two families a data set starts with: p0 says nothing, p1 names the object."""
    return {"p0": "", "p1": phrase}
