"""Cards of the public data sets, read from ``catalog.toml``: licence, layout of the download, masks, splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from vesalius.errors import DataError, unknown_name
from vesalius.files import read_package_toml
from vesalius.tables import build

Reader = Literal["pictures", "volumes", "chexlocalize"]


@dataclass(frozen=True)
class FilePattern:
    """How the files of an original are named: regular expressions of the path's end, whose groups fill templates.

    ``{picture}`` in an expression stands for the suffixes of everyday pictures.
    """

    image: str
    """Path of an image, or of a volume."""
    mask: str
    """Path of a mask; several that give one ``name`` are united."""
    name: str
    """Stem of the prepared image."""
    mask_name: str = ""
    """Stem of the prepared mask, by default ``name``; ``{label}`` is a label's number, ``{name}`` its name."""
    group: str = ""
    """What must not cross splits, a patient for example; by default every image is its own."""
    kind: str = ""
    """Class that every split shall have its share of."""
    test: str = ""
    """Paths of images, by another expression, that their authors set aside for testing."""


@dataclass(frozen=True)
class MetadataTable:
    """A table within the original that tells groups or splits."""

    file: str
    """Expression of its path."""
    key: str
    """Column of image names; of paths, their stem counts."""
    group: str = ""
    """Column of groups."""
    split: str = ""
    """Column of splits."""
    separator: str = ","


@dataclass(frozen=True)
class DataSetCard:
    """One row of the catalog."""

    title: str
    home: str
    """Where its authors publish it."""
    licence: str
    target: str = ""
    """Row of the prompt bank that its masks outline; empty where the bank has none."""
    phrase: str = ""
    """What prepared records call the object (p1), where the target's first phrase does not."""
    layout: str = ""
    """Files as its authors distribute them."""
    masks: str = ""
    """How masks are encoded there."""
    prompts: str = ""
    """Which prompts exist."""
    rules: str = "plain"
    """Column of attribute rules that `prompts generate` follows, so that new prompts speak as those that exist."""
    splits: str = ""
    """Where the splits come from, and what is known to leak."""
    reader: Reader = "pictures"
    """Reader of `vesalius.data.prepare` for its files."""
    files: tuple[FilePattern, ...] = ()
    """Layouts in which it is found; the first that fits counts. Empty if `prepare` cannot make it."""
    labels: Mapping[int, str] = field(default_factory=dict)
    """Numbers in label maps and what they stand for."""
    structures: tuple[str, ...] = ()
    """Structures of volumes that are prepared unless others are asked for."""
    table: MetadataTable | None = None
    lists: Mapping[str, str] = field(default_factory=dict)
    """Split -> expression of a text file that lists its groups."""


@cache
def read_catalog() -> Mapping[str, DataSetCard]:
    """All data sets by the name of their folder."""
    rows = read_package_toml("data/catalog.toml").items()
    return {name: build(DataSetCard, row, f"catalog.toml [{name}]") for name, row in rows}


def find_card(name: str) -> DataSetCard:
    """A data set that can be prepared from its original.

    Raises:
        DataError: If there is none of this name; the closest one and all there are.
    """
    cards = {name: card for name, card in read_catalog().items() if card.files}
    if name not in cards:
        raise DataError(unknown_name("data set to prepare", name, [*cards, "custom"]))
    return cards[name]
