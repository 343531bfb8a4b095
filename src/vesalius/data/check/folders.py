"""Files that records name and folders lack, and the other way round."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from vesalius.data.check.findings import Finding, Place
from vesalius.data.check.rows import Row

Uses = Mapping[str, Sequence[Row]]
"""Files by path within the data set, and the records that name each."""


def gather_uses(rows: Iterable[Row]) -> tuple[Uses, Uses]:
    """Images, and masks, each with the records that name it."""
    images: dict[str, list[Row]] = {}
    masks: dict[str, list[Row]] = {}
    for row in rows:
        images.setdefault(row.image, []).append(row)
        masks.setdefault(row.mask, []).append(row)
    return images, masks


def check_folders(root: Path, images: Uses, masks: Uses, *, complete: bool = True) -> Iterator[Finding]:
    """Missing and extra files; what lies in ``anns/`` beside the splits is left alone.

    Args:
        root: Folder of the data set.
        images: Images and the records that name them.
        masks: Masks and the records that name them.
        complete: Whether every record could be read; otherwise nobody knows which files are extra.
    """
    for folder, uses in (("images", images), ("masks", masks)):
        present = _list_files(root, folder)
        extra = sorted(present - uses.keys())
        likely = {_stem(file): file for file in extra}
        for file in sorted(uses.keys() - present):
            hint = f" Is it {likely[_stem(file)]}?" if _stem(file) in likely else ""
            yield Finding("missing_file", f"{file} is not there.{hint}", tuple(row.at(file) for row in uses[file]))
        for file in extra if complete else ():
            yield Finding("extra_file", f"{file} is named by no record.", (Place(file),))


def _list_files(root: Path, folder: str) -> set[str]:
    return {path.relative_to(root).as_posix() for path in (root / folder).rglob("*") if path.is_file()}


def _stem(file: str) -> str:
    """What stays when the suffix, or the case of letters, is the mistake."""
    return str(PurePosixPath(file).with_suffix("")).lower()
