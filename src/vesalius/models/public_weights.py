"""Public weights: what there is (``sources.toml``), where it lies here, its checksums, and downloads that resume.

Every file has a folder of its own: ``clipseg-rd64-refined/model.safetensors`` and so on, in the folder that the
environment variable ``VESALIUS_WEIGHTS`` names, by default ``vesalius/weights`` in the user's cache.

We speak HTTP ourselves because ``huggingface_hub`` throws an interrupted download away, and because the same lines
then serve the hub, OpenAI's server and mirrors. Settings come from the environment: ``VESALIUS_MIRROR`` (a web server
with a copy of a weights folder), ``HF_ENDPOINT`` (a mirror of the hub), ``VESALIUS_OFFLINE=1`` or ``HF_HUB_OFFLINE=1``
(never use the network); ``HTTPS_PROXY`` works as everywhere.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from vesalius import __version__
from vesalius.errors import ConfigError, ModelError, OutputError, unknown_name
from vesalius.files import read_package_toml, sha256_of, tell_bytes, write_json
from vesalius.models.registry import list_encoders

HUB = "https://huggingface.co"
ALIASES = {"pubmedclip": ("pubmedclip-vit32", "pubmedclip-vit32-hf")}
"""Models known by another name than their weights'; any of these will do, the first is what we ask for."""


@dataclass(frozen=True)
class WeightSource:
    """One row of the registry: a file, where it comes from and what it is for.

    It comes from ``hub`` at ``revision``, from ``url``, or by a person's hand from ``page``.
    """

    name: str
    title: str
    file: str
    models: tuple[str, ...]
    """Named models that start from it."""
    licence: str
    layout: str | None = None
    """Layout that ``vesalius weights import`` reads it in; None for a vocabulary, which is used as it is."""
    hub: str | None = None
    revision: str | None = None
    url: str | None = None
    page: str | None = None
    size: int | None = None
    """Bytes, where published."""
    sha256: str | None = None
    """Hexadecimal, where published."""

    @property
    def path(self) -> Path:
        """Where the file belongs on this machine, whether it is there or not."""
        return weights_folder() / self.name / self.file

    @property
    def address(self) -> str | None:
        """Where the public can download the file; None if only ``page`` leads to it."""
        return self.address_at(HUB) if self.hub else self.url

    def address_at(self, hub: str) -> str:
        """The file's address at the hub, or at another server that speaks like it."""
        return f"{hub}/{self.hub}/resolve/{self.revision}/{self.file}"

    def is_here(self) -> bool:
        """Whether the file is in its place with the size it should have."""
        return self.path.is_file() and self.size in (None, self.path.stat().st_size)

    @property
    def megabytes(self) -> str | None:
        """Size in words, where published."""
        return tell_bytes(self.size) if self.size else None

    def fault(self) -> str:
        """Why it cannot be used."""
        if not self.path.is_file():
            return "is not on this machine"
        return f"({self.path}) is cut off, or another file: expected {self.size} bytes, got {self.path.stat().st_size}"

    def remedy(self) -> str:
        """What to do to have the file here."""
        return self.by_hand() if self.address is None else f"Run: vesalius weights fetch {self.name}. {self.by_hand()}"

    def by_hand(self) -> str:
        """Which file to bring from where to which place, without a command of ours."""
        if self.address is None:
            return f"Get {self.file} from {self.page} and put it at {self.path}"
        facts = ", ".join(filter(None, [self.megabytes, self.sha256 and f"sha256 {self.sha256}"]))
        known = f" ({facts})" if facts else ""
        return f"On a machine that reaches it: curl -L -o {self.file} {self.address}{known}; then put it at {self.path}"


def weights_folder() -> Path:
    """Where public weights lie: ``$VESALIUS_WEIGHTS``, else ``vesalius/weights`` in the user's cache."""
    if chosen := os.environ.get("VESALIUS_WEIGHTS"):
        return Path(chosen).expanduser()
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "vesalius" / "weights"


@cache
def read_sources() -> Mapping[str, WeightSource]:
    """All rows of the registry by name."""
    tables = read_package_toml("models/sources.toml")
    return {name: WeightSource(name=name, **row | {"models": tuple(row["models"])}) for name, row in tables.items()}


def find_source(name: str) -> WeightSource:
    """One row of the registry.

    Raises:
        ModelError: Naming the closest one that exists.
    """
    if name not in read_sources():
        raise ModelError(unknown_name("public weights", name, read_sources()))
    return read_sources()[name]


def list_encoder_weights() -> list[str]:
    """Names by which public weights of models that encode images and prompts are known."""
    encoders = set(list_encoders())
    return [*ALIASES, *(name for name, row in read_sources().items() if row.layout and encoders & set(row.models))]


def find_encoder_source(name: str) -> WeightSource | None:
    """The public weights that a model which only encodes is known by, such as "pubmedclip"; None if there are none.

    Where several files hold the same weights, one that is on this machine goes first.

    Raises:
        ModelError: If the name is a vocabulary's.
    """
    known = [read_sources()[each] for each in ALIASES.get(name, (name,)) if each in read_sources()]
    known = [source for source in known if set(list_encoders()) & set(source.models)]
    if known and known[0].layout is None:
        raise ModelError(f"{name}: is {known[0].title[:1].lower()}{known[0].title[1:]}, not a model.")
    return next((source for source in known if source.is_here()), known[0] if known else None)


def locate(name: str) -> Path:
    """The file of public weights on this machine; nothing is downloaded.

    Raises:
        ModelError: If it is not here or has been cut off, with what to do about it.
    """
    check_here([name])
    return find_source(name).path


def check_here(names: Sequence[str]) -> None:
    """See that files of public weights are on this machine, all of them before any is read.

    Raises:
        ModelError: Naming every one that is not here or has been cut off, and one command that fetches them.
    """
    lacking = [source for source in map(find_source, dict.fromkeys(names)) if not source.is_here()]
    if not lacking:
        return
    told = [f"{source.name} {source.fault()}" for source in lacking]
    fetched = [source.name for source in lacking if source.address is not None]
    command = [f"Run: vesalius weights fetch {' '.join(fetched)}"] if fetched else []
    raise ModelError(f"{'; '.join(told)}. {'. '.join([*command, *(source.by_hand() for source in lacking)])}.")


@dataclass(frozen=True)
class ChecksumVerdict:
    """Result of comparing a file with its checksum."""

    name: str
    path: Path
    sha256: str
    expected: str | None
    """Published, or recorded at the first fetch; None where neither exists."""

    @property
    def finding(self) -> Literal["unchanged", "changed", "nothing to compare with"]:
        """In words."""
        if self.expected is None:
            return "nothing to compare with"
        return "unchanged" if self.sha256 == self.expected else "changed"


def verify(name: str) -> ChecksumVerdict:
    """Compare a file with the checksum that is published, or was recorded when it was first fetched.

    Raises:
        ModelError: If there is no such name, or its file is not here.
    """
    source = find_source(name)
    if not source.path.is_file():
        raise ModelError(f"{name} is not on this machine; it belongs at {source.path}.")
    return ChecksumVerdict(name, source.path, sha256_of(source.path), find_checksum(source))


def record(source: WeightSource, sha256: str, address: str) -> None:
    """Keep, in ``FILE.json`` beside the file, the checksum of what was fetched today from an address."""
    today = datetime.now(UTC).date().isoformat()
    write_json(_place(source), {"sha256": sha256, "from": address, "fetched": today})


def find_checksum(source: WeightSource) -> str | None:
    """The sha256 that is published, or was recorded at the first fetch; None where neither exists.

    Raises:
        ModelError: If the record is damaged.
    """
    if source.sha256 is not None:
        return source.sha256
    path = _place(source)
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: damaged record of a checksum; delete it.") from error


def _place(source: WeightSource) -> Path:
    return source.path.with_name(f"{source.file}.json")


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
        The file, checked against its sha256; where none is published, ``FILE.json`` beside it keeps that of the first
        fetch.

    Raises:
        ModelError: If there is no such name, no way to the file, or another file is found there.
        OutputError: If the weights folder cannot be written.
    """
    source = find_source(name)
    if source.is_here():
        return source.path
    address = _address(source)
    expected, part = find_checksum(source), source.path.with_name(f"{source.file}.part")
    with _writing(source.path):
        _download(source, address, part, on_bytes)
        found = _check(source, address, part, expected)
        os.replace(part, source.path)
    if expected is None:
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
        why = f"{address} cannot be reached ({getattr(reason, 'strerror', None) or reason})"
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


def _check(source: WeightSource, address: str, part: Path, expected: str | None) -> str:
    """The checksum of what was downloaded, which is deleted if it is not the expected one."""
    found = sha256_of(part)
    if expected not in (None, found):
        part.unlink()
        remedy = f" To take another file than at the first fetch, delete {_place(source)}." * (source.sha256 is None)
        raise ModelError(f"{address}: not the file expected (sha256 {found}, not {expected}); it was deleted.{remedy}")
    return found


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "check that the folder can be written and has room, or choose another with VESALIUS_WEIGHTS"
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}.") from error
