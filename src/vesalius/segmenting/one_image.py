"""One image of many: read, asked once for all phrases, and its files written."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.folders import Row
from vesalius.imaging import MedicalImage, SliceStack, write_mask
from vesalius.imaging.formats import VOLUME_SUFFIXES
from vesalius.imaging.orientation import grid_order
from vesalius.imaging.raster import write_labels
from vesalius.imaging.safeguards import Notice
from vesalius.knowledge import Understanding
from vesalius.predict import Predictor
from vesalius.results import slugs
from vesalius.segmenting.page import write_overview
from vesalius.segmenting.request import Collector, Item, LabelMasks, Request
from vesalius.volumes import PackedMasks, volume_of, write_volume


@dataclass(frozen=True)
class _Answer:
    """What was found for a phrase that was asked."""

    place: int
    """Of the phrase among all."""
    masks: PackedMasks
    existence: float | None
    slice_existence: list[float | None]


def segment_item(predictor: Predictor, item: Item, request: Request, out: Path) -> list[Row]:
    """Segment one image and write its masks and its overview.

    Args:
        predictor: Of the request's model.
        item: What to read.
        request: What to ask.
        out: Folder of the results; the record there is not touched.

    Returns:
        A row a phrase for the record.

    Raises:
        ImageError: If the image cannot be read, or has no such plane or window.
        OutputError: If a file cannot be written.
    """
    begin = time.perf_counter()
    state = item.state()
    image, notices = _read(item)
    slices = image.slices(request.plane, request.window)
    understood = [predictor.knowledge.understand(prompt, slices.modality) for prompt in request.prompts]
    answers = _ask(predictor, slices, understood, request)
    write = _Writer(out, item.stem, image, slices)
    names = write.masks(answers, request)
    notices += write.notices
    marked = {each.place: each.masks for each in answers}
    overview = f"{item.stem}.overlay.jpg"
    write_overview(out / overview, slices, marked)
    common: Row = {
        "image": item.image,
        "stem": item.stem,
        "overlay": overview,
        "slices": len(slices),
        "model": request.model,
        "runtime": predictor.runtime.name,
        "device": predictor.runtime.device,
        "settings": request.settings(),
        "state": state,
        "notices": [str(each) for each in dict.fromkeys(notices)],
        "seconds": round(time.perf_counter() - begin, 3),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    found = {each.place: each for each in answers}
    return [
        {
            **_understood(each),
            **_measure(image, slices, found.get(place)),
            "mask": names.get(place),
            **({"label": place + 1} if request.rules.labels else {}),
            **common,
        }
        for place, each in enumerate(understood)
    ]


def _read(item: Item) -> tuple[MedicalImage, list[Notice]]:
    """The largest stack of slices, and what is to be told of it."""
    stacks = item.found.read()
    image, notices = stacks[0], list(stacks[0].notices)
    if len(stacks) > 1:
        total = sum(len(each.pixels) for each in stacks)
        why = f"the largest of {len(stacks)} stacks is taken"
        remedy = "Choose another with --stack 2, naming this series alone"
        notices.append(Notice("slices left out", why, remedy, total - len(image.pixels), total))
    return image, notices


def _ask(
    predictor: Predictor, slices: SliceStack, understood: Sequence[Understanding], request: Request
) -> list[_Answer]:
    """Each slice is encoded once for all phrases that the model learnt."""
    asked = [(place, each.prompt) for place, each in enumerate(understood) if each.asked is not None]
    if not asked:
        return []
    collected = Collector((slices.pixels.shape[1], slices.pixels.shape[2]), len(asked), request.rules)
    for answers in predictor.predict_slices(slices, [prompt for _, prompt in asked]):
        collected.add(answers)
    parts = zip(asked, collected.finish(), collected.existence, collected.slice_existence, strict=True)
    return [_Answer(place, masks, existence, each) for (place, _), masks, existence, each in parts]


class _Writer:
    """Writes masks on the file's own grid."""

    def __init__(self, out: Path, stem: str, image: MedicalImage, slices: SliceStack) -> None:
        self.out, self.stem, self.image, self.slices = out, stem, image, slices
        self.notices: list[Notice] = []
        self._suffix = "nii.gz" if is_volume(image, slices) else "png"

    def masks(self, answers: Sequence[_Answer], request: Request) -> dict[int, str]:
        """Place of each phrase that was asked -> name of its file."""
        if not answers:
            return {}
        if request.rules.labels:
            name = f"{self.stem}.labels.{self._suffix}"
            self._write(name, LabelMasks([each.masks for each in answers], [each.place + 1 for each in answers]))
            return {each.place: name for each in answers}
        parts = slugs(request.prompts)
        names = {each.place: f"{self.stem}.{parts[each.place]}.mask.{self._suffix}" for each in answers}
        for each in answers:
            self._write(names[each.place], each.masks)
        return names

    def _write(self, name: str, masks: PackedMasks | LabelMasks) -> None:
        path = self.out / name
        if self._suffix == "png":
            plane = self._as_stored(masks)
            if plane.dtype == np.bool_:
                write_mask(path, plane.astype(np.bool_))
            else:
                write_labels(path, plane.astype(np.uint8))
        else:
            self.notices += write_volume(path, self.image, self.slices, masks)

    def _as_stored(self, masks: PackedMasks | LabelMasks) -> NDArray[np.bool_ | np.uint8]:
        """In the file's own rows and columns, of which the display may have exchanged or turned some."""
        if self.slices.affine is None or self.image.source_affine is None:
            return masks[0]
        return next(iter(masks.planes(*grid_order(self.slices.affine, self.image.source_affine))))


def is_volume(image: MedicalImage, slices: SliceStack) -> bool:
    """Whether masks are volumes: of series, clips and volume files."""
    return len(slices) > 1 or image.source.name.lower().endswith(VOLUME_SUFFIXES)


def _understood(each: Understanding) -> Row:
    known = each.asked is not None
    told: Row = {"prompt": each.prompt, "known": each.known, "expected": each.expected, "target": each.target}
    answer = "asked" if known else "not expected here" if each.known else "not learnt"
    return told | {"answer": answer, "nearest": list(each.nearest), "remark": each.remark}


def _measure(image: MedicalImage, slices: SliceStack, found: _Answer | None) -> Row:
    """Numbers of a mask; None where there is none, or no spacing is known."""
    if found is None:
        nothing: Row = dict.fromkeys(("existence", "share", "area_mm2", "volume_ml", "slices_marked"))
        return nothing
    marked = sum(found.masks.marked)
    area = volume = None
    if is_volume(image, slices):
        volume = volume_of(slices, found.masks)
    elif slices.pixel_spacing_mm is not None:
        area = float(marked * np.prod(slices.pixel_spacing_mm))
    told: Row = {
        "existence": _finite(found.existence),
        "share": marked / float(np.prod(found.masks.shape)),
        "area_mm2": area,
        "volume_ml": volume,
        "slices_marked": int(np.count_nonzero(found.masks.marked)),
    }
    is_series = len(slices) > 1 and any(each is not None for each in found.slice_existence)
    return told | ({"slice_existence": [_finite(each) for each in found.slice_existence]} if is_series else {})


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
