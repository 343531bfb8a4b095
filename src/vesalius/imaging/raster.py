"""Pictures and masks in everyday formats: PNG, JPEG, TIFF and BMP, through Pillow."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.errors import ImageError
from vesalius.files import writing
from vesalius.imaging.formats import (
    LOSSLESS_SUFFIXES,
    RASTER_SUFFIXES,
    has_raster_mark,
    is_jpeg,
    read_start,
    reading,
)
from vesalius.imaging.image import MedicalImage
from vesalius.imaging.intensity import zero_missing
from vesalius.imaging.lazy import LazyPixels, Pixels, keep_small
from vesalius.imaging.safeguards import FRAMES, PIXELS, Notice, quiet, read_stated_size
from vesalius.imaging.slices import BAND_PIXELS, to_bytes

ORIENTATION_TAG = 0x0112
"""EXIF tag of the camera's orientation."""

SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange rows and columns."""

GREY_MODES = ("1", "L", "LA")


def read_raster(path: Path, *, frame: int | None = None) -> MedicalImage:
    """Read a picture, turned upright by its EXIF orientation.

    Grey of 8 and 16 bit stays as it is, 1 bit becomes 0 and 255, palettes and other colour spaces become RGB. Pillow
    gives 16-bit colour as 8 bit. Transparency is dropped where opaque, else composited on black. The pages of a TIFF
    are frames, read one by one where they take more than `safeguards.KEPT_MEGABYTES`; pages of another size or type
    than the first (thumbnails, pyramid levels) are left out, with a notice.

    Args:
        path: File in a format that Pillow reads, under any suffix.
        frame: Only that page of a TIFF, from 1; by default all.

    Returns:
        Image [D, H, W] or [D, H, W, 3] without affine; D is 1 but for TIFF.

    Raises:
        ImageError: If the file is missing, truncated, larger than `safeguards.PIXELS`, no picture, or has no such page.
    """
    with reading(path, "a picture"), _open(path) as picture:
        count = _page_count(picture)
        animated = _pictures_left_out(picture) if count == 1 else ()
        FRAMES.check(count, path)
        if frame is not None and not 1 <= frame <= count:
            raise ImageError(f"{path}: has no frame {frame}; expected a number from 1 to {count}.")
        first = _read_page(path, picture, 0 if frame is None else frame - 1)
        veiled = _see_through(picture)
        kind = _kind(picture)
        alike = [0] if frame is not None else _pages_of(picture, kind, count)
    if len(alike) == 1 or frame is not None:
        pixels: Pixels | LazyPixels = first[None]
    else:
        dtype = np.float32 if kind[1] in ("I", "F") else first.dtype  # a later page may hold other numbers
        pages = LazyPixels(len(alike), lambda index: _read_one(path, alike[index]), first.shape, dtype, path)
        pixels = keep_small(pages)
    notices = (*_left_out(count - len(alike), count, frame), *animated, *veiled)
    return MedicalImage(pixels=pixels, source=path, notices=notices)


def _left_out(pages: int, count: int, frame: int | None) -> tuple[Notice, ...]:
    if frame is not None or not pages:
        return ()
    why = "they are of another size or type than the first, as thumbnails and reduced copies are"
    remedy = "Choose one with frame=2 in Python, --frame 2 on the command line"
    return (Notice("pages left out", why, remedy, pages, count),)


def _pictures_left_out(picture: Image.Image, taken: str = "first") -> tuple[Notice, ...]:
    """What an animation (GIF, APNG, WebP) or a camera's file of several pictures holds beside the one that is taken."""
    count = int(getattr(picture, "n_frames", 1))
    why = f"of a {picture.format} only the {taken} picture is read"
    return (Notice("pictures left out", why, "Save another as a file of its own", count - 1, count),) * (count > 1)


def _see_through(picture: Image.Image) -> tuple[Notice, ...]:
    """What is said of a picture, already read, some of whose pixels are not opaque."""
    if not picture.has_transparency_data:
        return ()
    told = picture if "A" in picture.getbands() else picture.convert("RGBA")  # palettes
    if told.getchannel("A").getextrema()[0] == 255:
        return ()
    return (
        Notice("transparent pixels laid on black", "the picture is not opaque", "Save it without an alpha channel"),
    )


def is_raster(path: Path) -> bool:
    """Whether Pillow recognises the file's content, whatever its suffix; a damaged picture is still one."""
    try:
        with quiet("PIL"):
            Image.open(path).close()
    except OSError:
        return False
    except Exception:  # of any kind: a reader took the file for its own and failed
        return has_raster_mark(read_start(path))
    return True


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask: where a file holds 0 and one other value, that is foreground (`part_values`), else the upper half.

    So 0 and 1, 0 and 100, and 0 and 255 in 16 bit are masks; of more values (blurred or compressed ones), more than 127
    of 8 bit and more than 32767 of 16 bit is foreground. Colour masks count by their brightest channel. Only the first
    page is read.

    Returns:
        Mask [H, W].

    Raises:
        ImageError: As `read_raster`.
    """
    values = _read_one(path, 0)
    grey = values.max(axis=2) if values.ndim == 3 else values
    found = part_values(grey, lossy=is_jpeg(path))
    return above_half(grey) if found is None else found


def part_values(
    values: NDArray[np.generic], threshold: float | None = None, *, lossy: bool = False
) -> NDArray[np.bool_] | None:
    """What is inside, where the values of a mask leave no doubt; None where they do.

    Of 0 and one other value, the other is inside; a single value is wholly inside, or outside if it is 0.

    Args:
        values: Of any shape.
        threshold: Values above it are inside; None if the values decide.
        lossy: Whether they were compressed with losses: black may have become 1 to 8, so a single value is parted at
            half of the range.
    """
    if threshold is not None:
        return np.asarray(values.astype(np.float64) > threshold)
    background, highest = values == 0, values.max()
    if lossy and bool((values == highest).all()):
        return above_half(values)
    return ~background if bool((background | (values == highest)).all()) else None


def above_half(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which values are in the upper half of the range of their type, 8 or 16 bit."""
    return np.asarray(np.greater(values, 32767 if values.dtype == np.uint16 else 127), np.bool_)


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask as 0 and 255, whole or not at all.

    Args:
        path: File to write, of a lossless format (.png).
        mask: Boolean array [H, W].

    Raises:
        ImageError: If the array is no mask, or the format would blur it.
        OutputError: If the file cannot be written.
    """
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ImageError(f"{path}: expected a boolean mask [H, W], got {mask.dtype} {list(mask.shape)}.")
    if path.suffix.lower() not in LOSSLESS_SUFFIXES:
        raise ImageError(f"{path}: masks need a lossless format, {', '.join(LOSSLESS_SUFFIXES)}; use .png.")
    with writing(path) as unfinished:
        Image.fromarray(mask.astype(np.uint8) * 255).save(unfinished)


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    """Write a label map as grey levels, whole or not at all: a pixel's value is its label.

    Args:
        path: File to write, of a lossless format (.png).
        labels: [H, W].

    Raises:
        OutputError: If the file cannot be written.
    """
    with writing(path) as unfinished:
        Image.fromarray(labels).save(unfinished)


def write_rgb(path: Path, rgb: NDArray[np.floating] | NDArray[np.uint8]) -> None:
    """Write a colour picture, whole or not at all.

    Args:
        path: File to write, in the format of its suffix.
        rgb: Picture [H, W, 3], in [0, 1] if real numbers, 0–255 if bytes.

    Raises:
        ImageError: If the array is no picture.
        OutputError: If the file cannot be written.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ImageError(f"{path}: expected a picture [H, W, 3], got {list(rgb.shape)}.")
    check_picture_name(path)
    with writing(path) as unfinished:
        Image.fromarray(to_bytes(rgb)).save(unfinished)


def check_picture_name(path: Path) -> None:
    """Refuse a name of which `write_rgb` could make no picture.

    Raises:
        ImageError: If its suffix is none of `RASTER_SUFFIXES`.
    """
    if path.suffix.lower() not in RASTER_SUFFIXES:
        raise ImageError(f"{path}: cannot write '{path.suffix}'; use one of {', '.join(RASTER_SUFFIXES)}.")


def to_png(rgb: NDArray[np.uint8]) -> bytes:
    """The content of a PNG file of a picture [H, W, 3] or of grey levels [H, W], 0–255."""
    content = BytesIO()
    Image.fromarray(rgb).save(content, "PNG")
    return content.getvalue()


def read_pillow(picture: Image.Image) -> MedicalImage:
    """A picture that Pillow holds, as `read_raster` would read its file; of several pages the present one.

    Raises:
        ImageError: If it has no pixels, too many, or cannot be decoded.
    """
    source = Path(getattr(picture, "filename", "") or "picture")
    if 0 in picture.size:
        raise ImageError(f"{source}: has {picture.width} × {picture.height} pixels; expected a picture.")
    with reading(source, "a picture"):
        PIXELS.check(picture.width * picture.height, source)
        others = _pictures_left_out(picture, "present")
        picture.load()
        pixels = _turn_upright(_to_array(picture), _stored_orientation(picture))[None]
        return MedicalImage(pixels, source, notices=(*others, *_see_through(picture)))


def on_black(channels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Let what is transparent be black: grey [H, W, 2] -> [H, W], RGB [H, W, 4] -> [H, W, 3]."""
    deep = channels.astype(np.uint16)
    shown = ((deep[..., :-1] * deep[..., -1:] + 127) // 255).astype(np.uint8)
    return shown[..., 0] if channels.shape[-1] == 2 else shown


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Image.DecompressionBombError as error:
        limit = f"the limit of {PIXELS.value:,}, or than the {2 * (Image.MAX_IMAGE_PIXELS or 0):,} that Pillow opens"
        raise ImageError(f"{path}: has more pixels than {limit}; make it smaller or cut it into tiles.") from error


def _page_count(picture: Image.Image) -> int:
    return int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1


def _pages_of(picture: Image.Image, kind: tuple[object, ...], count: int) -> list[int]:
    alike = []
    for number in range(count):
        picture.seek(number)
        if _kind(picture) == kind:
            alike.append(number)
    return alike


def _kind(picture: Image.Image) -> tuple[object, ...]:
    """Displayed size and type, which pages must share to be frames of one image."""
    sideways = _stored_orientation(picture) in SIDEWAYS
    return picture.size[::-1] if sideways else picture.size, _type_of(picture)


def _type_of(picture: Image.Image) -> str:
    if picture.mode.startswith(("I", "F")):
        return picture.mode.split(";")[0] if ";" not in picture.mode else "I;16"
    return "L" if picture.mode in GREY_MODES else "RGB"


def _read_one(path: Path, number: int) -> Pixels:
    with reading(path, "a picture"), _open(path) as picture:
        return _read_page(path, picture, number)


def _read_page(path: Path, picture: Image.Image, number: int) -> Pixels:
    if number:
        picture.seek(number)
    PIXELS.check(picture.width * picture.height, path)
    if picture.format in ("JPEG", "MPO"):
        _check_jpeg(path)
    if picture.format == "TIFF":
        _check_parts(path, picture)
    picture.load()
    return _turn_upright(_to_array(picture), _stored_orientation(picture))


def _check_parts(path: Path, picture: Image.Image) -> None:
    """Refuse a TIFF whose strips or tiles leave out a part of the picture, which its decoder would leave black.

    Raises:
        ImageError: If they do.
    """
    places = [part[1] for part in getattr(picture, "tile", ())]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in places)
    if covered < picture.width * picture.height:
        raise ImageError(
            f"{path}: its parts (strips or tiles) hold {covered:,} of {picture.width * picture.height:,} pixels; it is "
            "damaged or incomplete, so copy or export it again."
        )


def _check_jpeg(path: Path) -> None:
    """Refuse a JPEG too short for its pixels, which its decoder would fill with grey.

    Raises:
        ImageError: If it is.
    """
    with path.open("rb") as file:
        stated = read_stated_size(file)
    if stated is not None and not stated.fits_in(path.stat().st_size):
        raise ImageError(
            f"{path}: its {path.stat().st_size:,} bytes cannot hold the {stated.rows}×{stated.columns} pixels that it "
            "says it has; it is damaged or incomplete, so copy or export it again."
        )


def find_orientation(path: Path) -> int:
    """EXIF orientation of a file, 1 (upright) to 8; files that are no picture count as upright."""
    try:
        with quiet("PIL"), Image.open(path) as picture:
            return _stored_orientation(picture)
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        return 1


def _stored_orientation(picture: Image.Image) -> int:
    """EXIF orientation from 1 (upright) to 8; pictures with a broken EXIF block count as upright."""
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # whatever a damaged block makes of its reader
        return 1


def _turn_upright(pixels: Pixels, orientation: int) -> Pixels:
    turns: dict[int, Callable[[Pixels], Pixels]] = {
        2: np.fliplr,
        3: lambda stored: np.rot90(stored, 2),
        4: np.flipud,
        5: lambda stored: stored.swapaxes(0, 1),
        6: lambda stored: np.rot90(stored, -1),
        7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
        8: np.rot90,
    }
    return turns[orientation](pixels) if orientation in turns else pixels


def _to_array(page: Image.Image) -> Pixels:
    if page.mode.startswith(("I", "F")):
        return _deep_grey(np.asarray(page))
    grey, see_through = page.mode in GREY_MODES, page.has_transparency_data
    mode = ("L" if grey else "RGB") + "A" * see_through
    values = np.empty((page.height, page.width) if grey else (page.height, page.width, 3), np.uint8)
    rows = max(1, BAND_PIXELS // page.width)
    for top in range(0, page.height, rows):
        bottom = min(top + rows, page.height)
        band = np.asarray(page.crop((0, top, page.width, bottom)).convert(mode))
        values[top:bottom] = on_black(band) if see_through else band
    return values


def _deep_grey(values: NDArray[np.generic]) -> Pixels:
    if np.issubdtype(values.dtype, np.integer) and values.min() >= 0 and values.max() <= 65535:
        return values.astype(np.uint16)
    return zero_missing(values.astype(np.float32))
