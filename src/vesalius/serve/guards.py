"""What stands before every request: who may ask, how much may be sent, what browsers may do with answers; and metrics.

Nothing of a request's address, names or content is logged: only its route, its status and its time.
"""

import asyncio
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram

from vesalius.addresses import is_loopback
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE
from vesalius.serve.refusals import Refusal, ServiceError, fault
from vesalius.serve.settings import TOKEN_VARIABLE, ServeSettings

LOG = logging.getLogger("vesalius.serve")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SMALL_BODY = BYTES_PER_MEGABYTE
"""Bytes of a body that is no form with files."""
STANDSTILL_S = 30.0
"""Seconds that a body may stand still before it is whole."""
FORMS = re.compile(r"/api/uploads(/[^/]+/corrections)?|/infer/[^/]+|/datastore/(label)?|/session/")
"""Paths that take forms with files; all of them need the token."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Methods that are counted and logged by their name."""
GUARDED = ("/api", "/metrics", "/openapi.json", "/info", "/infer", "/datastore", "/session", "/auth/token/valid")
"""Beginnings of paths that need the token; the rest is the page's files."""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
PRIVATE = ("/api", "/infer", "/datastore", "/session")
"""Beginnings of paths whose answers no cache may keep. Of the page's files, browsers ask whether they still hold, as an
old script would ask for files that are no longer there."""


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vesalius_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "vesalius_request_seconds",
            "Time to answer",
            ["route"],
            registry=self.registry,
            buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300),
        )
        self.restarts = Counter("vesalius_worker_restarts", "Workers started anew", registry=self.registry)


class Guard:
    """The outermost layer of the service.

    Args:
        app: What answers.
        settings: Who may ask, and how much.
        metrics: Counts what is answered.
    """

    def __init__(self, app: App, settings: ServeSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._hosts = {each.casefold() for each in (settings.host, "localhost", *settings.allowed_hosts)}
        self._any_host = settings.host in ("0.0.0.0", "::") and not settings.allowed_hosts  # noqa: S104
        self._origins = {each.casefold() for each in settings.allowed_origins}
        self._most = settings.limits.upload_megabytes * BYTES_PER_MEGABYTE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, self._origins)
        start = time.monotonic()
        try:
            size = self._check(scope)
            if exchange.is_preflight:
                await exchange.answer(204)
            else:
                await self._app(scope, _bounded(receive, size), exchange.send)
        except ServiceError as error:
            await exchange.refuse(error)
        except Exception as error:
            await exchange.refuse(log_fault(fault(error)))
        finally:
            self._count(scope, exchange.status, time.monotonic() - start)

    def _check(self, scope: Scope) -> int:
        """Bytes that the request's body may have.

        Raises:
            ServiceError: If the request is refused.
        """
        headers = dict(scope["headers"])
        self._check_host(_text(headers.get(b"host")), _text(headers.get(b"origin")))
        self._check_token(scope, _text(headers.get(b"authorization")))
        most = self._most if FORMS.fullmatch(scope["path"]) else SMALL_BODY
        length = _text(headers.get(b"content-length"))
        if length.isdecimal() and int(length) > most:
            raise too_large(most)
        return most

    def _check_host(self, host: str, origin: str) -> None:
        name = _name_of(host)
        if not self._any_host and name not in self._hosts and not is_loopback(name):
            refusal = Refusal(
                "The service is not known by this name", "Host", ", ".join(sorted(self._hosts)), host[:100],
                "Add the name with --allow-host.",
            )  # fmt: skip
            raise ServiceError(421, refusal)
        if origin and origin.casefold() not in self._origins and not _is_same(origin, host):
            refusal = Refusal(
                "A page of another origin may not ask this service", "Origin", host[:100], origin[:100],
                "Allow the page with --allow-origin.",
            )  # fmt: skip
            raise ServiceError(403, refusal)

    def _check_token(self, scope: Scope, authorization: str) -> None:
        token = self._settings.token
        if not token or scope["method"] == "OPTIONS" or not _needs_token(scope["path"]):
            return
        scheme, _, shown = authorization.partition(" ")
        if scheme.casefold() != "bearer" or not hmac.compare_digest(shown.strip().encode(), token.encode()):
            refusal = Refusal(
                "A token is needed", "Authorization", "Bearer and the token", None,
                f"Show the token that the service was started with ({TOKEN_VARIABLE}).",
            )  # fmt: skip
            raise ServiceError(401, refusal)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route_of(scope) or ("page" if status < 400 else "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.requests.labels(route, method if status != 405 else "other", str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        LOG.info("%s %s %d %.3f s", method, route, status, seconds)


class _Exchange:
    """Sends one answer, with the headers that all have."""

    def __init__(self, scope: Scope, send: Send, origins: Iterable[str]) -> None:
        headers = dict(scope["headers"])
        self._send, self.status = send, 0
        self._path: str = scope["path"]
        origin = _text(headers.get(b"origin"))
        self._origin = origin if origin.casefold() in origins else ""
        self.is_preflight = bool(
            self._origin and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers
        )

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), *self._headers()]
        await self._send(message)

    async def answer(self, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers]})
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, error: ServiceError) -> None:
        """Tell what is wrong, unless the answer has begun."""
        if self.status:
            return
        body = json.dumps(error.refusal.to_dict()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in extra_headers(error).items()]
        await self.answer(error.status, body, headers)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        told = dict(HEADERS)
        told["cross-origin-resource-policy"] = "cross-origin" if self._origin else "same-origin"
        told["cache-control"] = "no-store" if self._path.startswith(PRIVATE) else "no-cache"
        if self._origin:
            told |= {
                "access-control-allow-origin": self._origin,
                "access-control-allow-methods": "GET, POST, PUT, DELETE",
                "access-control-allow-headers": "authorization, content-type",
                "vary": "Origin",
            }
        return [(name.encode(), value.encode("latin-1")) for name, value in told.items()]


def _needs_token(path: str) -> bool:
    """Whether a path is one of the service's, not of the page."""
    return any(path == each or path.startswith(f"{each}/") for each in GUARDED)


def extra_headers(error: ServiceError) -> dict[str, str]:
    """Headers that go with a refusal."""
    told = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return {**told, **({"www-authenticate": "Bearer"} if error.status == 401 else {})}


def log_fault(error: ServiceError) -> ServiceError:
    """Log what is a fault of the service."""
    if error.log:
        LOG.error("%s", error.log)
    return error


def too_large(most: int) -> ServiceError:
    """The answer to a body of too many bytes."""
    remedy = "Send less at once, or raise --upload-megabytes."
    refusal = Refusal("The request is too large", "body", f"{most:,} bytes at most", remedy=remedy)
    return ServiceError(413, refusal)


def _bounded(receive: Receive, most: int) -> Receive:
    """Receives no more than so many bytes, whatever the request says of its length, and does not wait for ever."""
    taken, is_whole = 0, False

    async def receive_part() -> Message:
        nonlocal taken, is_whole
        message = await (receive() if is_whole else _receive_soon(receive))
        is_whole = not message.get("more_body", False)
        taken += len(message.get("body", b""))
        if taken > most:
            raise too_large(most)
        return message

    return receive_part


async def _receive_soon(receive: Receive) -> Message:
    """The next part of a body.

    Raises:
        ServiceError: If none comes.
    """
    try:
        return await asyncio.wait_for(receive(), STANDSTILL_S)
    except TimeoutError as error:
        refusal = Refusal(f"Nothing more of the request came for {STANDSTILL_S:g} s", "body", remedy="Send it again.")
        raise ServiceError(408, refusal) from error


def _route_of(scope: Scope) -> str:
    """The path of a request's route, without the values in it; empty if there is none."""
    path = str(getattr(scope.get("route"), "path", ""))
    inner = path and scope["path"].startswith("/api/") and not path.startswith("/api/")
    return f"/api{path}" if inner else path


def _text(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")


def _name_of(host: str) -> str:
    """A host without its port, in lower case; an IPv6 address without its brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").casefold()
    except ValueError:
        return ""


def _is_same(origin: str, host: str) -> bool:
    """Whether a page's origin is the host it asks; the scheme may differ behind a proxy that speaks TLS."""
    try:
        parts = urlsplit(origin)
        own = urlsplit(f"//{host}")
        default = {"http": 80, "https": 443}.get(parts.scheme)
        return (
            default is not None
            and (parts.hostname or "") == (own.hostname or " ")
            and (parts.port or default) == (own.port or default)
        )
    except ValueError:
        return False
