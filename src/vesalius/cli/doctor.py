"""``vesalius doctor``."""

import re
import shutil
import sys
import tempfile
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from vesalius import __version__
from vesalius.cli.usage import AsJson
from vesalius.console import print_json, print_table, say
from vesalius.errors import REINSTALL, ModelError, install_command
from vesalius.files import sha256_of, tell_bytes

CORE = {
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "safetensors": "safetensors",
    "tokenizers": "tokenizers",
    "scipy": "scipy",
    "pillow": "PIL",
    "pydicom": "pydicom",
    "nibabel": "nibabel",
    "filelock": "filelock",
    "jinja2": "jinja2",
}
"""Packages that segmenting needs -> name they are imported by."""
SYNTAXES = {
    "DeflatedExplicitVRLittleEndian": "deflated",
    "RLELossless": "RLE",
    "JPEGBaseline8Bit": "JPEG",
    "JPEGExtended12Bit": "JPEG, 12 bit",
    "JPEGLossless": "JPEG lossless",
    "JPEGLosslessSV1": "JPEG lossless, first-order",
    "JPEGLSLossless": "JPEG-LS lossless",
    "JPEGLSNearLossless": "JPEG-LS near-lossless",
    "JPEG2000Lossless": "JPEG 2000 lossless",
    "JPEG2000": "JPEG 2000",
    "HTJ2KLossless": "HTJ2K lossless",
    "HTJ2KLosslessRPCL": "HTJ2K lossless RPCL",
    "HTJ2K": "HTJ2K",
}
"""pydicom's names of DICOM transfer syntaxes -> name shown; uncompressed ones need no decoder."""
REQUIREMENT = re.compile(r"([\w.-]+)(?:\[([\w,-]+)\])?.*;.*extra == ['\"]([\w-]+)['\"]")
"""A line of a package's metadata: package, its extras, and the extra that requires it."""
FOR_DEVELOPERS = {"dev"}
PHRASE, WORDING = "polyp", "a small growth on the wall of the bowel"
"""A phrase whose vector the package carries, and one that the text encoder has to read."""
SIDE = 256
"""Pixels of a side of the generated picture."""


@dataclass(frozen=True)
class HealthCheck:
    """One thing that was checked."""

    group: str
    name: str
    state: Literal["ok", "missing", "broken"]
    """"broken" if segmenting or naming needs it, "missing" if only other jobs do."""
    detail: str
    remedy: str | None = None
    milliseconds: float | None = None
    """Time of a step of the timed test."""


def doctor(*, as_json: AsJson = False) -> None:
    """Say what works on this machine and what is missing, and time a small test.

    Versions, decoders of compressed DICOM files, devices, weights, folders that can be written, optional extras, and a
    test that segments and names a generated picture. Nothing is sent or downloaded. Send its output with a report of a
    fault.

    Exit codes:
        1: Something that segmenting or naming needs is broken; what to do stands beside it.

    Examples:
        vesalius doctor
        vesalius doctor --json

    Documentation:
        README.md, docs/devices.md

    Args:
        as_json: Print one JSON object.
    """
    found = list(examine())
    broken = [each for each in found if each.state == "broken"]
    if as_json:
        names = [each.name for each in broken]
        print_json({"vesalius": __version__, "checks": [asdict(each) for each in found], "broken": names})
    else:
        for group in dict.fromkeys(each.group for each in found):
            rows = [(each.name, each.state, _tell(each)) for each in found if each.group == group]
            print_table(("what", "state", "detail"), rows, title=group)
        say("Segmenting and naming work here." if not broken else f"Broken: {', '.join(each.name for each in broken)}.")
    if broken:
        sys.exit(1)


def examine() -> Iterator[HealthCheck]:
    """Check one thing after the other; an error in one check does not stop the next."""
    for look in (_versions, _decoders, _devices, _weights, _folders, _extras, _test):
        yield from look()


def _tell(check: HealthCheck) -> str:
    return check.detail if check.remedy is None else f"{check.detail}; {check.remedy}"


def _versions() -> Iterator[HealthCheck]:
    group = "Versions"
    yield HealthCheck(group, "vesalius", "ok", f"{__version__}, in {Path(__file__).parents[1]}")
    yield HealthCheck(group, "python", "ok", f"{sys.version.split()[0]} on {sys.platform}, in {sys.prefix}")
    for name, module in CORE.items():
        try:
            import_module(module)
        except Exception as error:  # a package that is damaged may raise anything
            yield HealthCheck(group, name, "broken", _one_line(error), REINSTALL)
        else:
            yield HealthCheck(group, name, "ok", version(name))
    if find_spec("torch"):
        yield HealthCheck(group, "torch", "ok", version("torch"))
    else:
        yield HealthCheck(
            group, "torch", "missing", "not needed to segment and name with pocket", install_command("train")
        )


def _decoders() -> Iterator[HealthCheck]:
    from pydicom import uid
    from pydicom.pixels.decoders.base import get_decoder

    for name, title in SYNTAXES.items():
        syntax = getattr(uid, name)
        if name.startswith("Deflated"):
            yield HealthCheck("Compressed DICOM", title, "ok", str(syntax))
            continue
        decoder = get_decoder(syntax)
        if decoder.is_available:
            yield HealthCheck("Compressed DICOM", title, "ok", f"{syntax}, with {', '.join(decoder.available_plugins)}")
        else:
            yield HealthCheck("Compressed DICOM", title, "broken", f"{syntax}: no decoder is installed", REINSTALL)


def _devices() -> Iterator[HealthCheck]:
    from vesalius.processes import count_cores

    group = "Devices"
    yield HealthCheck(group, "cpu", "ok", f"{count_cores()} cores")
    if not find_spec("torch"):
        told = "only PyTorch computes on GPUs, and it is not installed"
        yield HealthCheck(group, "GPU", "missing", told, install_command("train"))
        return
    try:
        import torch

        from vesalius.models.inference import describe_device, list_devices

        others = [torch.device(each) for each in list_devices() if each != "cpu"]
        for device in others:
            named = describe_device(device, "32").get("device_name")
            yield HealthCheck(group, str(device), "ok", str(named or "Apple's GPU"))
        if not others:
            yield HealthCheck(group, "GPU", "missing", f"PyTorch {torch.__version__} finds none; all runs on the CPU")
    except Exception as error:  # drivers raise what they like; the CPU still works
        yield HealthCheck(group, "GPU", "missing", f"PyTorch: {_one_line(error)}")


def _weights() -> Iterator[HealthCheck]:
    from vesalius.models.checkpoint_file import EMBEDDED
    from vesalius.models.public_weights import read_sources, weights_folder

    for name, path in EMBEDDED.items():
        yield _attempt("Weights", name, partial(_describe_embedded, path))
    here = [each.name for each in read_sources().values() if each.is_here()]
    told = f"{', '.join(here) or 'none'}, in {weights_folder()}"
    yield HealthCheck(
        "Weights", "public weights", "ok" if here else "missing", told, None if here else "vesalius weights list"
    )


def _describe_embedded(path: Path) -> str:
    """Check a file of embedded weights, and describe it.

    Raises:
        ModelError: If it is damaged.
    """
    from vesalius.models.checkpoint_file import open_tensors

    with open_tensors(path) as file:
        tensors = len(file.keys())
    digest, recorded = sha256_of(path), _recorded_sha256(path)
    if recorded not in (None, digest):
        raise ModelError(f"{path}: SHA-256 {digest}, and {recorded} when it was installed.")
    checked = "as installed" if recorded else "no record of the installation to compare with"
    return f"{path}, {tell_bytes(path.stat().st_size)}, {tensors} tensors, SHA-256 {digest[:12]}… ({checked})"


def _recorded_sha256(path: Path) -> str | None:
    """Checksum in the package's record of files; None for an installation in place."""
    try:
        files = distribution("vesalius").files or []
    except PackageNotFoundError:
        return None
    for each in files:
        if each.hash is not None and each.name == path.name and Path(str(each.locate())) == path:
            return urlsafe_b64decode(each.hash.value + "==").hex()
    return None


def _folders() -> Iterator[HealthCheck]:
    from vesalius.models.public_weights import weights_folder

    folders = {"current folder": Path.cwd(), "public weights": weights_folder()}
    for name, folder in (folders | {"temporary files": Path(tempfile.gettempdir())}).items():
        there = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
        try:
            with tempfile.TemporaryFile(dir=there):
                free = shutil.disk_usage(there).free
        except OSError as error:
            remedy = "name another folder for results with --out" if name == "current folder" else "make it writable"
            yield HealthCheck("Folders", name, "missing", f"{folder}: cannot be written ({error.strerror})", remedy)
        else:
            yield HealthCheck("Folders", name, "ok", f"{folder}, {tell_bytes(free)} free")


def _extras() -> Iterator[HealthCheck]:
    for extra, packages in _read_extras().items():
        lacking = [each for each in packages if not _is_installed(each)]
        if lacking:
            yield HealthCheck("Extras", extra, "missing", f"lacks {', '.join(lacking)}", install_command(extra))
        else:
            yield HealthCheck("Extras", extra, "ok", ", ".join(f"{each} {version(each)}" for each in packages))


def _read_extras() -> dict[str, list[str]]:
    """Optional extras -> their packages, by the package's metadata; none if it is not installed."""
    try:
        lines = distribution("vesalius").requires or []
    except PackageNotFoundError:
        return {}
    return sort_extras(lines)


def sort_extras(lines: Iterable[str]) -> dict[str, list[str]]:
    """Extras -> their packages, from lines of a package's metadata; an extra within another counts by its packages."""
    found = [match.groups() for line in lines if (match := REQUIREMENT.match(line))]
    packages: dict[str, list[str]] = {extra: [] for _, _, extra in found if extra not in FOR_DEVELOPERS}
    for name, inner, extra in found:
        if extra in packages:
            parts = inner.split(",") if inner and name == "vesalius" else []
            packages[extra] += [each for each, _, own in found if own in parts] if parts else [name]
    return packages


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _test() -> Iterator[HealthCheck]:
    """Segment and name a generated picture."""
    import numpy as np

    from vesalius.imaging import MedicalImage
    from vesalius.naming import AnatomyLabeller
    from vesalius.predict import Predictor
    from vesalius.runtime import open_runtime

    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    inside = (rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.1
    grey = np.rint(60 + 40 * rows + 120 * inside).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    image = MedicalImage(grey[None], source=Path("generated"))
    group = "Test on a generated picture"
    steps: dict[str, Callable[[], str]] = {
        "segment it": lambda: f"{Predictor().set_image(rgb).predict([PHRASE])[0].mask.mean():.1%} marked",
        "read a new wording": lambda: f"vector of {open_runtime('pocket').encode_text([WORDING]).vectors.shape[1]}",
        "name it": lambda: f"modality {AnatomyLabeller().label(image).modality.label or 'unsure'}",
    }
    for name, step in steps.items():
        yield _attempt(group, name, step, timed=True)


def _attempt(group: str, name: str, step: Callable[[], str], *, timed: bool = False) -> HealthCheck:
    started = time.perf_counter()
    try:
        detail = step()
    except Exception as error:  # any error is a finding
        return HealthCheck(group, name, "broken", _one_line(error), REINSTALL)
    if not timed:
        return HealthCheck(group, name, "ok", detail)
    took = 1000 * (time.perf_counter() - started)
    return HealthCheck(group, name, "ok", f"{took:.0f} ms: {detail}", milliseconds=took)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".").removesuffix(f"; {REINSTALL}")
    return text if type(error).__module__.startswith("vesalius.") else f"{type(error).__name__}: {text}"
