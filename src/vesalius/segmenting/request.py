"""What is asked of many images, and which images those are."""

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.errors import ImageError, VesaliusError
from vesalius.files import distinct_stems
from vesalius.imaging import Plane
from vesalius.imaging.finding import FoundSeries, find_series
from vesalius.imaging.formats import visible_files
from vesalius.results import slugs
from vesalius.segmenting.rules import MaskRules

if TYPE_CHECKING:
    from vesalius.models.devices import Precision
    from vesalius.runtime import RuntimeChoice

Choices = Mapping[str, int | str | None]
"""What `read_image` is to choose: series, stack, volume and frame."""


@dataclass(frozen=True)
class Request:
    """What is asked of every image, and how."""

    prompts: tuple[str, ...]
    model: str = "pocket"
    weights: str = ""
    """Checksum of the model's file; what was made with others is not taken for done."""
    plane: Plane | None = None
    window: str | tuple[float, float] | None = None
    rules: MaskRules = field(default_factory=MaskRules)
    choices: Choices = field(default_factory=dict)
    runtime: "RuntimeChoice" = "auto"
    device: str = "auto"
    precision: "Precision" = "32"

    def settings(self) -> dict[str, object]:
        """What decides the results, but for the image: ready for JSON, and equal to what comes back from it."""
        window = list(self.window) if isinstance(self.window, tuple) else self.window
        chosen = {"plane": self.plane, "window": window, **self.choices}
        told = {name: value for name, value in chosen.items() if value is not None}
        precision = {} if self.precision == "32" else {"precision": self.precision}
        made = {"prompts": list(self.prompts), "weights": self.weights}
        return {**made, **told, **self.rules.to_dict(), **precision}


@dataclass(frozen=True)
class Item:
    """An image, a volume or a series that is to be segmented."""

    found: FoundSeries
    image: str
    """Its absolute path, which tells it from all others."""
    stem: str
    """How the names of its results begin."""

    def files(self, prompts: Sequence[str]) -> list[str]:
        """Every name that its results may have, whatever the image turns out to be."""
        parts = ["overlay.jpg", *(f"{each}.mask" for each in slugs(prompts)), "labels"]
        return [
            f"{self.stem}.{part}{suffix}"
            for part in parts
            for suffix in ([""] if part.endswith(".jpg") else [".png", ".nii.gz"])
        ]

    def state(self) -> dict[str, int]:
        """By what a changed image is known: number, bytes and newest time (ns) of its files."""
        source = self.found.source
        files = self.found.files or (visible_files(source) if source.is_dir() else [source])
        facts = [each.stat() for each in files if each.exists()]
        newest = max((each.st_mtime_ns for each in facts), default=0)
        return {"files": len(facts), "bytes": sum(each.st_size for each in facts), "changed": newest}


def find_items(
    paths: Sequence[str | Path],
    own: frozenset[Path],
    stems: Mapping[str, str],
    *,
    choices: Choices | None = None,
    each: bool = False,
) -> tuple[list[Item], list[dict[str, str]]]:
    """List the images of files, folders and patterns.

    Args:
        paths: Files, folders with their subfolders, and patterns such as "scans/*.png", which a shell may have left.
        own: Results of ours, which are no images to segment wherever they lie.
        stems: Image -> stem of its results so far, which it keeps.
        choices: See `vesalius.imaging.finding.find_series`.
        each: List numbered pictures one by one.

    Returns:
        The images, and what could not be found, as ``{"source": …, "reason": …}``.
    """
    found: dict[str, FoundSeries] = {}
    failures = []
    for path in paths:
        try:
            for place in _expand(path):
                several = find_series(place, each=each, **(choices or {}))  # type: ignore[arg-type]  # as read_image
                shared = Counter(one.source for one in several)
                for one in several:
                    if own.isdisjoint((one.source, *one.files)):
                        home = one.files[0] if shared[one.source] > 1 and one.files else one.source
                        found.setdefault(str(home), one)
        except VesaliusError as error:
            failures.append({"source": str(path), "reason": str(error)})
    return _name(found, stems), failures


def _name(found: Mapping[str, FoundSeries], stems: Mapping[str, str]) -> list[Item]:
    made = distinct_stems([Path(image) for image in found])
    return [Item(one, image, stems.get(image, stem)) for (image, one), stem in zip(found.items(), made, strict=True)]


def _expand(path: str | Path) -> list[Path]:
    """A path that is there, or all that a pattern names; absolute.

    Raises:
        ImageError: If there is nothing.
    """
    place = Path(os.path.abspath(path))
    if place.exists() or not glob.has_magic(str(path)):
        return [place]
    matches = sorted(glob.glob(str(path), recursive=True))
    if not matches:
        raise ImageError(f"{path}: no file or folder has such a name; check the pattern.")
    return [Path(os.path.abspath(match)) for match in matches]
