"""The work on every item: read, write, note."""

from vesalius.data.prepare.given import Given
from vesalius.data.prepare.items import Item, Outline
from vesalius.data.prepare.journal import Entry, Journal, stamp_of
from vesalius.data.prepare.naming import stem_of
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.writing import write_item
from vesalius.errors import MissingPackageError, OutputError, VesaliusError


class Work:
    """Goes through items and keeps what came of each.

    Args:
        source: What they are read from.
        journal: What earlier runs did, and where to note what this one does.
        given: Names to follow.
    """

    def __init__(self, source: Source, journal: Journal, given: Given | None) -> None:
        self.source, self.journal, self.given = source, journal, given
        self.entries: dict[str, Entry] = {}
        """Item -> what it gave."""
        self.problems: list[Problem] = []
        self.resumed = 0
        """Items that an earlier run had finished."""
        self._all_names = tuple(given.names) if given else ()

    def do(self, item: Item) -> None:
        """Write an item, unless that is done; what cannot be read becomes a problem.

        Raises:
            OutputError: If a file cannot be written.
            MissingPackageError: If a package that reads the item is not installed.
        """
        try:
            names = wanted_names(item, self.given)
            stamp = stamp_of(item, self.source, self._all_names if names is None else names)
            entry = self.journal.finished(item, stamp)
            self.resumed += entry is not None
            entry = entry or write_item(item, self.source, self.journal, self._name, stamp)
        except (OutputError, MissingPackageError):
            raise
        except (VesaliusError, OSError) as error:
            self.problems.append(Problem(self.source.describe(item.inputs[0]), str(error)))
            return
        self.entries[item.key] = entry
        self.problems += entry.problems

    def _name(self, outline: Outline) -> tuple[str, str] | None:
        if self.given is None:
            return outline.image_stem + outline.picture.suffix, outline.mask_stem + ".png"
        record = self.given.names.get(outline.mask_stem)
        fits = record is not None and stem_of(record.img_name) == outline.image_stem
        return (record.img_name, record.mask_name) if record and fits else None


def wanted_names(item: Item, given: Given | None) -> tuple[str, ...] | None:
    """Given file names of what an item may give; None if any name will do, or only reading the item tells."""
    if given is None or item.mask_stems is None:
        return None
    records = (given.names.get(stem) for stem in item.mask_stems)
    return tuple(name for record in records if record for name in (record.img_name, record.mask_name))
