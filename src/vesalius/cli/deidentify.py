"""``vesalius deidentify SOURCE --out FOLDER``, and what ``--deidentify FOLDER`` does for other commands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.usage import AsJson
from vesalius.console import print_json, print_table, say
from vesalius.errors import ImageError, join_first, require

if TYPE_CHECKING:
    from vesalius.clinical.deidentify import Deidentified
    from vesalius.imaging import MedicalImage
    from vesalius.naming import FoundSeries

LISTED = 5
"""Files that were left out which are listed on the terminal; the rest is counted."""


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
        out: Folder for the copies; not there yet.
        as_json: Print one JSON object.
    """
    require("highdicom", extra="clinical")
    require("dicomanonymizer", extra="clinical")
    from vesalius.clinical.deidentify import deidentify_folder
    from vesalius.imaging.safeguards import warn_of

    copies = deidentify_folder(source, out)
    if as_json:
        print_json({**copies.to_dict(), "left_out": copies.refused})
    else:
        print_table(("tag", "attribute", "change", "times"), [each.to_row() for each in copies.changes])
        warn_of(copies.notices, source)
        say(f"Written: {len(copies.files)} de-identified copies in {out}")
    if copies.refused:
        told = join_first(copies.refused, LISTED, "; ", ", which --json lists")
        raise ImageError(f"{source}: {len(copies.refused)} files were left out: {told}")


def check_copies(out: Path) -> None:
    """Refuse a folder for copies that is there, or a missing package, before anything is computed.

    Raises:
        MissingPackageError: If the extra is not installed.
        OutputError: If the folder is there.
    """
    require("highdicom", extra="clinical")
    require("dicomanonymizer", extra="clinical")
    from vesalius.clinical.deidentify import check_new

    check_new(out)


def copy_deidentified(image: "MedicalImage", out: Path, choices: Mapping[str, object]) -> "MedicalImage":
    """Read an image again from de-identified copies, and say what there is.

    Args:
        image: Read from DICOM.
        out: Folder for the copies.
        choices: Stack and frame that were chosen.

    Raises:
        ImageError: If it cannot be de-identified.
        OutputError: If the folder cannot be written.
    """
    from vesalius.clinical.deidentify import read_deidentified
    from vesalius.imaging.safeguards import warn_of

    stack, frame = (each if isinstance(each := choices.get(name), int) else None for name in ("stack", "frame"))
    again, copies = read_deidentified(image, out, stack=stack, frame=frame)
    warn_of(copies.notices, image.source)
    tell(copies)
    return again


def copy_series(series: "FoundSeries", out: Path, stack: int | None, frame: int | None) -> "FoundSeries":
    """De-identified copies of all files of a series that was found, to be read in its place.

    Args:
        series: DICOM.
        out: Folder for the copies.
        stack: That was chosen, from 1.
        frame: That was chosen, from 1.

    Raises:
        ImageError: If it cannot be de-identified.
        OutputError: If the folder cannot be written.
    """
    from vesalius.naming import FoundSeries

    paths = [frame.path for image in series.read() for frame in image.source_frames]
    if not paths:
        raise ImageError(f"{series.source}: is no DICOM image; only those can be de-identified.")
    copies = copy_files(list(dict.fromkeys(paths)), series.source, out)
    if len(copies.files) > 1:
        return FoundSeries(out, copies.files)
    choices = {name: number for name, number in (("stack", stack), ("frame", frame)) if number is not None}
    return FoundSeries(copies.files[0], choices=choices)


def copy_files(paths: Sequence[Path], source: Path, out: Path) -> "Deidentified":
    """De-identified copies of all these files or of none; says what there is.

    Raises:
        ImageError: If one cannot be de-identified.
        OutputError: If the folder cannot be written.
    """
    from vesalius.clinical.deidentify import deidentify as write_copies
    from vesalius.imaging.safeguards import warn_of

    copies = write_copies(paths, out, strict=True)
    warn_of(copies.notices, source)
    tell(copies)
    return copies


def tell(copies: "Deidentified") -> None:
    """Say where copies are, and how many attributes were changed; `vesalius deidentify` lists them."""
    changes = ", ".join(dict.fromkeys(each.attribute for each in copies.changes))
    say(f"De-identified copies ({len(copies.files)}) are in {copies.folder}; changed in them: {changes}.")
