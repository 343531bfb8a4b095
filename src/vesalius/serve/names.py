"""Names of files that come in: on disk in letters that no system minds, each in its place; and as users know them."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vesalius.imaging.header import sidecar_path

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
"""What no name on disk has."""
NAMELESS = re.compile(r"^[._-]+(?=\.|$)")
"""What is left of a name without a letter."""
LONGEST_STEM, LONGEST_SUFFIX = 80, 20
"""Largest numbers of characters of a name on disk."""
KEPT_FOLDERS = 3
"""Largest number of folders that are kept around a file."""
LONGEST_SHOWN = 200
"""Characters of a name that are kept for display."""
ESCAPED = re.compile("%22|%0A|%0D")
"""How browsers write a quotation mark and ends of lines in names."""


def safe_name(name: str) -> str:
    r"""A name for a file on disk: the last part of what a client sent, in letters that no system minds.

    >>> safe_name("../../etc/pass wd.nii.gz"), safe_name("../"), safe_name("a\\b.png"), safe_name("é.nii.gz")
    ('pass_wd.nii.gz', 'file', 'b.png', 'file.nii.gz')
    """
    named = NAMELESS.sub("file", UNSAFE.sub("_", re.split(r"[/\\]", name)[-1])).lstrip(".")
    stem = _stem_of(named)
    return stem[-LONGEST_STEM:] + named[len(stem) :][-LONGEST_SUFFIX:] or "file"


def shown_path(name: str) -> str:
    r"""The path of a file as its user knows it, for display alone.

    >>> shown_path("a\\say %22hi%22.png"), shown_path("/../é\n.png")
    ('a/say "hi".png', 'é.png')
    """
    known = ESCAPED.sub(lambda found: chr(int(found[0][1:], 16)), name)
    return "/".join("".join(filter(str.isprintable, each)) for each in _parts_of(known))


def shown_name(paths: Sequence[str]) -> str:
    """What users would call the files with these shown paths: one by its path, several by the folder that holds all.

    >>> shown_name(["a/b/1.dcm", "a/b/c/2.dcm"]), shown_name(["1.dcm", "2.dcm"])
    ('a/b', '1.dcm and 1 more')
    """
    first = paths[0][:LONGEST_SHOWN] or "file"
    if len(paths) == 1:
        return first
    homes = [PurePosixPath(each).parents for each in paths]
    shared = next((each for each in homes[0] if all(each in others for others in homes)), PurePosixPath())
    return str(shared)[:LONGEST_SHOWN] if shared.name else f"{first} and {len(paths) - 1} more"


class Places:
    """Where the files of one upload or archive go, so that series and headers in JSON stay together.

    Files keep their names and up to three folders. What would come to lie where something else does goes into a folder
    whose name no client can give: all of another folder, all of another stem, and every further file of a name.
    """

    def __init__(self) -> None:
        self._origins: dict[tuple[str, str], dict[str, int]] = {}
        self._copies = Counter[tuple[str, str]]()

    def find(self, name: str) -> Path:
        """The place of the next file.

        Args:
            name: Its path as a client named it; parts that lead elsewhere are left out.
        """
        *homes, last = _parts_of(name) or ["file"]
        *kept, own = [_safe_part(each) for each in (*homes[-KEPT_FOLDERS:], last)]
        home, ends = "/".join(homes), range(len(homes) - len(kept) + 1, len(homes) + 1)
        numbers = [self._number("/".join(kept[:depth]), "/".join(homes[:end])) for depth, end in enumerate(ends, 1)]
        numbers.append(self._number("/".join([*kept, own]), ""))  # unless there is a folder of this name
        numbers.append(self._number(_stem_of(own), _stem_of(last), within=home))
        copies = f"{home}/{_stem_of(last)}", own.casefold()
        numbers.append(self._copies[copies])
        self._copies[copies] += 1
        return Path("+".join(["", *map(str, numbers)]) if any(numbers) else "", *kept, own)

    def _number(self, place: str, origin: str, within: str = "/") -> int:
        """Number of an origin among those that would have the same place, from 0."""
        origins = self._origins.setdefault((within, place.casefold()), {})
        return origins.setdefault(origin, len(origins))


def _parts_of(name: str) -> list[str]:
    """The parts of a path as any system writes it, without those that lead elsewhere."""
    return [each for each in re.split(r"[/\\]", name) if each not in ("", ".", "..")]


def _safe_part(part: str) -> str:
    """A safe name that is hidden if the part is."""
    return f".{safe_name(part)}" if part.startswith(".") else safe_name(part)


def _stem_of(name: str) -> str:
    """A name without its suffix, which a volume and its header in JSON share."""
    return sidecar_path(Path(name)).stem
