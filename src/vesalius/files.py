"""Results that are whole or not there, and JSON that is checked before anything trusts it.

A result is written under a temporary name and takes its place when it is complete, so that an interrupted command
leaves no half-written file.
"""

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from vesalius.errors import ConfigError, DataError, OutputError, VesaliusError, join_first

LARGEST_JSON = 512 * 2**20
"""Bytes of a JSON file that is read; no annotation file has more."""
LARGEST_TOML = 16 * 2**20
"""Bytes of a TOML file that is read; people write smaller ones."""

UNSAFE = re.compile(r"[\ud800-\udfff\x85\u2028\u2029]")
"""Characters that UTF-8 cannot hold, and line separators other than a line feed."""

BINARY_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""How texts begin that spreadsheets take for formulas."""


def check_absent(paths: Iterable[Path], overwrite: bool, how: str = "--overwrite") -> None:
    """Refuse to write over what is there, before anything is computed.

    Args:
        paths: What is to be written.
        overwrite: Whether the user asked for it.
        how: Option by which they may be replaced.

    Raises:
        OutputError: If one is there.
    """
    there = [] if overwrite else [path for path in paths if os.path.exists(path)]  # False where a name is too long
    if there:
        listed = join_first(map(str, there))
        raise OutputError(f"{listed}: there already; choose another name, or replace with {how}.")


def spare(results: Iterable[Path], read: Iterable[Path]) -> None:
    """Refuse results that would replace an image that is read, by whatever links.

    Raises:
        OutputError: If one would.
    """
    if told := tell_replaced(results, {path.resolve() for path in read}):
        raise OutputError(told)


def tell_replaced(results: Iterable[Path], read: Collection[Path]) -> str:
    """Message for the first result that would replace one of the files that are read; "" if none would.

    Args:
        results: What is to be written.
        read: Files and folders, resolved.
    """
    found = next((path for path in results if os.path.lexists(path) and path.resolve() in read), None)
    return f"{found}: is an image that is read, and a result would replace it; choose another name." if found else ""


UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.(?P<end>.+)", re.DOTALL)
"""What `unfinished_name` calls files and folders; what a killed command left may be removed by it."""
KEPT = 109
"""Bytes that a temporary name keeps: it has 143 in all, which is what file systems that encrypt names still take."""


def unfinished_name(path: Path) -> Path:
    """A new temporary name beside a file or folder, hidden and with the same suffix."""
    return path.with_name(f".{uuid4().hex}.{end_of_name(path.name)}")


def end_of_name(name: str) -> str:
    """What a temporary name keeps of a name: all of it, or of a long one the end."""
    return name.encode(errors="ignore")[-KEPT:].decode(errors="ignore")


def tell_too_long(results: Iterable[Path]) -> str:
    """Message for the first result of an image whose name is longer than the file system takes; "" if there is none."""
    found = next(filter(_is_too_long, results), None)
    return f"{found}: the name of this result is too long; give the image a shorter name." if found else ""


def _is_too_long(path: Path) -> bool:
    home = path.parent  # or the first above it that is there
    while not os.path.isdir(home) and home != home.parent:
        home = home.parent
    try:
        os.lstat(home / path.name)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place when the block ends well.

    Folders on the way are made.

    Raises:
        OutputError: If the file system refuses.
    """
    unfinished = unfinished_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        too_long = error.errno == errno.ENAMETOOLONG
        remedy = "choose a shorter name" if too_long else "check that the folder can be written and has room"
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}.") from error
    finally:
        with suppress(OSError):  # its folder may not be there
            unfinished.unlink()


def write_text(path: Path, text: str) -> None:
    """Write one text in UTF-8.

    Raises:
        OutputError: If it cannot be written.
    """
    with writing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write one JSON object, see ``iter_json``.

    Raises:
        OutputError: If it cannot be written.
    """
    with writing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.writelines(iter_json(content))
        file.write("\n")


def iter_json(content: Mapping[str, object]) -> Iterator[str]:
    """What ``to_json`` writes, in pieces: iterators among the values are lists whose items are made one at a time.

    >>> "".join(iter_json({"one": iter([1])})) == to_json({"one": [1]})
    True
    """
    before = "{"
    for name, value in content.items():
        yield f"{before}\n  {to_json(_to_key(name))}: "
        yield from _iter_list(value) if isinstance(value, Iterator) else (_indent(value, 2),)
        before = ","
    yield "{}" if before == "{" else "\n}"


def _iter_list(items: Iterator[object]) -> Iterator[str]:
    before = "["
    for each in items:
        yield f"{before}\n    {_indent(each, 4)}"
        before = ","
    yield "[]" if before == "[" else "\n  ]"


def _indent(value: object, spaces: int) -> str:
    """Line breaks within texts are escaped, so each begins a line of JSON."""
    return to_json(value).replace("\n", "\n" + " " * spaces)


def to_json(content: object, *, indent: int | None = 2, ascii_only: bool = True) -> str:
    """Write JSON that every reader accepts: non-finite numbers are null, arrays are lists, paths are texts.

    Args:
        content: Mappings, lists, numbers and texts, also those of NumPy; of anything else, its ``str``.
        indent: Spaces of a level; None for one line.
        ascii_only: Escape all other characters; otherwise only those that would break a line or UTF-8.

    >>> to_json({"dice": float("nan")}, indent=None)
    '{"dice": null}'
    """
    text = json.dumps(to_plain(content), indent=indent, ensure_ascii=ascii_only, allow_nan=False)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escape_surrogates(text: str) -> str:
    """A text that fits into UTF-8: lone surrogates, from file names that are not UTF-8, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def to_utf8(row: Mapping[str, object]) -> dict[str, object]:
    """A row whose texts fit into UTF-8, see `escape_surrogates`."""
    return {name: escape_surrogates(value) if isinstance(value, str) else value for name, value in row.items()}


def to_sheet(row: Mapping[str, object]) -> dict[str, object]:
    """A row for CSV: what `to_utf8` gives, with ' before texts that spreadsheets would run as formulas.

    >>> to_sheet({"part": "=1+1", "margin": -0.5})
    {'part': "'=1+1", 'margin': -0.5}
    """
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
        for name, value in to_utf8(row).items()
    }


def to_plain(value: object) -> object:
    """The same in the types of JSON, as `to_json` writes it."""
    if isinstance(value, Enum):
        return to_plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_to_key(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted((to_plain(each) for each in value), key=str)
    to_list = getattr(value, "tolist", None)  # of arrays and numbers of NumPy and PyTorch
    return str(value) if to_list is None else to_plain(to_list())


def _to_key(key: object) -> str:
    plain = to_plain(key)
    return plain if isinstance(plain, str) else json.dumps(plain)


def read_json(path: Path, remedy: str = "check the path") -> object:
    """Read a whole JSON file of unknown origin.

    Args:
        path: In UTF-8, with or without a byte-order mark.
        remedy: What to do if it is missing.

    Raises:
        DataError: If it is missing, a folder, too large, or not what ``parse_json`` takes.
    """
    return parse_json(_read_text(path, "JSON", LARGEST_JSON, DataError, remedy), str(path))


def read_toml(path: Path, error: type[VesaliusError] = ConfigError) -> dict[str, Any]:
    """Read a whole TOML file of unknown origin.

    Args:
        path: In UTF-8, with or without a byte-order mark.
        error: What is raised.

    Raises:
        VesaliusError: If it is missing, a folder, too large, or no TOML.
    """
    import tomllib  # not needed to start the command line

    text = _read_text(path, "TOML", LARGEST_TOML, error)
    try:
        return tomllib.loads(text)
    except RecursionError as cause:
        raise error(f"{path}: is not TOML of ours; its brackets are nested too deeply.") from cause
    except ValueError as cause:
        raise error(f"{path}: is not TOML ({cause}).") from cause


def _read_text(
    path: Path, kind: str, largest: int, failure: type[VesaliusError], remedy: str = "check the path"
) -> str:
    """The text of a whole file of some format, with at most so many bytes."""
    try:
        size = path.stat().st_size
        if size > largest:
            raise failure(f"{path}: has {size:,} bytes; expected a {kind} file of {largest:,} at most.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise failure(f"{path}: no such file; {remedy}.") from error
    except IsADirectoryError as error:
        raise failure(f"{path}: is a folder; expected a {kind} file.") from error
    except UnicodeDecodeError as error:
        raise failure(f"{path}: is not {kind} in UTF-8 ({error}); save it as UTF-8.") from error
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise failure(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error


@cache
def read_package_toml(name: str) -> Mapping[str, Any]:
    """Tables of a TOML file that comes with the package, read once; not to be changed.

    Args:
        name: Path within the package, such as "prompts/bank.toml".
    """
    import tomllib  # neither is needed to start the command line
    from importlib.resources import files

    return tomllib.loads(files("vesalius").joinpath(name).read_text(encoding="utf-8"))


def parse_json(text: str, place: str) -> object:
    """Parse JSON by its standard: no key occurs twice, and NaN and Infinity are refused.

    Args:
        text: One value.
        place: Where the text comes from, for messages.

    Raises:
        DataError: If it is not such JSON, is nested too deeply, or holds a number with too many digits.
    """
    try:
        return json.loads(text, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise DataError(f"{place}: is not JSON of ours; its brackets are nested too deeply.") from error
    except ValueError as error:
        raise DataError(f"{place}: is not JSON ({error}).") from error


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {double!r} stands twice in one object")
    return table


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number in JSON")


def common_folder(paths: Iterable[str | Path]) -> str:
    """The folder that all files and folders lie in; "" where there is none, as on several drives.

    >>> common_folder(["a/b/c.png", "a/b.png"])
    'a'
    """
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:  # of none, on several drives, or some relative and some absolute
        return ""


def sha256_of(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tell_bytes(size: float) -> str:
    """A size for people; a megabyte of an option is one MiB.

    >>> [tell_bytes(size) for size in (0, 8192, 512 * 2**20, 1.5 * 2**40)]
    ['0 bytes', '8 KiB', '512 MiB', '1.5 TiB']
    """
    power = max(each for each in range(len(BINARY_UNITS)) if not each or size >= 1024**each)
    return f"{size / 1024**power:.4g} {BINARY_UNITS[power]}"
