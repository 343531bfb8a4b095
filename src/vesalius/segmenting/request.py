"""What is asked of many images, and which images a command line names."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.errors import EMPTY_PATH, ImageError, VesaliusError
from vesalius.imaging import Plane
from vesalius.imaging.read import NO_CHOICES, Choices
from vesalius.masks import MaskRules
from vesalius.models.choices import DEFAULT_MODEL, Precision, RuntimeChoice
from vesalius.results import slugs

if TYPE_CHECKING:
    from vesalius.imaging.safeguards import Notice
    from vesalius.imaging.search import FoundSeries, SourceImage
    from vesalius.journal import ResultsJournal


@dataclass(frozen=True)
class Request:
    """Phrases and settings for every image of a run."""

    prompts: tuple[str, ...]
    model: str = DEFAULT_MODEL
    weights: str = ""
    """Checksum of the model's file; results of other weights are not taken for done."""
    plane: Plane | None = None
    window: str | tuple[float, float] | None = None
    rules: MaskRules = field(default_factory=MaskRules)
    choices: Choices = NO_CHOICES
    runtime: RuntimeChoice = "auto"
    device: str = "auto"
    precision: Precision = "32"

    def settings(self) -> dict[str, object]:
        """Everything but the image that decides the results: ready for JSON, and unchanged when read back."""
        window = list(self.window) if isinstance(self.window, tuple) else self.window
        chosen = {"plane": self.plane, "window": window, **self.choices.to_dict()}
        told = {name: value for name, value in chosen.items() if value is not None}
        precision = {} if self.precision == "32" else {"precision": self.precision}
        made = {"prompts": list(self.prompts), "weights": self.weights}
        return {**made, **told, **self.rules.to_dict(), **precision}

    def files(self, source: "SourceImage") -> list[str]:
        """Every name that an image's results may have; picture or volume is known only once it is read."""
        parts = [*(f"{each}.mask" for each in slugs(self.prompts)), "labels"]
        masks = [f"{source.stem}.{part}{suffix}" for part in parts for suffix in (".png", ".nii.gz")]
        return [f"{source.stem}.overlay.jpg", *masks]


def find_images(
    paths: Sequence[str | Path],
    journal: "ResultsJournal",
    *,
    choices: Choices = NO_CHOICES,
    each: bool = False,
) -> tuple[list["SourceImage"], list[dict[str, str]], list[dict[str, object]]]:
    """List the images of files, folders and patterns, without results of Vesalius, but for other runs' that are named.

    Args:
        paths: Files, folders with their subfolders, and patterns such as "scans/*.png" that the shell did not expand.
        journal: Of earlier results of this run, whose names images keep.
        choices: See `vesalius.imaging.search.find_series`.
        each: List numbered pictures one by one, not as slices of a stack.

    Returns:
        The images; the paths that could not be read, as ``{"source": …, "reason": …}``; and what folders hold beside
        images, as notices with their ``source``.
    """
    from vesalius.imaging.search import find_series, list_sources, results_in  # a single picture needs no search

    found: list[FoundSeries] = []
    failures, told = [], list[dict[str, object]]()
    results, own = cache(results_in), results_in(journal.out)
    for path in paths:
        named = os.path.exists(path)
        try:
            for place in _expand(path):
                if place not in (own if named else results(place.parent)):
                    notices: list[Notice] = []
                    found += find_series(place, choices, each=each, notices=notices)
                    told += [{"source": str(path), **notice.to_dict()} for notice in notices]
        except VesaliusError as error:
            failures.append({"source": str(path), "reason": str(error)})
    return list_sources(found, journal.stems, journal.known), failures, told


def _expand(path: str | Path) -> list[Path]:
    """The absolute path of an existing file or folder, or of all that match a pattern.

    Raises:
        ImageError: If there is nothing.
    """
    if not str(path):  # or it would be the current folder
        raise ImageError(f"PATH: {EMPTY_PATH}")
    place = Path(os.path.abspath(path))
    if os.path.exists(place) or not glob.has_magic(str(path)):
        return [place]
    matches = sorted(glob.glob(str(path), recursive=True))
    if not matches:
        raise ImageError(f"{path}: no file or folder has such a name; check the pattern.")
    return [Path(os.path.abspath(match)) for match in matches]
