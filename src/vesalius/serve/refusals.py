"""What goes wrong, in the one form in which the service tells it: what, where, expected, got, remedy."""

import re
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from vesalius.errors import (
    ConfigError,
    DataError,
    ImageError,
    MissingPackageError,
    ModelError,
    PromptError,
    VesaliusError,
)

SENTENCE_END = re.compile(r"[;.] (?![^()]*\))")
"""Where a message goes on to its remedy; nothing within brackets."""
STATUS: Mapping[type[VesaliusError], int] = {
    ImageError: 422,
    DataError: 422,
    PromptError: 422,
    ConfigError: 422,
    MissingPackageError: 501,
    ModelError: 501,
}
"""HTTP status of errors that a request caused; others are faults of the service."""


@dataclass(frozen=True)
class Refusal:
    """Why a request was not answered."""

    what: str
    where: str | None = None
    """File, field or address it concerns."""
    expected: str | None = None
    got: str | None = None
    remedy: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The body of the answer; halves of characters, which JSON may hold and UTF-8 not, become question marks."""
        told = asdict(self).items()
        return {"error": {name: each and each.encode(errors="replace").decode() for name, each in told}}


class ServiceError(VesaliusError):
    """A request that is refused or failed.

    Args:
        status: HTTP status.
        refusal: What the answer says.
        retry_after: Seconds after which the same request may succeed; None if it never will.
        log: What the service's log says of it; empty for what its caller can put right.
    """

    def __init__(self, status: int, refusal: Refusal, retry_after: int | None = None, log: str = "") -> None:
        super().__init__(refusal.what)
        self.status, self.refusal, self.retry_after, self.log = status, refusal, retry_after, log


def from_error(error: VesaliusError, folders: Mapping[Path, str]) -> ServiceError:
    """The answer to an error of the library, whose message names files of the service.

    Args:
        error: Any but those that are answers already.
        folders: Folder of the service -> what stands in its place, since nobody may learn where the service keeps
            its files.
    """
    if isinstance(error, ServiceError):
        return error
    text, where = str(error), None
    for folder, name in folders.items():
        text = text.replace(f"{folder}/", "").replace(str(folder), name)
    place, found, rest = text.partition(": ")
    if found and "'" not in place and len(place) < len(rest):
        where, text = place, rest
    what, remedy = [*SENTENCE_END.split(text, maxsplit=1), ""][:2]
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    log = f"fault: {where_of(error)}" if status == 500 else ""
    return ServiceError(
        status, Refusal(what.rstrip("."), where, remedy=remedy[:1].upper() + remedy[1:] or None), log=log
    )


def deleted_meanwhile() -> ServiceError:
    """The answer where a file of an upload is no longer there, since somebody deleted it while another asked for it."""
    return ServiceError(404, Refusal("The upload was deleted in the meantime", "id", remedy="Upload it again."))


def fault(error: Exception) -> ServiceError:
    """The answer to a fault of ours; its message may quote a file, so only its kind is told."""
    refusal = Refusal(f"A fault of Vesalius ({type(error).__name__})", remedy="Please report it.")
    return ServiceError(500, refusal, log=f"fault: {where_of(error)}")


def where_of(error: BaseException) -> str:
    """Kind of an error and the lines that led to it; not its message, which may quote a file."""
    frames = traceback.extract_tb(error.__traceback__)
    places = ", ".join(f"{each.filename.rpartition('/')[2]}:{each.lineno}" for each in frames[-6:])
    return f"{type(error).__name__} at {places}"
