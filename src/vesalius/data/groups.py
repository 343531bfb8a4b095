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

    Raises:
        ConfigError: If the expression fits and names nothing, as `(patient[0-9]+)?_img` does of "_img": all such images
            would be one group, which they are not.

    >>> find_group(compile_group_regex("^([a-z]+)_"), "ann_1.png")
    'ann'
    """
    match = pattern.search(name)
    if match is None:
        return None
    group: str | None = match[min(1, pattern.groups)]
    if not group:
        empty = "its first bracket matches nothing" if pattern.groups else "matches no letter of it"
        remedy = "write one that must match the patient, without ? or * around it, so that other images have no group"
        raise ConfigError(f"--group-regex: '{pattern.pattern}' fits '{name}', but {empty}; {remedy}.")
    return group
