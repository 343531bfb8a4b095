"""Settings of the listener, and the encryption that they ask for."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vesalius.addresses import check_aet, is_loopback
from vesalius.errors import ConfigError


@dataclass(frozen=True)
class ListenSettings:
    """Where to listen, and to whom.

    Raises:
        ConfigError: If settings contradict one another or leave a door open, saying what to do.
    """

    aet: str = "VESALIUS"
    """Own AE title; calls to others are turned away."""
    host: str = "127.0.0.1"
    """Address to listen on; this machine alone by default."""
    port: int = 11112
    """TCP port; 0 takes a free one."""
    caller: tuple[str, ...] = ()
    """AE title that may call; repeat it for several. Needed to listen to other machines."""
    certificate: Path | None = None
    """PEM file; with it, and --key, only TLS is spoken."""
    key: Path | None = None
    """PEM file of the certificate's key."""
    client_ca: Path | None = None
    """PEM file of the authorities whose certificates callers must show."""
    associations: int = 10
    """Most at a time."""
    megabytes: int = 512
    """Most of one instance."""

    def __post_init__(self) -> None:
        for title in (self.aet, *self.caller):
            check_aet(title)
        if not self.caller and not is_loopback(self.host):
            raise ConfigError(f"--host {self.host} listens to other machines; name those that may call with --caller.")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--certificate and --key belong together.")
        if self.client_ca is not None and self.certificate is None:
            raise ConfigError("--client-ca needs --certificate and --key.")
        for name in ("associations", "megabytes"):
            if (value := getattr(self, name)) < 1:
                raise ConfigError(f"--{name}: expected 1 or more, got {value}.")

    def tls(self) -> ssl.SSLContext | None:
        """What encrypts, if wanted.

        Raises:
            ConfigError: If a file cannot be used.
        """
        if self.certificate is None:
            return None
        context = _LateHandshakes(ssl.PROTOCOL_TLS_SERVER)
        with _reading(f"{self.certificate} and {self.key}"):
            context.load_cert_chain(self.certificate, self.key)
        if self.client_ca is not None:
            with _reading(self.client_ca):
                context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class _LateHandshakes(ssl.SSLContext):
    """Leaves a caller's handshake to the thread of its association, so that a silent caller keeps nobody waiting."""

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        return super().wrap_socket(sock, server_side, False, suppress_ragged_eofs, server_hostname, session)


@contextmanager
def _reading(files: object) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{files}: cannot be used for TLS ({error}).") from error
