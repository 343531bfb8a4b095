"""Which patient, video or examination an image belongs to, told by a regular expression of its name."""

import re

from vesalius.errors import ConfigError


def compile_group_regex(expression: str) -> re.Pattern[str]:
    """Check what ``--group-regex`` was given.

    Raises:
        ConfigError: If it is no regular expression.
    """
    try:
        return re.compile(expression)
    except re.error as error:
        raise ConfigError(f"--group-regex: '{expression}' is no regular expression ({error}).") from error


def find_group(pattern: re.Pattern[str], name: str) -> str | None:
    """What the first bracket matches, without brackets the whole match; None if nothing matches.

    >>> find_group(compile_group_regex("^([a-z]+)_"), "ann_1.png")
    'ann'
    """
    match = pattern.search(name)
    return (match[min(1, pattern.groups)] or match[0]) if match else None
