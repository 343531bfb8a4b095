"""Every error a caller may want to catch, checks of settings that raise them, and parts of their messages.

VesaliusError (also the exit code 2 of the command line)
├── ImageError           a file that is missing, damaged or not an image
├── DataError            annotations, masks or folders that do not fit together
├── PromptError          a prompt that is empty or unknown where one is needed
├── ModelError           an unknown model, or weights that do not fit one
├── ConfigError          a setting out of its range
├── OutputError          a result that cannot be written
└── MissingPackageError  an optional package that is not installed

ImageNotice is a warning, not an error: the image is read, but not all of it or not without a guess.
"""

import difflib
import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

REINSTALL = "install Vesalius again from where it came: pip install --force-reinstall PATH_OF_THE_CLONE"
"""Remedy where a file of the package is missing or damaged; the package index has no Vesalius."""
EMPTY_PATH = "is empty; name a file or a folder, or . for the current one."
"""Message where a path has no letters, which Python takes for the current folder."""
LISTED = 5
"""Failures, notices and files that are listed on the terminal; the rest is counted."""


class VesaliusError(Exception):
    """Something the user can put right; the message says what, where, expected, got and the remedy."""


class ImageError(VesaliusError):
    """A file is missing, damaged or not an image Vesalius reads."""


class ImageNotice(UserWarning):
    """Something of an image was left out or guessed; see `vesalius.imaging.safeguards.Notice`."""


class DataError(VesaliusError):
    """Annotations, masks or folders do not fit together."""


class PromptError(VesaliusError):
    """A prompt is empty, or of a family the record does not have."""


class ModelError(VesaliusError):
    """No such model, or weights that do not fit it."""


class ConfigError(VesaliusError):
    """A setting is out of its range."""


class OutputError(VesaliusError):
    """A result cannot be written."""


class MissingPackageError(VesaliusError):
    """An optional package is needed and absent."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package, or say how to install it.

    Args:
        module: Dotted name of the module.
        extra: The extra of ``vesalius`` that installs it.

    Raises:
        MissingPackageError: If the module cannot be found.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingPackageError(not_installed(module, extra)) from error


def not_installed(module: object, extra: str) -> str:
    """Message for a package that is absent."""
    return f"{module} is not installed and is needed here; install it with: {install_command(extra)}"


def install_command(extra: str) -> str:
    """Command that installs an extra of ``vesalius``."""
    return f"pip install 'vesalius[{extra}]'"


def unknown_name(kind: str, name: str, available: Iterable[str]) -> str:
    """Message for a name that does not exist: the closest one, and all there are.

    >>> unknown_name("model", "pokcet", ["clipseg", "pocket"])
    "No model named 'pokcet'. Did you mean 'pocket'? Available: clipseg, pocket."
    """
    names = sorted(available)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"No {kind} named '{name}'.{hint} Available: {', '.join(names)}."


def join_first(texts: Iterable[str], most: int = 3, separator: str = ", ", where: str = "") -> str:
    """The first of several texts, and how many more there are.

    Args:
        texts: All of them.
        most: Texts that are joined.
        separator: Between them.
        where: Place that lists the rest, such as ", which --json lists".

    >>> join_first("abcde"), join_first("abcd", 2, "; ", ", see the table"), join_first("ab")
    ('a, b, c and 2 more', 'a; b; and 2 more, see the table', 'a, b')
    """
    told = list(texts)
    rest = "" if len(told) <= most else f"{separator.strip().strip(',')} and {len(told) - most} more{where}"
    return separator.join(told[:most]) + rest


def join_all(texts: Iterable[str]) -> str:
    """All texts in a sentence.

    >>> join_all("abc"), join_all("ab"), join_all("a"), join_all("")
    ('a, b and c', 'a and b', 'a', '')
    """
    *told, last = list(texts) or [""]
    return f"{', '.join(told)} and {last}" if told else last


def tell_failure(failure: Mapping[str, str]) -> str:
    """One of many images that failed, ``{"source": …, "reason": …}``, as one text that names the source once."""
    source, reason = failure["source"], failure["reason"]
    return reason if source in reason else f"{source}: {reason}"


def fail_with(failures: Sequence[str], what: str, where: str, total: int | None = None) -> None:
    """End a command by telling what of many failed; of one image alone its own failure says it all.

    Args:
        failures: A text each, see `tell_failure`.
        what: What became of them, such as "images failed".
        where: Place that lists those that are only counted, as `join_first` takes it.
        total: Number of all, if known.

    Raises:
        ImageError: If anything failed.
    """
    if failures and total == 1:
        raise ImageError(failures[0])
    if failures:
        number = len(failures) if total is None else f"{len(failures)} of {total}"
        raise ImageError(f"{number} {what}: {join_first(failures, LISTED, '; ', where)}")


def reason_of(place: object, error: Exception) -> str:
    """Why one image of many failed, which stops no other; what is no error of ours is a fault of Vesalius.

    Raises:
        ModelError: If it is one, which would befall all others, too.
    """
    if isinstance(error, ModelError):
        raise error
    if isinstance(error, VesaliusError):
        return str(error)
    kind = type(error).__name__
    return f"{place}: unexpected {kind} ({error}): a fault of Vesalius; please report it with the file."


def check_positive(settings: object, *names: str, finite: bool = True) -> None:
    """Refuse fields that are not above 0, NaN among them, and infinite ones unless ``finite`` is False."""
    for name in names:
        value = getattr(settings, name)
        if not value > 0:
            raise ConfigError(f"{name} must be above 0, got {value}.")
        if finite:
            _check_finite(name, value)


def check_at_least(settings: object, minimum: int, *names: str) -> None:
    """Refuse fields below a minimum, NaN and infinite ones."""
    for name in names:
        value = getattr(settings, name)
        if not value >= minimum:
            raise ConfigError(f"{name} must be at least {minimum}, got {value}.")
        _check_finite(name, value)


def _check_finite(name: str, value: float) -> None:
    if value == math.inf:
        raise ConfigError(f"{name} must be finite, got {value}.")


def check_below_one(settings: object, *names: str) -> None:
    """Refuse fields that are not at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise ConfigError(f"{name} must be at least 0 and below 1, got {getattr(settings, name)}.")
