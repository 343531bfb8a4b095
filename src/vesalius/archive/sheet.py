"""A contact sheet: what was found as one page of pictures, which are read anew from the archive."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vesalius import __version__
from vesalius.archive.index import ArchiveIndex
from vesalius.archive.query import PhraseReading
from vesalius.archive.search import FoundSlice
from vesalius.errors import VesaliusError
from vesalius.files import write_text
from vesalius.imaging import MedicalImage
from vesalius.imaging.search import FoundSeries
from vesalius.imaging.slices import shrink, to_bytes, to_square_pixels
from vesalius.pages import jpeg_address, render_page

SIDE = 224
"""Pixels of the longer side of a picture."""
QUALITY = 85


def write_sheet(
    path: Path,
    title: str,
    reading: PhraseReading | None,
    answers: Sequence[FoundSlice],
    index: ArchiveIndex,
    root: Path | None = None,
) -> list[str]:
    """Write a page with a picture, the path and the labels of each answer.

    Args:
        path: An .html file.
        title: What was searched for.
        reading: How a phrase was read.
        answers: Answers, the best first.
        index: The index that they come from.
        root: Folder of the archive, if it is not where it was indexed.

    Returns:
        Why pictures are missing from the page.

    Raises:
        OutputError: If it cannot be written.
    """
    pictures = _Pictures(index, root or Path(index.facts.root))
    cards, failures = [], []
    for number, answer in enumerate(answers, start=1):
        picture, fault = pictures.draw(answer)
        failures += [fault] if fault else []
        card = {"number": number, "picture": picture, "fault": fault, "score": f"{answer.score:.2f}"}
        also = [each.place.file for each in answer.places[1:]]
        cards.append({**card, **answer.tell(), "also": also, "more": answer.more_places})
    lines = [] if reading is None else reading.tell()
    text = render_page("archive/sheet.html", title=title, lines=lines, cards=cards, version=__version__)
    write_text(path, text)
    return failures


class _Pictures:
    """Draws slices of the archive; the image that was read last is kept."""

    def __init__(self, index: ArchiveIndex, root: Path) -> None:
        self._index, self._root = index, root
        self._kept: tuple[object, list[MedicalImage]] = (None, [])

    def draw(self, answer: FoundSlice) -> tuple[str | None, str]:
        """A picture as data of a page; or None, and why there is none."""
        try:
            return self._draw(answer), ""
        except (VesaliusError, OSError) as error:
            return None, str(error)

    def _draw(self, answer: FoundSlice) -> str:
        found = answer.places[0]
        files = self._index.series_files(found.series)
        if found.place.file not in files:
            raise OSError(f"{found.place.file}: was indexed anew since the search; search again.")
        # A file that holds one slice of a series is enough; all of them are read only where numbers count through them.
        stacks = self._read(found.place.file, ())
        stack, number = 1, 1
        if len(files) == 1 or sum(len(each.pixels) for each in stacks) > 1:
            stacks = stacks if len(files) == 1 else self._read(files[0], tuple(files))
            stack, number = found.place.stack, found.place.slice
        if stack > len(stacks) or number > len(stacks[stack - 1].pixels):
            raise OSError(f"{found.place.file}: changed since it was indexed; index again.")
        slices = stacks[stack - 1].slices()
        rgb = to_square_pixels(slices.render_small(number - 1, SIDE), slices.pixel_spacing_mm)
        return jpeg_address(shrink(to_bytes(rgb), SIDE, Image.Resampling.BILINEAR), QUALITY)

    def _read(self, source: str, files: tuple[str, ...]) -> list[MedicalImage]:
        if self._kept[0] != (source, files):
            series = FoundSeries(self._root / source, tuple(self._root / each for each in files))
            self._kept = ((source, files), series.read())
        return self._kept[1]
