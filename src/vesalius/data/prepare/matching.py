"""Which files of a source an expression of the catalog describes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vesalius.data.prepare.sources import Source

PICTURE = r"(?:png|jpe?g|tiff?|bmp|PNG|JPE?G|TIFF?|BMP)"


@dataclass(frozen=True)
class Match:
    """A file that an expression describes."""

    path: str
    words: Mapping[str, str]
    """What the expression's groups matched."""


def match_files(pattern: str, source: Source) -> list[Match]:
    """All files whose path ends as an expression of the catalog says."""
    compiled = expression(pattern)
    found = ((path, compiled.fullmatch(path)) for path in source.paths)
    return [Match(path, match.groupdict()) for path, match in found if match]


def expression(pattern: str) -> re.Pattern[str]:
    """An expression of the catalog, made to fit whole paths."""
    return re.compile("(?:.*/)?" + pattern.replace("{picture}", PICTURE))
