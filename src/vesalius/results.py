"""The files of one segmented image: masks on the image's own grid, overlays, and the folder's record of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

from vesalius.errors import OutputError
from vesalius.files import tell_too_long
from vesalius.folders import remove_inside
from vesalius.imaging import MedicalImage, SliceStack, overlay, write_rgb
from vesalius.imaging.formats import path_stem
from vesalius.imaging.mask_volumes import PackedMasks, contact_sheet, is_volume, volume_of, write_masks
from vesalius.imaging.safeguards import Notice
from vesalius.knowledge import Understanding
from vesalius.masks import Collector, MaskRules, Watch
from vesalius.predict import Predictor
from vesalius.records import SEGMENTATIONS, ResultRow, locked, read_record, write_record
from vesalius.segmentation import OVERLAY_SIDE, Segmentation

LONGEST_SLUG = 40
"""Letters of a phrase in a file's name."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found and written for one phrase."""

    prompt: str
    existence: float | None
    """Probability that the image shows the phrase's object at all; of a series, that of its best run of slices."""
    share: float
    """Share of all pixels that are marked, 0 to 1."""
    volume_ml: float | None
    """Volume of the marked voxels, where a volume's spacing is known."""
    mask: Path
    overlay: Path
    slice_existence: tuple[float | None, ...] | None = None
    """Existence in each slice of a series, looked at alone; None for pictures and for models that do not say."""
    understanding: Understanding | None = None
    """How the phrase was understood; None if it was not matched to what the model learnt."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON: every number is finite or None."""
        slices = self.slice_existence
        return {
            **({} if self.understanding is None else self.understanding.to_dict()),
            "prompt": self.prompt,
            "answer": "asked",
            "existence": finite(self.existence),
            "share": self.share,
            "volume_ml": finite(self.volume_ml),
            "mask": self.mask,
            "overlay": self.overlay,
            "slice_existence": None if slices is None else [finite(each) for each in slices],
        }


@dataclass(frozen=True)
class Answered:
    """A phrase, and what was written for it."""

    understanding: Understanding
    result: Result | None
    """None if the model was not asked."""

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        if self.result is not None:
            return self.understanding.to_dict() | self.result.to_dict()
        return self.understanding.to_dict() | {"answer": self.understanding.answer}


class Results:
    """Collects the answers about one image slice by slice and writes them all at the end.

    Pictures get a mask of the file's own size, volumes and series a mask volume on the file's own grid: the same voxels
    in the same order. A sheared grid (a CT with a tilted gantry), which few programs read, becomes a straight one; a
    notice says so.

    Args:
        out: Folder of the results, made when writing.
        image: Image that is segmented.
        slices: Its slices, in the plane that was asked for.
        prompts: Phrases, in the order of every slice's answers.
        overwrite: Replace results of an earlier run.
        made_by: What else decides the result, such as the model; kept in the record.

    Raises:
        OutputError: If a result would replace a file that is there, or the folder's record cannot be read.
    """

    def __init__(
        self,
        out: Path,
        image: MedicalImage,
        slices: SliceStack,
        prompts: Sequence[str],
        *,
        overwrite: bool = False,
        made_by: Mapping[str, object] | None = None,
    ) -> None:
        self.out = out
        self.image = image
        self.slices = slices
        self.prompts = list(prompts)
        self.names = file_names(image.source, prompts)
        self.notices: list[Notice] = []
        """Changes of the masks that the user did not ask for."""
        self._overwrite = overwrite
        self._made_by = dict(made_by or {})
        self._is_volume = is_volume(image, slices)
        self._collector = Collector((slices.pixels.shape[1], slices.pixels.shape[2]), len(self.prompts), MaskRules())
        self._last: Sequence[Segmentation] = ()
        self._check_free()

    def add(self, answers: Sequence[Segmentation]) -> None:
        """Add the answers for the next slice."""
        self._collector.add(answers)
        self._last = answers

    def write(self, refused: Sequence[Understanding] = ()) -> list[Result]:
        """Write mask and overlay of every phrase, and the folder's record.

        Args:
            refused: Further phrases, of which the record is to say why the model was not asked.

        Raises:
            OutputError: If the folder cannot be written, or a file has come to be there in the meantime.
        """
        self._check_free()
        found = [self._write_one(place, masks) for place, masks in enumerate(self._collector.finish())]
        self._record(found, refused)
        return found

    def paths(self, name: str) -> tuple[Path, Path]:
        """Files of the mask and the overlay of a phrase."""
        suffix = "nii.gz" if self._is_volume else "png"
        return self.out / f"{name}.mask.{suffix}", self.out / f"{name}.overlay.png"

    def _write_one(self, place: int, masks: PackedMasks) -> Result:
        own = self._collector.slice_existence[place]
        mask_path, overlay_path = self.paths(self.names[place])
        told = write_masks(mask_path, self.image, self.slices, masks)
        self.notices += [each for each in told if each not in self.notices]
        if self._is_volume:
            write_rgb(overlay_path, contact_sheet(self.slices, masks))
        else:
            rgb = self.slices.render_small(0, OVERLAY_SIDE)
            write_rgb(overlay_path, overlay(rgb, self._last[place].mask_at((rgb.shape[0], rgb.shape[1]))))
        is_series = len(own) > 1 and any(each is not None for each in own)
        return Result(
            prompt=self.prompts[place],
            existence=self._collector.existence[place],
            share=masks.share,
            volume_ml=volume_of(self.slices, masks) if self._is_volume else None,
            mask=mask_path,
            overlay=overlay_path,
            slice_existence=tuple(own) if is_series else None,
            understanding=self._last[place].understanding,
        )

    def _check_free(self) -> None:
        paths = [path for name in self.names for path in self.paths(name)]
        if told := tell_too_long(paths):
            raise OutputError(told)
        taken = [path for path in paths if path.exists()]
        made_from = {str(each.get("mask")): each for each in read_record(self.out, SEGMENTATIONS)["results"]}
        if taken and not self._overwrite:
            earlier = made_from.get(taken[0].name, {}).get("image")
            origin = f", made from {earlier}" if earlier else ""
            raise OutputError(
                f"{taken[0]}: is there already{origin}. Name another folder with --out, or replace it with --overwrite."
            )

    def _record(self, found: Sequence[Result], refused: Sequence[Understanding]) -> None:
        """Add to the folder's record; several processes may do so at once."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        notices = [notice.to_dict()["message"] for notice in (*self.image.notices, *self.notices)]
        image = str(self.image.source.absolute())
        origin = {"image": image, **self._made_by, "notices": notices, "made": now}
        new = [each.to_dict() | {"mask": each.mask.name, "overlay": each.overlay.name} | origin for each in found]
        with locked(self.out, SEGMENTATIONS):
            content = read_record(self.out, SEGMENTATIONS)
            of_many = [row for row in content["results"] if "stem" in row and not row.get("mask")]
            told = {(row["image"], row["prompt"]) for row in of_many}
            new += [
                Answered(each, None).to_dict() | {"mask": None, "overlay": None} | origin
                for each in refused
                if (image, each.prompt) not in told
            ]
            replaced = [row for row in content["results"] if self._is_replaced(row, new)]
            rows = [*(row for row in content["results"] if row not in replaced), *new]
            write_record(self.out, {**content, "results": rows}, SEGMENTATIONS)
        for name in _files(row for row in replaced if "stem" not in row) - _files(rows):
            remove_inside(self.out / name, self.out)

    def _is_replaced(self, row: ResultRow, new: Sequence[ResultRow]) -> bool:
        """Whether new rows take a row's mask, or its image and phrase where that loses no mask unasked."""
        if row.get("mask") and row["mask"] in {each["mask"] for each in new}:
            return True
        same = [each for each in new if (each["image"], each["prompt"]) == (row["image"], row["prompt"])]
        if "stem" in row or not same:  # of a run over many images, which keeps its rows
            return False
        return not row.get("mask") or (self._overwrite and not same[0]["mask"])


def _files(rows: Iterable[ResultRow]) -> set[str]:
    """Files that rows name."""
    return {str(row[kind]) for row in rows for kind in ("mask", "overlay") if row.get(kind)}


def answer_all(
    predictor: Predictor,
    understood: Sequence[Understanding],
    results: Results,
    watch: Watch = lambda answers, total: answers,
) -> list[Answered]:
    """Ask the model for the phrases of an image, and write the results.

    Args:
        predictor: The model.
        understood: Phrases as `Predictor.understand` understood them.
        results: Of those that the model is asked, in their order; ``results.notices`` tells what writing them changed.
        watch: See `vesalius.masks.Watch`.

    Raises:
        OutputError: As `Results.write`.
    """
    asked = [each for each in understood if each.asked is not None]
    for answers in watch(predictor.predict_slices(results.slices, asked), len(results.slices)) if asked else ():
        results.add(answers)
    written = iter(results.write([each for each in understood if each.asked is None]))
    return [Answered(each, None if each.asked is None else next(written)) for each in understood]


def file_names(source: Path, prompts: Sequence[str]) -> list[str]:
    """A short, distinct file name for each phrase: the image's name without its suffix, and the phrase's letters.

    >>> file_names(Path("scan.2.nii.gz"), ["left lung", "left lung!"])
    ['scan.2.left-lung', 'scan.2.left-lung-2']
    """
    stem = path_stem(source.resolve() if source.is_dir() else source)
    return [f"{stem or 'image'}.{slug}" for slug in slugs(prompts)]


def slugs(prompts: Sequence[str]) -> list[str]:
    """The letters of each phrase, as part of a file's name; no two are the same."""
    found: list[str] = []
    for prompt in prompts:
        letters = re.sub(r"[^\w]+", "-", prompt.lower()).strip("-")[:LONGEST_SLUG] or "prompt"
        slug, number = letters, 1
        while slug in found:
            number += 1
            slug = f"{letters}-{number}"
        found.append(slug)
    return found


def finite(value: float | None) -> float | None:
    """A number for JSON: None for NaN and infinity."""
    return value if value is not None and isfinite(value) else None
