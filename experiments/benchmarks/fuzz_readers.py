"""Read odd and damaged files for as long as wanted: each is read soundly or refused clearly, or it is a fault.

    python experiments/benchmarks/fuzz_readers.py --minutes 10 --seed 1

Inputs that show a fault are kept in the folder named by --out with what went wrong beside them; the first of each kind
of fault is told. A crash of the whole process leaves its input in the folder too.
"""

import argparse
import faulthandler
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fuzz_files import kinds, seeded, sound_files, write_case

from vesalius.errors import ImageError, ImageNotice, MissingPackageError
from vesalius.imaging import MedicalImage, Plane, read_image

MOST_SECONDS = 5.0
"""That reading so small a file may take."""
MOST_MEBIBYTES = 400
"""By which memory may grow while one is read."""
HANGS_AFTER = 60
"""Seconds, after which the process says where it hangs and ends."""


class FaultError(Exception):
    """An input that was neither read soundly nor refused clearly."""


def read_or_refuse(path: Path) -> str:
    """Read a file or folder and look at what comes out.

    Returns:
        "read" or "refused".

    Raises:
        FaultError: If another exception, another warning than a notice, or an image comes out that cannot be shown.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            check_image(read_image(path))
            result = "read"
        except FaultError:
            raise
        except (ImageError, MissingPackageError) as error:
            result = "refused"
            if str(path.name) not in str(error) and str(path.parent) not in str(error):
                raise FaultError(f"the message names no file: {error}") from error
        except Exception as error:
            raise FaultError("".join(traceback.format_exception(error))) from error
    strange = [each for each in told if not issubclass(each.category, ImageNotice)]
    if strange:
        first = strange[0]
        raise FaultError(f"{first.category.__name__}: {first.message} ({first.filename}:{first.lineno})")
    return result


def check_image(image: MedicalImage) -> None:
    """Render some slices in every plane, and bring a mask back to the file.

    Raises:
        FaultError: If values are not finite or not in [0, 1], or what the image says of itself is no use.
        ImageError: If its pixels, which may be read only now, are damaged.
    """
    _check_facts(image)
    planes: list[Plane | None] = [None] if image.affine is None else [None, "axial", "coronal", "sagittal"]
    for plane in planes:
        try:
            stack = image.slices(plane)
            for index in sorted({0, len(stack) // 2, len(stack) - 1}):
                _check_slice(stack[index].rgb, (*stack.pixels.shape[1:3], 3))
        except ImageError:
            if plane is None:
                raise
    if image.affine is not None:
        grid, _ = image.to_source_grid(np.zeros(image.pixels.shape[:3], np.bool_))
        if image.source_shape is not None and grid.shape != image.source_shape:
            raise FaultError(f"a mask comes back as {grid.shape}, not {image.source_shape}")


def _check_facts(image: MedicalImage) -> None:
    _ = image.protocol, image.purpose, image.sheared, image.is_colour, [each.to_dict() for each in image.notices]
    numbers = [*(image.spacing or ()), *(image.pixel_spacing or ()), *(image.window or ()), image.obliquity or 0.0]
    if not np.isfinite(numbers).all():
        raise FaultError(f"numbers of the header are not finite: {numbers}")
    unplaced = any(each.what == "place in the patient unknown" for each in image.notices)
    if image.affine is not None and not unplaced and image.plane not in ("axial", "coronal", "sagittal", "oblique"):
        raise FaultError(f"plane {image.plane}")
    if not all(isinstance(value, str) for value in image.header.values()):
        raise FaultError("header values are not text")


def _check_slice(rgb: np.ndarray, shape: tuple[int, ...]) -> None:
    if rgb.shape != shape or rgb.dtype != np.float32:
        raise FaultError(f"a slice is {rgb.dtype} {rgb.shape}, expected {shape}")
    if not np.isfinite(rgb).all() or rgb.min() < 0 or rgb.max() > 1:
        raise FaultError(f"shades are not in [0, 1]: {rgb.min()} to {rgb.max()}")


def main() -> None:
    """Try files until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the first file; each next one has the next seed")
    parser.add_argument("--only", help="one kind of input, such as 'dicom header' or 'grey.png'")
    parser.add_argument("--out", type=Path, default=Path("faults"), help="folder for inputs that show a fault")
    chosen = parser.parse_args()
    faulthandler.enable()
    sound = sound_files()
    asked = [chosen.only] if chosen.only else kinds(sound)
    results: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    start, number = time.monotonic(), chosen.seed
    with tempfile.TemporaryDirectory() as home:
        while time.monotonic() - start < 60 * chosen.minutes:
            kind = asked[number % len(asked)]
            case = Path(home) / "case"
            shutil.rmtree(case, ignore_errors=True)
            case.mkdir()
            faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
            outcome = measure(write_case(case, kind, seeded(number), sound))
            faulthandler.cancel_dump_traceback_later()
            results[outcome.result] += 1
            fault = outcome.fault
            if fault is not None:
                _keep(case, chosen.out / f"{number}-{kind.replace(' ', '-')}", fault)
                name = fault.strip().splitlines()[-1][:160]
                faults[name] += 1
                if faults[name] == 1:
                    print(f"{number} {kind}: {fault}", flush=True)
            number += 1
    _summarise(number - chosen.seed, results, faults, chosen.out)


@dataclass(frozen=True)
class Outcome:
    """What came of reading one input."""

    result: str
    """"read", "refused" or "faults"."""
    fault: str | None
    """What went wrong."""
    seconds: float
    mebibytes: float
    """By which resident memory grew at most; 0 where the system does not tell."""


def measure(path: Path) -> Outcome:
    """Read a file or folder; too much time or memory is a fault, too."""
    _forget_peak()
    before, start = _memory("VmRSS"), time.monotonic()
    fault = None
    try:
        result = read_or_refuse(path)
    except FaultError as error:
        fault, result = str(error), "faults"
    seconds, grown = time.monotonic() - start, _memory("VmHWM") - before
    if fault is None and (seconds > MOST_SECONDS or grown > MOST_MEBIBYTES):
        fault, result = f"took {seconds:.1f} seconds and {grown:.0f} MiB", "faults"
    return Outcome(result, fault, seconds, grown)


def _forget_peak() -> None:
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def _memory(field: str) -> float:
    """MiB of resident memory, or its peak; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0.0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def _keep(case: Path, target: Path, fault: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(case, target)
    (target / "fault.txt").write_text(fault, encoding="utf-8")


def _summarise(tried: int, results: Counter[str], faults: Counter[str], out: Path) -> None:
    print(f"tried {tried:,}: read {results['read']:,}, refused {results['refused']:,}, faults {results['faults']:,}")
    for name, count in faults.most_common():
        print(f"{count:6,}  {name}")
    if faults:
        print(f"inputs in {out}")
        sys.exit(1)


if __name__ == "__main__":
    main()
