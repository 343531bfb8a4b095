"""``vesalius deidentify SOURCE --out FOLDER``, and what ``--deidentify FOLDER`` does for other commands."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.usage import AsJson
from vesalius.console import print_json, print_table, say
from vesalius.errors import fail_with, require
from vesalius.files import spare

if TYPE_CHECKING:
    from vesalius.imaging import MedicalImage


def deidentify(source: Path, /, *, out: Annotated[Path, Parameter(alias="-o")], as_json: AsJson = False) -> None:
    """Write de-identified copies of DICOM images, and list what was changed, by attribute and without values.

    Follows DICOM's Basic Application Level Confidentiality Profile: names, numbers, dates and times, places, devices,
    descriptions and private attributes are removed, emptied or replaced, and UIDs are new, but the same wherever they
    were. Pixels stay: images whose header says that text is burnt into them are left out, and faces can be seen. What
    is no image, or cannot be de-identified, is listed at the end, with exit code 2.

    Examples:
        vesalius deidentify study/ --out copies
        vesalius deidentify scan.dcm --out copies --json

    Documentation:
        docs/clinical.md

    Args:
        source: DICOM file, or a folder with some.
        out: Folder for the copies; not there yet, and not within the source.
        as_json: Print one JSON object.
    """
    _require()
    from vesalius.clinical.deidentify import deidentify_folder
    from vesalius.imaging.safeguards import warn_of

    copies = deidentify_folder(source, out)
    if as_json:
        print_json(copies.to_dict())
    else:
        print_table(("tag", "attribute", "change", "times"), [each.to_row() for each in copies.changes])
        warn_of(copies.notices, source)
        say(f"Written: {len(copies.files)} de-identified copies in {out}")
    fail_with(copies.refused, "files were left out", ", which --json lists")


def check_copies(out: Path) -> None:
    """Refuse a folder for copies that is there, or a missing package, before anything is computed.

    Raises:
        MissingPackageError: If the extra is not installed.
        OutputError: If the folder is there.
    """
    _require()
    from vesalius.clinical.deidentify import check_new

    check_new(out)


@contextmanager
def deidentified(
    images: "Sequence[MedicalImage]", out: Path | None, results: Sequence[Path], frame: int | None = None
) -> "Iterator[list[MedicalImage]]":
    """Read the stacks of a series again from de-identified copies of its files, and say what there is.

    Copies without a result are removed when the block ends, so that the command can be given again.

    Args:
        images: Read from DICOM.
        out: Folder for the copies; None for the images as they are.
        results: Files that will be written, none of which may replace one that was read.
        frame: Number of the frame that was chosen.

    Raises:
        ImageError: If they cannot be de-identified, or make other stacks without what was removed.
        OutputError: If the folder cannot be written, or a result would replace a file that was read.
    """
    if out is None:
        yield list(images)
        return
    from vesalius.clinical.deidentify import read_deidentified
    from vesalius.imaging.safeguards import warn_of

    spare(results, (frame.path for each in images for frame in each.source_frames))
    before = _states(results)
    again, copies = read_deidentified(images, out, frame=frame)
    try:
        warn_of(copies.notices, images[0].source)
        yield again
    finally:
        if _states(results) == before:
            shutil.rmtree(out, ignore_errors=True)
        else:
            changes = ", ".join(dict.fromkeys(each.attribute for each in copies.changes))
            say(f"De-identified copies ({len(copies.files)}) are in {out}; changed in them: {changes}.")


def _states(files: Sequence[Path]) -> list[tuple[int, int] | None]:
    """What differs once a file was written."""
    found = [file.stat() if file.exists() else None for file in files]
    return [None if each is None else (each.st_ino, each.st_mtime_ns) for each in found]


def _require() -> None:
    require("highdicom", extra="clinical")
    require("dicomanonymizer", extra="clinical")
