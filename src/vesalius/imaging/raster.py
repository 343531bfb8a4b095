"""Pictures and masks in everyday formats: PNG, JPEG, TIFF and BMP, through Pillow."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vesalius.errors import ImageError
from vesalius.files import writing
from vesalius.imaging.formats import LOSSLESS_SUFFIXES, RASTER_SUFFIXES
from vesalius.imaging.image import MedicalImage, Pixels


def read_raster(path: Path, *, frame: int | None = None) -> MedicalImage:
    """Read a picture, upright as its EXIF orientation says.

    Grey of 8 and 16 bit stays as it is, 1 bit becomes 0 and 255, palettes and other colour spaces become RGB. Pillow
    gives 16-bit colour as 8 bit. Transparency is dropped where opaque, else composited on black. The pages of a TIFF
    are frames; pages of another size or type than the first (thumbnails, pyramid levels) are left out.

    Args:
        path: File in a format Pillow reads; the content counts, not the suffix.
        frame: Only that page of a TIFF, from 1; by default all.

    Returns:
        Image [D, H, W] or [D, H, W, 3] without affine; D is 1 but for TIFF.

    Raises:
        ImageError: If the file is missing, truncated, too large to be safe, or no picture.
    """
    pages = _read_pages(path)
    if frame is not None:
        if not 1 <= frame <= len(pages):
            raise ImageError(f"{path}: has no frame {frame}; expected a number from 1 to {len(pages)}.")
        pages = pages[frame - 1 : frame]
    same = [page for page in pages if page.shape == pages[0].shape and page.dtype == pages[0].dtype]
    return MedicalImage(pixels=np.stack(same), source=path)


def is_raster(path: Path) -> bool:
    """Whether Pillow recognises the file's content, whatever its suffix."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `read_raster` refuses such files
            Image.open(path).close()
    except Image.DecompressionBombError:
        return True
    except OSError:
        return False
    return True


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask; foreground is the upper half of the pixel type's range.

    More than 127 of 8 bit (32767 of 16 bit) is foreground; in a file whose largest value is 1 or less, more than 0 is.
    Colour masks count by their brightest channel. Only the first page is read.

    Returns:
        Mask [H, W].

    Raises:
        ImageError: As `read_raster`.
    """
    values = _read_pages(path)[0]
    grey = values.max(axis=2) if values.ndim == 3 else values
    if grey.max() <= 1:
        return np.asarray(grey > 0)
    return np.asarray(grey > (32767 if grey.dtype == np.uint16 else 127))


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


def write_rgb(path: Path, rgb: NDArray[np.floating] | NDArray[np.uint8]) -> None:
    """Write a colour picture, whole or not at all.

    Args:
        path: File to write; its suffix says the format.
        rgb: Picture [H, W, 3], in [0, 1] if real numbers, 0–255 if bytes.

    Raises:
        ImageError: If the array is no picture.
        OutputError: If the file cannot be written.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ImageError(f"{path}: expected a picture [H, W, 3], got {list(rgb.shape)}.")
    if path.suffix.lower() not in RASTER_SUFFIXES:
        raise ImageError(f"{path}: cannot write '{path.suffix}'; use one of {', '.join(RASTER_SUFFIXES)}.")
    levels = rgb if rgb.dtype == np.uint8 else np.rint(np.clip(rgb, 0, 1) * 255)
    with writing(path) as unfinished:
        Image.fromarray(levels.astype(np.uint8)).save(unfinished)


def _read_pages(path: Path) -> list[Pixels]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return [_read_page(picture, number) for number in range(_page_count(picture))]
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{Image.MAX_IMAGE_PIXELS:,}" if Image.MAX_IMAGE_PIXELS else "the limit of"
        raise ImageError(f"{path}: has more than {limit} pixels; scale it down or cut it into tiles first.") from error
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file; check the path.") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(
            f"{path}: cannot be read as a picture ({error}); it is damaged, incomplete or no picture. "
            "Export or copy it again."
        ) from error


def _page_count(picture: Image.Image) -> int:
    return int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1


def _read_page(picture: Image.Image, number: int) -> Pixels:
    if number:
        picture.seek(number)
    return _to_array(ImageOps.exif_transpose(picture))


def _to_array(page: Image.Image) -> Pixels:
    if page.mode.startswith(("I", "F")):
        return _deep_grey(np.asarray(page))
    if page.mode in ("1", "L", "LA"):
        return _on_black(page.convert("LA")) if page.has_transparency_data else np.array(page.convert("L"))
    return _on_black(page.convert("RGBA")) if page.has_transparency_data else np.array(page.convert("RGB"))


def _deep_grey(values: NDArray[np.generic]) -> Pixels:
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    fits = np.issubdtype(values.dtype, np.integer) and numbers.min() >= 0 and numbers.max() <= 65535
    return numbers.astype(np.uint16) if fits else numbers.astype(np.float32)


def _on_black(page: Image.Image) -> NDArray[np.uint8]:
    channels = np.asarray(page).astype(np.uint16)
    shown = ((channels[..., :-1] * channels[..., -1:] + 127) // 255).astype(np.uint8)
    return shown[..., 0] if page.mode == "LA" else shown
