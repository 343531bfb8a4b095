"""The work of the service, in a process of its own: files are opened and the model is asked here and nowhere else."""

import json
import shutil
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from vesalius.errors import ImageError, ImageNotice, PromptError, VesaliusError, require
from vesalius.files import sha256_of, to_json, write_json, write_text
from vesalius.imaging import MedicalImage, SliceStack
from vesalius.imaging.lazy import LazyPixels
from vesalius.imaging.mask_volumes import Planes, StackedPlanes, volume_of, write_masks, write_volume
from vesalius.imaging.raster import write_rgb
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE, Notice
from vesalius.masks import FoundMasks, LabelMasks, MaskRules, collect_masks
from vesalius.models.checkpoint_file import find_checkpoint
from vesalius.predict import Predictor
from vesalius.prompts.user_prompts import check_distinct, distinct_prompts
from vesalius.results import finite
from vesalius.segmentation import THRESHOLD
from vesalius.segmenting.request import Request
from vesalius.serve.corrections import Correction, write_correction
from vesalius.serve.drawing import in_file_order, number_labels, on_screen, read_values, write_label_map
from vesalius.serve.intake import Budget, take_in
from vesalius.serve.refusals import Refusal, ServiceError, deleted_meanwhile, fault, from_error
from vesalius.serve.store import size_of
from vesalius.serve.uploads import (
    HANDLE,
    RECORD,
    RESULTS,
    SOURCE,
    Upload,
    asked_in,
    new_handle,
    read_result,
    read_upload,
)

if TYPE_CHECKING:
    from vesalius.knowledge import Understanding
    from vesalius.naming import AnatomyLabeller

Job = Mapping[str, object]
"""What is to be done, in JSON's types: "kind" and what the method of that name takes."""
OPENED, OPENED_BYTES = 256, 512 * BYTES_PER_MEGABYTE
"""Most images that are kept open, and that their pixels in memory may take; the last one always is."""
STEM_DIGITS = 12
"""Digits of a handle in names of training data."""
SURE = 255
"""Stored value of probability 1."""


@dataclass(frozen=True, eq=False)
class OpenImage:
    """An image of an upload."""

    upload: Upload
    folder: Path
    stacks: Sequence[MedicalImage]
    slices: SliceStack

    @property
    def image(self) -> MedicalImage:
        """The stack that is segmented."""
        return self.stacks[0]

    @property
    def nbytes(self) -> int:
        """Memory of its pixels; those that are read slice by slice take none."""
        return sum(each.pixels.nbytes for each in self.stacks if not isinstance(each.pixels, LazyPixels))

    def write(
        self, path: Path, values: Planes, dtype: DTypeLike = np.uint8, slope: float | None = None
    ) -> tuple[Notice, ...]:
        """Write masks or levels on the grid of the file: a picture, or a volume that viewers show upright.

        Args:
            path: Ends as the upload's suffix.
            values: A mask or levels for each slice.
            dtype: See `write_volume`.
            slope: See `write_volume`.

        Returns:
            Changes of the mask that the user did not ask for.
        """
        if self.upload.kind == "picture":
            return write_masks(path, self.image, self.slices, values)
        return write_volume(path, self.image, self.slices, values, dtype, slope, on_screen(self.slices))


class Engine:
    """Does the jobs of one worker, one after the other.

    Args:
        predictor: Model, with a cache of features.
        uploads: Folder of all uploads.
        model: Name of the model, for records.
        unpacked_bytes: Most that an upload may unpack to.
        place: Number of this worker, from 0.
        workers: Number of all.
    """

    def __init__(
        self, predictor: Predictor, uploads: Path, model: str, unpacked_bytes: int, place: int = 0, workers: int = 1
    ) -> None:
        self.predictor, self.uploads, self.model = predictor, uploads, model
        self._weights = sha256_of(find_checkpoint(model))
        self._most, self._place, self._workers = unpacked_bytes, place, workers
        self._opened: OrderedDict[str, OpenImage] = OrderedDict()
        self._kinds: Mapping[str, Callable[..., dict[str, object]]] = {
            "hello": self.hello,
            "take_in": self.take_in,
            "segment": self.segment,
            "name": self.name,
            "image": self.draw_image,
            "probability": self.draw_probability,
            "correct": self.correct,
            "dicom": self.write_dicom,
            "label_map": self.write_label_map,
            "forget": self.forget,
        }

    def do(self, job: Job) -> dict[str, object]:
        """Do one job.

        Whatever was deleted is let go of, be it in the midst of the job.

        Raises:
            ServiceError: If it fails, for whatever reason.
        """
        wanted = {name: value for name, value in job.items() if name != "kind"}
        try:
            done = self._kinds[str(job["kind"])](**wanted)
            if "upload" in wanted:
                (self.uploads / str(wanted["upload"]) / RECORD).stat()
            return done
        except VesaliusError as error:
            raise from_error(error, self._folders(wanted)) from error
        except FileNotFoundError as error:
            raise deleted_meanwhile() from error
        except Exception as error:
            raise fault(error) from error
        finally:
            self._let_go(str(wanted.get("upload", "")))

    def hello(self) -> dict[str, object]:
        """Say that the model is ready."""
        slices = MedicalImage(np.zeros((1, 8, 8), np.uint8), Path("start")).slices()
        list(self.predictor.predict_slices(slices, [""]))  # which any model is asked, whatever it learnt
        self.predictor.features.forget(slices)
        return {"ready": True}

    def take_in(self, incoming: str, name: str, store_bytes: int, alias: str = "") -> dict[str, object]:
        """Make uploads of files that arrived, as far as the store has room."""
        handle = partial(new_handle, self._place, self._workers)

        def room() -> int:
            return min(store_bytes - size_of(self.uploads), shutil.disk_usage(self.uploads).free)

        made = take_in(Path(incoming), name, Budget(self._most, room), handle, alias)
        return {"uploads": [each.id for each in made]}

    def forget(self) -> dict[str, object]:
        """Let go of what was deleted, as every job does at its end."""
        return {}

    def segment(self, upload: str, phrases: Sequence[str], threshold: float = THRESHOLD) -> dict[str, object]:
        """Outline phrases and write a mask for each that the model was asked."""
        check_distinct(phrases)
        rules = MaskRules(threshold)
        rules.check(len(phrases))
        opened = self.open(upload)
        understood = self.predictor.understand(opened.slices, phrases)
        found = collect_masks(self.predictor, opened.slices, understood, rules)
        results = opened.folder / RESULTS
        number = 1 + max((int(path.stem) for path in results.glob("*.json") if path.stem.isdecimal()), default=0)
        answered = enumerate(zip(understood, found, strict=True), number)
        return {"results": [self._write(opened, place, each, answer, threshold) for place, (each, answer) in answered]}

    def name(self, upload: str) -> dict[str, object]:
        """Say what the series shows, slice by slice and as a whole."""
        opened = self.open(upload)
        path = opened.folder / RESULTS / f"names.{self._weights}.json"
        if path.exists():
            return dict(json.loads(path.read_text(encoding="utf-8")))
        series = self._labeller.label(opened.stacks)
        content = {**series.to_dict(), "source": opened.upload.name}
        least = self._labeller.calibration.least_probability
        told = {"model": self.model, "least_probability": least, "summary": series.summary, "series": [content]}
        text = to_json(told, indent=None)
        write_text(path, text)
        return dict(json.loads(text))

    def draw_image(self, upload: str) -> dict[str, object]:
        """Write the image in the geometry of its masks."""
        opened = self.open(upload)
        path = opened.folder / f"image{opened.upload.suffix}"
        if not path.exists():
            if opened.upload.kind == "picture":
                write_rgb(path, in_file_order(opened.slices[0].rgb, opened.slices))
            else:
                values = read_values(opened.image)
                opened.write(path, StackedPlanes(values), values.dtype)
        return {"path": str(path)}

    def draw_probability(self, upload: str, number: int) -> dict[str, object]:
        """Write the probabilities of a result, 0 to 255 for 0 to 1."""
        opened = self.open(upload)
        result = read_result(opened.folder, number)
        path = opened.folder / RESULTS / f"{number}.probability{opened.upload.suffix}"
        if result["reason"] is not None:
            raise ServiceError(404, Refusal("The model was not asked this phrase", str(result["phrase"])))
        if not path.exists():
            if result.get("weights") != self._weights:
                refusal = Refusal("The mask was made by another model", "number", remedy="Ask the phrase again.")
                raise ServiceError(422, refusal)
            answers = self.predictor.predict_slices(opened.slices, [str(result["phrase"])])
            levels = np.stack([np.rint(each.probability * SURE).astype(np.uint8) for (each,) in answers])
            opened.write(path, StackedPlanes(levels), slope=1 / SURE)
        return {"path": str(path)}

    def correct(self, upload: str, mask: str, phrase: str, slice_number: int | None) -> dict[str, object]:
        """Write a corrected mask with its image as training data."""
        opened, path = self.open(upload), Path(mask)
        target = self.predictor.knowledge.understand(phrase).target if phrase.strip() else None
        correction = Correction(upload[:STEM_DIGITS], phrase.strip(), target)
        made = path.with_name("correction.zip")
        count = write_correction(made, opened.image, opened.slices, path, correction, slice_number)
        return {"path": str(made), "images": count}

    def write_dicom(self, upload: str, form: str, numbers: Sequence[int], folder: str) -> dict[str, object]:
        """Write results as a DICOM segmentation, or as a structured report that refers to it."""
        require("highdicom", extra="clinical")
        from vesalius.clinical.work import DicomFiles, segment_to_dicom

        opened = self.open(upload)
        if not opened.upload.dicom:
            raise ImageError(f"{opened.upload.name}: is not DICOM, so no DICOM object can refer to it; take its masks.")
        phrases, threshold = asked_in(opened.folder, numbers)
        home = Path(folder)
        files = DicomFiles(home / "seg.dcm", home / "sr.dcm" if form == "sr" else None)
        request = Request(tuple(distinct_prompts(phrases)), self.model, rules=MaskRules(threshold))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageNotice)
            try:
                segment_to_dicom(opened.image, self.predictor, request, files, slices=opened.slices)
            except PromptError:  # there is nothing to mark, as a report says, too
                if files.report is None or not files.report.exists():
                    raise
        return {"path": str(home / f"{form}.dcm")}

    def write_label_map(
        self, upload: str, path: str, phrases: Sequence[str], threshold: float, existence: float, dtype: str = "uint8"
    ) -> dict[str, object]:
        """Write one label map of phrases, or of all that was learnt; labels are numbers of learnt targets."""
        opened, knowledge = self.open(upload), self.predictor.knowledge
        wanted = list(phrases) or [each.phrase for each in knowledge.targets]
        check_distinct(wanted)
        rules = MaskRules(threshold, existence, labels=True)
        rules.check(len(wanted))
        understood = self.predictor.understand(opened.slices, wanted)
        asked = [each for each in understood if each.asked is not None]
        remarks = [each.remark for each in understood if phrases and (each.asked is None or each.family)]
        if not asked:
            raise PromptError(f"phrases: the model learnt none of them on such images. {' '.join(remarks)}")
        answers = collect_masks(self.predictor, opened.slices, asked, rules)
        found = [each for each in answers if each is not None]
        numbers = number_labels(
            [each.target or each.prompt for each in asked], [each.phrase for each in knowledge.targets]
        )
        masks = LabelMasks([each.masks for each in found], list(numbers.values()))
        write_label_map(Path(path), opened.image, opened.slices, masks, dtype)
        named = dict(zip(numbers, found, strict=True))
        shown = {name: numbers[name] for name, each in named.items() if any(each.masks.marked)}
        judged = {name: finite(each.existence) for name, each in named.items()}
        return {"path": path, "label_names": shown, "existence": judged, "notices": remarks}

    def open(self, handle: str) -> OpenImage:
        """The image of an upload, kept open for further requests."""
        if handle in self._opened:
            self._opened.move_to_end(handle)
            return self._opened[handle]
        folder = self.uploads / handle
        upload = read_upload(folder)
        stacks = upload.found(folder).read()
        opened = OpenImage(upload, folder, stacks, stacks[0].slices())
        self._opened[handle] = opened
        while len(self._opened) > 1 and (len(self._opened) > OPENED or self._held_bytes() > OPENED_BYTES):
            self._close(next(iter(self._opened)))
        return opened

    def _held_bytes(self) -> int:
        return sum(each.nbytes for each in self._opened.values())

    def _close(self, handle: str) -> None:
        self.predictor.features.forget(self._opened.pop(handle).slices)

    def _let_go(self, handle: str) -> None:
        """Close what was deleted, and remove what was written into its folder since."""
        gone = {each for each in (*self._opened, handle) if each and not (self.uploads / each / RECORD).exists()}
        for each in gone & self._opened.keys():
            self._close(each)
        for each in filter(HANDLE.fullmatch, gone):
            shutil.rmtree(self.uploads / each, ignore_errors=True)

    def _write(
        self,
        opened: OpenImage,
        number: int,
        understood: "Understanding",
        answer: FoundMasks | None,
        threshold: float,
    ) -> dict[str, object]:
        row: dict[str, object] = {
            "number": number,
            "phrase": understood.prompt,
            "target": understood.target,
            "family": understood.family,
            "considered": dict(understood.considered),
            "known": understood.known,
            "expected": understood.expected,
            "existence": None,
            "reason": understood.refusal,
            "remark": understood.remark or None,
            "nearest": list(understood.nearest),
            "share": None,
            "volume_ml": None,
            "threshold": threshold,
            "weights": self._weights,
            "notices": [],
        }
        if answer is not None:
            masks, existence, slice_existence = answer
            notices = opened.write(opened.folder / RESULTS / f"{number}{opened.upload.suffix}", masks)
            row |= {
                "existence": finite(existence),
                "share": masks.share,
                "notices": [str(each) for each in notices],
            }
            if opened.upload.kind == "volume":
                row |= {
                    "volume_ml": finite(volume_of(opened.slices, masks)),
                    "slice_existence": [None if each is None else finite(each) for each in slice_existence],
                    "slices_marked": [index for index, count in enumerate(masks.marked) if count],
                }
        write_json(opened.folder / RESULTS / f"{number}.json", row)
        return row

    @cached_property
    def _labeller(self) -> "AnatomyLabeller":
        from vesalius.naming.labeller import labeller_beside

        return labeller_beside(self.predictor, self.model)

    def _folders(self, wanted: Mapping[str, object]) -> dict[Path, str]:
        """Folders that no message may name -> what stands in their place."""
        home = Path(str(wanted["incoming"])) if "incoming" in wanted else self.uploads / str(wanted.get("upload", ""))
        scratch = Path(tempfile.gettempdir())
        return {home / SOURCE: "the upload", home: "the upload", self.uploads: "the store", scratch: "temporary files"}
