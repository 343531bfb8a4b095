"""Segment one image of many: read it, ask the model once for all phrases, and write masks and an overview."""

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from vesalius.imaging import MedicalImage, SliceStack
from vesalius.imaging.mask_volumes import is_volume, volume_of, write_masks
from vesalius.imaging.safeguards import Notice
from vesalius.imaging.search import SourceImage
from vesalius.knowledge import Understanding
from vesalius.masks import FoundMasks, LabelMasks, collect_masks
from vesalius.predict import Predictor
from vesalius.records import ResultRow
from vesalius.results import finite, slugs
from vesalius.segmenting.page import write_overview
from vesalius.segmenting.request import Request


def segment_image(predictor: Predictor, source: SourceImage, request: Request, out: Path) -> list[ResultRow]:
    """Segment one image and write its masks and its overview.

    Args:
        predictor: The request's model.
        source: Image to read.
        request: Phrases and settings.
        out: Folder of the results; the record there is not changed.

    Returns:
        A row for each phrase, for the record.

    Raises:
        ImageError: If the image cannot be read, or has no such plane or window.
        OutputError: If a file cannot be written.
    """
    begin = time.perf_counter()
    state = source.state()
    image = source.found.read_largest()
    slices = image.slices(request.plane, request.window)
    understood = predictor.understand(slices, request.prompts)
    answers = enumerate(collect_masks(predictor, slices, understood, request.rules))
    found = {place: each for place, each in answers if each is not None}
    names, told = _write(out, source.stem, image, slices, found, request)
    overview = f"{source.stem}.overlay.jpg"
    write_overview(out / overview, slices, {place: each.masks for place, each in found.items()})
    common: ResultRow = {
        "image": source.path,
        "first": source.found.first,
        "stem": source.stem,
        "overlay": overview,
        "slices": len(slices),
        "model": request.model,
        "runtime": predictor.runtime.name,
        "device": predictor.runtime.device,
        "precision": request.precision,
        "settings": request.settings(),
        "state": state,
        "notices": [str(each) for each in dict.fromkeys([*image.notices, *told])],
        "seconds": round(time.perf_counter() - begin, 3),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return [
        {
            **_describe_phrase(each),
            **_measure(slices, found.get(place)),
            "mask": names.get(place),
            **({"label": place + 1} if request.rules.labels else {}),
            **common,
        }
        for place, each in enumerate(understood)
    ]


def _write(
    out: Path, stem: str, image: MedicalImage, slices: SliceStack, found: dict[int, FoundMasks], request: Request
) -> tuple[dict[int, str], list[Notice]]:
    """Write one label map, or a mask for each phrase: place of the phrase -> name of its file; and notices."""
    suffix = "nii.gz" if is_volume(image, slices) else "png"
    if not found:
        return {}, []
    if request.rules.labels:
        name = f"{stem}.labels.{suffix}"
        labels = LabelMasks([each.masks for each in found.values()], [place + 1 for place in found])
        return dict.fromkeys(found, name), list(write_masks(out / name, image, slices, labels))
    parts = slugs(request.prompts)
    names = {place: f"{stem}.{parts[place]}.mask.{suffix}" for place in found}
    told = [write_masks(out / names[place], image, slices, each.masks) for place, each in found.items()]
    return names, [notice for each in told for notice in each]


def _describe_phrase(each: Understanding) -> ResultRow:
    told: ResultRow = {"prompt": each.prompt, "known": each.known, "expected": each.expected, "target": each.target}
    told |= {"family": each.family, "considered": dict(each.considered)} if each.family else {}
    return told | {"answer": each.answer, "nearest": list(each.nearest), "remark": each.remark}


def _measure(slices: SliceStack, found: FoundMasks | None) -> ResultRow:
    """Numbers of a mask; None where there is none, or no spacing is known."""
    if found is None:
        nothing: ResultRow = dict.fromkeys(("existence", "share", "area_mm2", "volume_ml", "slices_marked"))
        return nothing
    area = volume = None
    if len(slices) > 1:
        volume = volume_of(slices, found.masks)
    elif slices.pixel_spacing_mm is not None:
        area = float(sum(found.masks.marked) * np.prod(slices.pixel_spacing_mm))
    told: ResultRow = {
        "existence": finite(found.existence),
        "share": found.masks.share,
        "area_mm2": area,
        "volume_ml": volume,
        "slices_marked": int(np.count_nonzero(found.masks.marked)),
    }
    is_series = len(slices) > 1 and any(each is not None for each in found.slice_existence)
    return told | ({"slice_existence": [finite(each) for each in found.slice_existence]} if is_series else {})
