"""One upload on disk: a handle that nobody can guess, what is known of it, and its results.

Its folder holds ``upload.json``, ``source/`` with the files as they came, and ``results/``.
"""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vesalius.errors import ConfigError, PromptError
from vesalius.files import read_json, write_json
from vesalius.imaging.search import FoundSeries
from vesalius.serve.refusals import Refusal, ServiceError

HANDLE = re.compile(r"[0-9a-f]{32}")
RECORD = "upload.json"
SOURCE = "source"
RESULTS = "results"


@dataclass(frozen=True)
class Upload:
    """What is known of an upload."""

    id: str
    kind: str
    """"picture", or "volume" for series, clips and volume files."""
    name: str
    """Name of the file as it was sent, or of the folder or archive of a series."""
    width: int
    height: int
    depth: int
    """Columns and rows of a slice as displayed, and number of slices."""
    spacing_mm: list[float] | None
    """Distance of columns, of rows and, in volumes, of slices; None if unknown."""
    modality: str | None
    plane: str | None
    dicom: bool
    """Whether results can be had as DICOM objects."""
    slice_axis: int | None
    """Axis of the volume file along which slices lie, from 0; None for pictures."""
    slice_reversed: bool
    """Whether the first slice as displayed is the last along that axis."""
    notices: list[str]
    source: str
    """File or folder of the image, within the upload's own."""
    files: list[str] = field(default_factory=list)
    """DICOM files of the series, or numbered pictures."""
    pictures: bool = False
    """Whether the files are numbered pictures."""
    series_uid: str = ""
    """SeriesInstanceUID of a DICOM series."""
    alias: str = ""
    """Name by which a client of MONAI Label's protocol calls it."""
    placed: bool = True
    """Whether the file says where the image lies in the patient."""
    arrived: float = 0.0
    """When it was sent or fetched, in seconds since 1970; requests do not change it."""

    @property
    def suffix(self) -> str:
        """Of its masks and of its image."""
        return ".png" if self.kind == "picture" else ".nii.gz"

    def found(self, folder: Path) -> FoundSeries:
        """The image to read."""
        return FoundSeries(folder / self.source, tuple(folder / each for each in self.files), self.pictures)

    def to_dict(self) -> dict[str, object]:
        """What callers are told."""
        hidden = ("source", "files", "pictures", "series_uid", "alias", "arrived")
        return {name: value for name, value in asdict(self).items() if name not in hidden}


def new_handle(worker: int, workers: int) -> str:
    """A handle that nobody can guess, of an upload that this worker is to see to."""
    while worker_of(handle := secrets.token_hex(16), workers) != worker:
        pass
    return handle


def worker_of(handle: str, workers: int) -> int:
    """The worker that sees to an upload, and that has its features."""
    return int(handle, 16) % workers


def read_upload(folder: Path) -> Upload:
    """Read what is known of an upload from its folder.

    Raises:
        ServiceError: If the record is damaged, or of another version.
        FileNotFoundError: If it was deleted in the meantime.
    """
    try:
        upload = Upload(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        refusal = Refusal("What is known of this upload cannot be read", "id", remedy="Upload it again.")
        raise ServiceError(404, refusal) from error
    return upload


def write_upload(folder: Path, upload: Upload) -> None:
    """Write what is known of an upload; it exists from then on."""
    write_json(folder / RECORD, asdict(upload))


def read_result(folder: Path, number: int) -> dict[str, object]:
    """What was found for one phrase.

    Raises:
        ServiceError: If there is no such result.
    """
    path = folder / RESULTS / f"{number}.json"
    if not path.is_file():
        raise ServiceError(404, Refusal("No such result", "number", "the number of a result", str(number)))
    content = read_json(path)
    assert isinstance(content, dict)
    return content


def list_results(folder: Path, numbers: Sequence[int] = ()) -> list[dict[str, object]]:
    """Results of an upload by their numbers, each once; all of them, in their order, where none is named.

    Raises:
        ServiceError: If there is none of a number.
    """
    found = sorted(int(path.stem) for path in (folder / RESULTS).glob("*.json") if path.stem.isdecimal())
    return [read_result(folder, number) for number in dict.fromkeys(numbers or found)]


def asked_in(folder: Path, numbers: Sequence[int]) -> tuple[list[str], float]:
    """The phrases of results, each once, and their threshold.

    Raises:
        ConfigError: If they have several.
        PromptError: If there are none.
    """
    results = list_results(folder, numbers)
    if not results:
        raise PromptError("results: there are none yet; segment something first.")
    thresholds = {float(str(each["threshold"])) for each in results}
    if len(thresholds) > 1:
        raise ConfigError("numbers: expected results of one threshold, got several; name the results to take.")
    return list(dict.fromkeys(str(each["phrase"]) for each in results)), thresholds.pop()
