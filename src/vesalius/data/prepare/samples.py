"""What a preparation is made of: samples to be read, names of prepared files, and the report."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vesalius.data.prepare.sources import Source
from vesalius.prompts import Variants


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or that the user should know."""

    place: str
    """File, and row where there is one."""
    message: str
    """What is wrong, what was expected and what to do."""

    def __str__(self) -> str:
        return self.message if self.message.startswith(self.place) else f"{self.place}: {self.message}"


@dataclass(frozen=True)
class PrepareReport:
    """Summary of a prepared data set."""

    dest: Path
    records: Mapping[str, int]
    """Rows of each annotation file."""
    images: int
    """Different images among them."""
    empty: int
    """Rows whose mask is empty."""
    resumed: int
    """Items that an earlier run had finished."""
    problems: tuple[Problem, ...]
    """What was left out."""
    notes: tuple[Problem, ...] = ()
    """What else the user should know."""

    def to_dict(self) -> dict[str, object]:
        """For JSON; every problem with its place and message."""
        return {
            "dest": str(self.dest),
            "records": dict(self.records),
            "images": self.images,
            "empty": self.empty,
            "resumed": self.resumed,
            "problems": [asdict(problem) for problem in self.problems],
            "notes": [asdict(note) for note in self.notes],
        }


_SIDES = ("left", "right")


def without_suffix(name: str) -> str:
    """A relative file name without its suffix, its folders kept.

    >>> without_suffix("mask_1/patient0001_2CH_ED_gt.png")
    'mask_1/patient0001_2CH_ED_gt'
    """
    return str(PurePosixPath(name).with_suffix(""))


def fill_label(template: str, number: int, name: str) -> str:
    """Put a label into a mask's name.

    >>> fill_label("{name}/scan_{label}", 3, "Left kidney")
    'left_kidney/scan_3'
    """
    return template.replace("{label}", str(number)).replace("{name}", to_slug(name))


def to_phrase(name: str) -> str:
    """A label's name as one would say it; in names with underscores, the side comes first.

    >>> to_phrase("kidney_left"), to_phrase("vertebrae_L1"), to_phrase("Airspace Opacity")
    ('left kidney', 'vertebrae L1', 'airspace opacity')
    """
    words = [word if re.search(r"\d", word) else word.lower() for word in re.split(r"[_\s]+", name.strip())]
    sides = [word for word in words if word in _SIDES and "_" in name]
    return " ".join(sides + [word for word in words if word not in sides])


def to_slug(name: str) -> str:
    """A name that is safe in a file name.

    >>> to_slug("Airspace Opacity")
    'airspace_opacity'
    """
    return re.sub(r"[^\w.-]+", "_", name.strip()).strip("._").lower() or "unnamed"


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
    """What the mask outlines, in plain words; "" where it is not known."""


class SourceSample(Protocol):
    """What is read at once: a picture with its masks, or a volume with its labels."""

    @property
    def key(self) -> str:
        """Its name; no two samples of a source share one."""

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
class FoundSamples:
    """What a source holds."""

    samples: tuple[SourceSample, ...]
    problems: tuple[Problem, ...] = ()
    leaks: tuple[Problem, ...] = ()
    """Warnings that matter where splits are drawn, not taken from the authors."""


def plain_prompts(phrase: str) -> dict[str, Variants]:
    """The two families a data set starts with: p0 says nothing, p1 names the object."""
    return {"p0": "", "p1": phrase}
