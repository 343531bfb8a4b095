"""Settings of the service, and what it refuses to start with."""

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from vesalius.addresses import is_loopback
from vesalius.errors import ConfigError, check_at_least, check_positive
from vesalius.models.choices import DEFAULT_MODEL

TOKEN_VARIABLE = "VESALIUS_SERVE_TOKEN"
"""Environment variable with the token that callers must show."""
SHORTEST_TOKEN = 16
"""Smallest number of characters of a token."""
MAKE_TOKEN = 'make one with: python -c "import secrets; print(secrets.token_urlsafe())"'
HOST = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
MOST_PHRASES = 32
"""Largest number of phrases of one request."""
LONGEST_PHRASE = 500
"""Largest number of characters of a phrase."""


@dataclass(frozen=True)
class Limits:
    """How much the service takes in; pixels, slices and memory of an image have the limits of all commands."""

    upload_megabytes: int = 1024
    """Most of one upload, as sent."""
    unpacked_megabytes: int = 4096
    """Most that an upload may unpack to."""
    store_megabytes: int = 20480
    """Most that all uploads and their results take on disk."""
    cache_megabytes: int = 1024
    """Most that features of images take in memory, so that further phrases are answered at once."""
    queue: int = 32
    """Most requests that wait for each worker; more are told to come back (429)."""
    timeout_seconds: float = 300
    """Seconds after which a request is stopped."""
    keep_minutes: float = 60
    """How long an upload that nobody asks for is kept."""

    def check(self) -> None:
        """Refuse limits out of their range.

        Raises:
            ConfigError: Naming the limit.
        """
        check_positive(self, "upload_megabytes", "unpacked_megabytes", "store_megabytes", "timeout_seconds")
        check_positive(self, "keep_minutes")
        check_at_least(self, 0, "cache_megabytes")
        check_at_least(self, 1, "queue")


@dataclass(frozen=True)
class ServeSettings:
    """Where the service listens, and who may ask it."""

    store: Path
    """Folder for uploads and results."""
    model: str = DEFAULT_MODEL
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    allowed_hosts: tuple[str, ...] = ()
    """Further names under which the service is reached, as behind a reverse proxy."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of other pages that may ask it, such as "https://viewer.example.org"."""
    dicomweb: str = ""
    """Address of a DICOMweb service, from which series are fetched that clients of MONAI Label's protocol name."""
    token: str = field(default="", repr=False)
    """What callers must show; empty for none."""
    limits: Limits = field(default_factory=Limits)

    def check(self) -> None:
        """Refuse settings that are out of range or unsafe.

        Raises:
            ConfigError: Saying what would do.
        """
        self.limits.check()
        check_at_least(self, 1, "workers")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port: expected 0 to 65535, got {self.port}.")
        self._check_token()
        self._check_callers()

    def _check_token(self) -> None:
        if not _is_plain(self.token):
            raise ConfigError(
                f"{TOKEN_VARIABLE}: expected letters of English, digits and signs without spaces around them, as "
                f"browsers and proxies change all others; {MAKE_TOKEN}"
            )
        if self.token and len(self.token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"{TOKEN_VARIABLE}: expected {SHORTEST_TOKEN} characters or more, got {len(self.token)}; {MAKE_TOKEN}"
            )
        if not is_loopback(self.host) and not self.token:
            raise ConfigError(
                f"--host {self.host}: other machines could reach the service, so callers must show a token; set one of "
                f"{SHORTEST_TOKEN} characters or more in the environment variable {TOKEN_VARIABLE} ({MAKE_TOKEN})."
            )

    def _check_callers(self) -> None:
        for name in self.allowed_hosts:
            if not _is_host(name):
                raise ConfigError(
                    f"--allow-host {name}: expected a name or an address without scheme, port and *, such as "
                    "images.example.org."
                )
        for origin in self.allowed_origins:
            scheme, found, rest = origin.partition("://")
            if scheme not in ("http", "https") or not found or not rest or "/" in rest or "*" in rest:
                raise ConfigError(
                    f"--allow-origin {origin}: expected a scheme and a host, such as http://localhost:3000."
                )


def _is_plain(token: str) -> bool:
    return token.isascii() and token.isprintable() and token == token.strip()


def _is_host(name: str) -> bool:
    """Whether it may be the name of a host, or its address; one of IPv6 without brackets."""
    try:
        ip_address(name)
    except ValueError:
        return HOST.fullmatch(name) is not None
    return True


def default_store() -> Path:
    """``vesalius/serve`` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vesalius" / "serve"
