"""Whether a mask fits its image, and what to say where it does not."""

from pathlib import Path

from PIL import Image

from vesalius.errors import DataError
from vesalius.imaging.quiet import quiet

ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is to be turned before it is shown."""
TURNED = range(5, 9)
"""Its values that exchange height and width."""


def check_size(image: Path, image_size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...], place: str) -> None:
    """See that a mask has its image's size.

    Args:
        image: The file, which may be turned by its EXIF orientation.
        image_size: Its height and width, upright.
        mask: The file of the mask.
        mask_size: Its height and width.
        place: What to call the mask.

    Raises:
        DataError: If it has not, with both sizes, and the EXIF orientation where that explains it.
    """
    if image_size != mask_size:
        told = f"expected the image's {_tell(image_size)}, got {_tell(mask_size)} (height × width)"
        raise DataError(f"{place}: a mask of another size; {told}{explain_turn(image, image_size, mask, mask_size)}.")


def explain_turn(image: Path, image_size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...]) -> str:
    """What EXIF has to do with two sizes that differ, beginning with a semicolon; "" where it has nothing."""
    if image_size != mask_size[::-1]:
        return ""
    for path, other in ((image, "mask"), (mask, "image")):
        tag = read_orientation(path)
        if tag in TURNED:
            turned = f"; the EXIF orientation of {path.name} ({tag}) turns it by 90°, and its {other} is not turned"
            return f"{turned}: turn the {other} likewise, or remove that tag"
    return ""


def read_orientation(path: Path) -> int:
    """The EXIF orientation of a picture, 1 to 8; 1, upright, where it has none."""
    try:
        with quiet("PIL"), Image.open(path) as picture:
            return int(picture.getexif().get(ORIENTATION, 1))
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        return 1


def _tell(size: tuple[int, ...]) -> str:
    return f"{size[0]} × {size[1]}"
