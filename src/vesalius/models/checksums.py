"""Are the public weights on this machine what they should be? Checksums that are published, or were kept by us."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from vesalius.errors import ModelError
from vesalius.files import sha256_of, write_json
from vesalius.models.sources import WeightSource, find_source


@dataclass(frozen=True)
class Verdict:
    """What comparing a file with its checksum found."""

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


def verify(name: str) -> Verdict:
    """Compare a file with the checksum that is published, or was recorded when it was first fetched.

    Raises:
        ModelError: If there is no such name, or its file is not here.
    """
    source = find_source(name)
    if not source.path.is_file():
        raise ModelError(f"{name} is not on this machine; it belongs at {source.path}.")
    return Verdict(name, source.path, sha256_of(source.path), source.sha256 or _recorded(source))


def record(source: WeightSource, sha256: str, address: str) -> None:
    """Keep, in ``FILE.json`` beside the file, the checksum of what was fetched today from an address."""
    today = datetime.now(UTC).date().isoformat()
    write_json(_place(source), {"sha256": sha256, "from": address, "fetched": today})


def _recorded(source: WeightSource) -> str | None:
    path = _place(source)
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: damaged record of a checksum; delete it.") from error


def _place(source: WeightSource) -> Path:
    return source.path.with_name(f"{source.file}.json")
