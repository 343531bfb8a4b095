"""What an index was made from, and what has to be the same when it is searched or brought up to date."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.errors import ConfigError, DataError, ModelError

if TYPE_CHECKING:
    from vesalius.archive.encoding import SliceEncoder

FORMAT = 1
"""Version of an index's layout."""


@dataclass(frozen=True)
class IndexFacts:
    """What an index was made from; all of it decides its numbers."""

    root: str
    """The archive's folder; all paths are relative to it."""
    model: str
    """Name or path of the model."""
    weights: str
    """sha256 of its weights."""
    width: int
    """Numbers of a vector."""
    labels: tuple[tuple[str, str], ...]
    """Question and label of each column of ``labels.f16``."""
    study_date: bool = False
    """Whether study dates are kept."""
    format: int = FORMAT

    def to_json(self) -> str:
        """As the index keeps it."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str, path: Path) -> "IndexFacts":
        """The facts of a ``to_json``.

        Args:
            text: What the index keeps.
            path: The index, for messages.

        Raises:
            DataError: If they are damaged, or of another version.
        """
        try:
            content = json.loads(text)
            version = content["format"]
            if version == FORMAT:
                labels = tuple((question, label) for question, label in content.pop("labels"))
                return IndexFacts(**content, labels=labels)
        except (TypeError, ValueError, KeyError) as error:
            raise DataError(f"{path}: is no index of ours, or damaged ({error}); name another folder.") from error
        remedy = "index again into another folder, or use the version of Vesalius that made it"
        raise DataError(f"{path}: expected format {FORMAT} of an index, got {version!r}; {remedy}.")

    def check_model(self, wanted: "IndexFacts | SliceEncoder", folder: Path) -> None:
        """Refuse a model whose vectors or labels do not belong to the index's.

        Raises:
            ModelError: If its weights are others, or this version names by other labels.
        """
        if self.weights != wanted.weights:
            raise ModelError(
                f"{folder}: was made with {self.model} of other weights ({self.weights[:12]}) than {wanted.model} has "
                f"here ({wanted.weights[:12]}), so their vectors cannot be compared; use the model it was made with, "
                "or index again into another folder."
            )
        if (self.width, self.labels) != (wanted.width, wanted.labels):
            raise ModelError(f"{folder}: was made with other labels than {wanted.model} has now; {_again(folder)}.")

    def check_same(self, wanted: "IndexFacts", folder: Path, *, moved: bool) -> None:
        """Refuse to go on with an index that was made from something else.

        Raises:
            ConfigError: Of another folder, unless it moved, or with another choice of study dates.
            ModelError: With another model.
        """
        self.check_model(wanted, folder)
        if self.study_date != wanted.study_date:
            made = "with" if self.study_date else "without"
            raise ConfigError(f"{folder}: was made {made} --study-date; {_again(folder)}.")
        if self.root != wanted.root and not moved:
            raise ConfigError(
                f"{folder}: is the index of {self.root}, not of {wanted.root}; if it lies here now, say --moved; "
                "otherwise name another folder."
            )


def _again(folder: Path) -> str:
    return f"index into another folder, or delete {folder} and index again"
