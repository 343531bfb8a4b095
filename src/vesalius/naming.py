"""Name what slices and series show: modality, plane and station, from the header where it says, else from pixels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vesalius.imaging import MedicalImage, SliceStack, read_image
from vesalius.models import Segmenter
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.zero_shot import label_logits, phrase_vectors
from vesalius.predict import DEFAULT_MODEL, rgb_to_tensor
from vesalius.prompts import anatomy_phrases

Source = Literal["header", "pixels"]
HEADER_MODALITIES: Mapping[str, str] = {
    "CT": "CT",
    "MR": "MR",
    "CR": "X-ray",
    "DX": "X-ray",
    "DR": "X-ray",
    "RG": "X-ray",
    "US": "ultrasound",
    "ES": "endoscopy",
}
"""DICOM modality codes and the labels they stand for."""
CROSS_SECTIONAL = ("CT", "MR")
"""Modalities whose slices have a plane."""
LEAST_PROBABILITY = 0.5
"""Below it, no label is given."""
SLICES_AT_ONCE = 16


@dataclass(frozen=True)
class Answer:
    """One aspect of one slice or series."""

    label: str | None
    """None when unsure, or where the question has no answer."""
    probability: float | None
    """Of the likeliest label, judged by pixels and not yet calibrated; None if the header said."""
    source: Source


@dataclass(frozen=True)
class SliceName:
    """What one slice shows."""

    index: int
    position_mm: float | None
    """Along the slice normal."""
    station: Answer


@dataclass(frozen=True)
class StationRange:
    """Neighbouring slices of one station."""

    station: str | None
    first: int
    last: int
    first_mm: float | None
    last_mm: float | None


@dataclass(frozen=True)
class SeriesName:
    """What a picture, series or volume shows."""

    source: Path
    modality: Answer
    plane: Answer
    slices: tuple[SliceName, ...]

    @property
    def stations(self) -> list[StationRange]:
        """Runs of neighbouring slices that show the same station."""
        runs = [list(run) for _, run in groupby(self.slices, key=lambda name: name.station.label)]
        return [
            StationRange(run[0].station.label, run[0].index, run[-1].index, run[0].position_mm, run[-1].position_mm)
            for run in runs
        ]


class AnatomyLabeller:
    """Names images by comparing them with phrases.

    Args:
        model: A name, a checkpoint or a model whose image vectors share a space with its text's; "pocket" has one.
    """

    def __init__(self, model: str | Path | Segmenter = DEFAULT_MODEL) -> None:
        self.model = (model if isinstance(model, Segmenter) else load_segmenter(model)).eval()
        self._vectors = {aspect: phrase_vectors(self.model, rows) for aspect, rows in anatomy_phrases().items()}

    def label(
        self, image: str | Path | MedicalImage, *, on_slices: Callable[[int], None] = lambda count: None
    ) -> SeriesName:
        """Name an image, slice by slice and as a whole.

        Args:
            image: A file, a folder with a DICOM series, or an image in memory.
            on_slices: Called with the number of slices just finished, for progress.

        Raises:
            ImageError: If it cannot be read.
        """
        picture = image if isinstance(image, MedicalImage) else read_image(image)
        slices = picture.slices()
        positions, odds = self._look(slices, on_slices)
        modality = self._modality(picture, odds["modality"])
        names = tuple(
            SliceName(index, position, self._answer("station", odds["station"][index]))
            for index, position in enumerate(positions)
        )
        return SeriesName(picture.source, modality, self._plane(picture, modality, odds["plane"]), names)

    def _look(
        self, slices: SliceStack, on_slices: Callable[[int], None]
    ) -> tuple[list[float | None], dict[str, Tensor]]:
        """Positions of D slices, and log-probabilities of every aspect's labels, [D, L]; each slice renders once."""
        positions, embeddings = [], []
        for start in range(0, len(slices), SLICES_AT_ONCE):
            some = slices[start : start + SLICES_AT_ONCE]
            positions += [each.position_mm for each in some]
            embeddings.append(self._embed([each.rgb_square() for each in some]))
            on_slices(len(some))
        whole = torch.cat(embeddings)
        odds = {aspect: label_logits(whole, rows).log_softmax(dim=1) for aspect, rows in self._vectors.items()}
        return positions, odds

    def _embed(self, pictures: Sequence[NDArray[np.generic]]) -> Tensor:
        with torch.inference_mode():
            return self.model.encode_image(torch.cat([rgb_to_tensor(rgb) for rgb in pictures])).embedding

    def _modality(self, picture: MedicalImage, odds: Tensor) -> Answer:
        known = HEADER_MODALITIES.get(picture.modality or "")
        return Answer(known, None, "header") if known else self._answer("modality", odds.mean(0))

    def _plane(self, picture: MedicalImage, modality: Answer, odds: Tensor) -> Answer:
        if picture.plane is not None:
            return Answer(picture.plane, None, "header")
        if modality.label not in CROSS_SECTIONAL:
            return Answer(None, None, modality.source)
        return self._answer("plane", odds.mean(0))

    def _answer(self, aspect: str, log_probabilities: Tensor) -> Answer:
        probabilities = log_probabilities.softmax(dim=0)
        best = int(probabilities.argmax())
        probability = probabilities[best].item()
        label = list(anatomy_phrases()[aspect])[best] if probability >= LEAST_PROBABILITY else None
        return Answer(label, probability, "pixels")
