"""Download public weights and check them: resumed where it stopped, and in place only when whole.

We speak HTTP ourselves because ``huggingface_hub`` throws an interrupted download away, and because the same lines
then serve the hub, OpenAI's server and mirrors. Settings come from the environment: ``VESALIUS_MIRROR`` (a web server
with a copy of a weights folder), ``HF_ENDPOINT`` (a mirror of the hub), ``VESALIUS_OFFLINE=1`` or ``HF_HUB_OFFLINE=1``
(never use the network); ``HTTPS_PROXY`` works as everywhere.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from vesalius import __version__
from vesalius.errors import ConfigError, ModelError, OutputError
from vesalius.files import sha256_of
from vesalius.models.checksums import record
from vesalius.models.sources import HUB, WeightSource, find_source

PIECE = 1 << 20
LARGEST = 4_000_000_000
"""Bytes that a download may have; the largest file of the registry has a fifth of it."""
PATIENCE_S = 30
YES = {"1", "on", "true", "yes"}

OnBytes = Callable[[int, int | None], object]
"""Called with the bytes done and the bytes there are, None where the server does not say."""


def fetch(name: str, on_bytes: OnBytes = lambda done, total: None) -> Path:
    """Download a file of public weights, unless it is here already.

    An interrupted download leaves ``FILE.part``, and the next one goes on from there.

    Args:
        name: One of ``read_sources()``.
        on_bytes: Told how far it is.

    Returns:
        The file, checked against its sha256; where none is published, ``FILE.json`` beside it keeps the one found.

    Raises:
        ModelError: If there is no such name, no way to the file, or another file is found there.
        OutputError: If the weights folder cannot be written.
    """
    source = find_source(name)
    if source.is_here():
        return source.path
    address = _address(source)
    part = source.path.with_name(f"{source.file}.part")
    with _writing(source.path):
        _download(source, address, part, on_bytes)
        found = _check(source, address, part)
        os.replace(part, source.path)
    if source.sha256 is None:
        record(source, found, address)
    return source.path


def _address(source: WeightSource) -> str:
    """Where to download from under the present settings."""
    if any(os.environ.get(setting, "").lower() in YES for setting in ("VESALIUS_OFFLINE", "HF_HUB_OFFLINE")):
        raise ModelError(f"{source.name} is not on this machine, and offline mode is on. {source.by_hand()}.")
    if mirror := os.environ.get("VESALIUS_MIRROR"):
        address: str | None = f"{mirror.rstrip('/')}/{source.name}/{source.file}"
    else:
        hub = os.environ.get("HF_ENDPOINT") or HUB
        address = source.address_at(hub.rstrip("/")) if source.hub else source.url
    if address is None:
        raise ModelError(f"{source.name} has no address to download from. {source.by_hand()}.")
    if not address.startswith(("https://", "http://")):
        raise ConfigError(f"{address}: the address of a mirror starts with https:// or http://.")
    return address


def _download(source: WeightSource, address: str, part: Path, on_bytes: OnBytes) -> None:
    """Give ``part`` the bytes it lacks."""
    if part.is_file() and part.stat().st_size == source.size:
        return
    with _open(source, address, part) as answer:
        done = part.stat().st_size if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
        length = answer.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        _check_size(source, address, total)
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab" if done else "wb") as file:
            for piece in _pieces(answer, address):
                file.write(piece)
                done += len(piece)
                if done > LARGEST:
                    raise ModelError(f"{address}: more than {LARGEST} bytes; these are not the weights.")
                on_bytes(done, total)
    if done != (total or done):
        raise _broken(address)


def _open(source: WeightSource, address: str, part: Path) -> HTTPResponse:
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": f"vesalius/{__version__}"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer: HTTPResponse = urlopen(Request(address, headers=headers), timeout=PATIENCE_S)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            part.unlink()  # as long as the file at least, so what it holds is not the beginning of it
            return _open(source, address, part)
        raise ModelError(f"{address}: the server answers {error.code} {error.reason}. {source.by_hand()}.") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        why = f"{urlsplit(address).netloc} cannot be reached ({getattr(reason, 'strerror', None) or reason})"
        settings = "behind a proxy set HTTPS_PROXY, for a mirror VESALIUS_MIRROR or HF_ENDPOINT"
        raise ModelError(f"{source.name}: {why}; {settings}. {source.by_hand()}.") from error
    return answer


def _check_size(source: WeightSource, address: str, total: int | None) -> None:
    expected = LARGEST if source.size is None else source.size
    if total is not None and (total > expected or source.size not in (None, total)):
        limit = "at most " if source.size is None else ""
        raise ModelError(f"{address}: expected {limit}{expected} bytes, the server has {total}; not downloaded.")


def _pieces(answer: HTTPResponse, address: str) -> Iterator[bytes]:
    try:
        while piece := answer.read(PIECE):
            yield piece
    except (OSError, HTTPException) as error:
        raise _broken(address) from error


def _broken(address: str) -> ModelError:
    return ModelError(f"{address}: the connection broke; the same command goes on where it stopped.")


def _check(source: WeightSource, address: str, part: Path) -> str:
    """The checksum of what was downloaded, which is deleted if it is not the published one."""
    found = sha256_of(part)
    if source.sha256 not in (None, found):
        part.unlink()
        raise ModelError(f"{address}: not the file expected (sha256 {found}, not {source.sha256}); it was deleted.")
    return found


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "check that the folder can be written and has room, or choose another with VESALIUS_WEIGHTS"
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}.") from error
