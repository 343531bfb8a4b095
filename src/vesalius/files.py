"""Results that are whole or not there."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from vesalius.errors import OutputError


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place when the block ends well.

    Folders on the way are made.

    Raises:
        OutputError: If the file system refuses.
    """
    unfinished = path.with_name(f".{uuid4().hex}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        remedy = "check that the folder can be written and has room"
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}.") from error
    finally:
        if path.parent.is_dir():
            unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write one text in UTF-8.

    Raises:
        OutputError: If it cannot be written.
    """
    with writing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write one JSON object.

    Raises:
        OutputError: If it cannot be written.
    """
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")
