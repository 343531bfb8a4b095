"""What came of one exchange of prompts, as a row that can be written to disk."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vesalius.files import to_utf8, writing


@dataclass(frozen=True)
class Answer:
    """A model's answer to ``prompt``, and how it differs from that to ``reference``."""

    image: str
    record: int
    """Place in the annotation file."""
    test: str
    kind: str
    reference: str
    prompt: str
    pixels: int
    """Of the image."""
    true_pixels: int
    predicted_pixels: int
    """Marked on being asked ``prompt``."""
    reference_dice: float
    dice: float
    change: float
    """1 - Dice of both answers' masks: 0 if they are the same, or both empty."""
    existence: float | None
    """Probability that the image shows what ``prompt`` names, for models that say."""

    @property
    def marked(self) -> float:
        """Share of the image that is marked."""
        return self.predicted_pixels / self.pixels


def write_answers(answers: Iterable[Answer], path: Path) -> None:
    """Write answers as Parquet, whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    table = pa.Table.from_pylist([to_utf8(asdict(answer)) for answer in answers])
    with writing(path) as unfinished:
        pq.write_table(table, unfinished)
