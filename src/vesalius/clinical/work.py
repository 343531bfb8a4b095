"""From a request to DICOM files: a segmentation of one series, and its report and overlay if asked."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from vesalius.clinical.capture import build_capture
from vesalius.clinical.coding import Maker, concept_of
from vesalius.clinical.masks import (
    MOST_PROBABLE,
    Segment,
    SegmentationType,
    build_segmentation,
    check_room,
    stack_masks,
    stack_probabilities,
    to_stored,
)
from vesalius.clinical.report import Likelihood, Presence, ReportedFinding, build_structured_report, findings_of
from vesalius.clinical.source import ReferencedFrame, SourceSeries, building, read_source, write_dataset
from vesalius.errors import ConfigError, PromptError
from vesalius.files import check_absent, spare
from vesalius.imaging import MedicalImage, SliceStack
from vesalius.imaging.mask_volumes import PackedMasks, volume_of
from vesalius.imaging.safeguards import Notice, warn_of
from vesalius.knowledge import Understanding
from vesalius.masks import FoundMasks, MaskRules, Watch, collect_masks
from vesalius.naming.labels import SeriesName
from vesalius.predict import Predictor
from vesalius.prompts.user_prompts import check_distinct
from vesalius.results import finite
from vesalius.segmentation import Segmentation, describe_existence
from vesalius.segmenting.page import colour_of, draw_overview
from vesalius.segmenting.request import Request

_REFUSED = {
    "not learnt": Presence.NOT_LEARNT,
    "not expected here": Presence.NOT_EXPECTED,
    "a denial": Presence.DENIED,
}
"""Why a phrase is not asked -> what a report says of it."""


class ReportOnlyError(PromptError):
    """No phrase was learnt, so there is no segmentation; the report is written, and says so."""


@dataclass(frozen=True)
class DicomFiles:
    """What is to be written, each ending in .dcm."""

    segmentation: Path
    report: Path | None = None
    capture: Path | None = None

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [each for each in (self.segmentation, self.report, self.capture) if each is not None]


@dataclass(frozen=True)
class PhraseResult:
    """What was found for one phrase."""

    understanding: Understanding
    segment: int | None = None
    """Its number in the segmentation; None for what was not asked."""
    masks: PackedMasks | None = None
    existence: float | None = None
    share: float | None = None
    """Share of all pixels that are marked, 0 to 1."""
    volume_ml: float | None = None

    @property
    def name(self) -> str:
        """What its codes are looked up by."""
        return self.understanding.target or self.understanding.prompt

    @property
    def label(self) -> str:
        """What its results are called: the phrase, or what they hold where a remark says that this is not the same."""
        return self.name if self.segment is not None and self.understanding.remark else self.understanding.prompt

    def to_row(self) -> tuple[object, ...]:
        """Phrase, segment, existence and share, for a table."""
        if self.share is None:
            verdict = describe_existence(None, self.understanding)
            return self.understanding.prompt, None, verdict, None
        return self.understanding.prompt, self.segment, self.existence, f"{100 * self.share:.2f} %"

    def to_dict(self) -> dict[str, object]:
        """Ready for JSON."""
        told = self.understanding.to_dict()
        if self.segment is None:
            return told
        concept = concept_of(self.name)
        code = {"scheme": concept.kind.scheme_designator, "value": concept.kind.value, "meaning": concept.kind.meaning}
        numbers = {"existence": self.existence, "share": self.share, "volume_ml": self.volume_ml}
        return {**told, "segment": self.segment, "code": code, **numbers}


def check_outputs(paths: Sequence[Path], image: Path, overwrite: bool) -> None:
    """Refuse results that could not be written, or that would replace something, before anything is computed.

    Args:
        paths: What is to be written.
        image: File or folder that is read, which no result may replace.
        overwrite: Whether the user asked for results to be replaced.

    Raises:
        ConfigError: If a name ends otherwise than in .dcm, or stands twice.
        OutputError: If a file is there, or is the image itself.
    """
    for path in paths:
        if path.suffix.lower() != ".dcm":
            raise ConfigError(f"{path}: expected a name that ends in .dcm, got '{path.suffix}'.")
    if len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError(f"{paths[0]}: stands for several results; give each a name of its own.")
    check_absent(paths, overwrite)
    spare(paths, [image])


def segment_to_dicom(
    image: MedicalImage,
    predictor: Predictor,
    request: Request,
    files: DicomFiles,
    *,
    fractional: bool = False,
    overwrite: bool = False,
    slices: SliceStack | None = None,
    watch: Watch = lambda answers, total: answers,
    notices: list[Notice] | None = None,
) -> list[PhraseResult]:
    """Outline phrases in a DICOM image or series and write what was found as DICOM.

    Args:
        image: Read from DICOM.
        predictor: Of the request's model.
        request: What to ask; its rule of one label map asks for a label-map segmentation.
        files: What to write.
        fractional: Store probabilities, not masks.
        overwrite: Replace files that are there.
        slices: Slices of the image, whose features may be kept; by default those that the request asks for.
        watch: See `vesalius.masks.Watch`.
        notices: Takes what the segmentation cannot say, which is issued as `ImageNotice` all the same.

    Returns:
        What was found, a row a phrase.

    Raises:
        ConfigError: If settings contradict one another.
        ImageError: If the image is not DICOM, or nothing can refer to it.
        OutputError: If a file is there, or cannot be written.
        PromptError: If a phrase stands twice, or names what the model did not learn: a segmentation cannot say so, and
            one without it would look as if there were none. A report can; with one, such phrases are reported, and the
            segmentation is refused only if no phrase is left (`ReportOnlyError`).
    """
    check_distinct(request.prompts)
    kind = _kind(request, fractional)
    check_outputs(files.paths, image.source, overwrite)
    source = read_source(image)
    spare(files.paths, (frame.path for frame in image.source_frames))
    slices = slices or image.slices(request.plane, request.window)
    understood = predictor.understand(slices, request.prompts)
    asked = [each for each in understood if each.asked is not None]
    check_room(image, len(asked), kind)
    _refuse_unlearnt(understood, files.report is not None)
    maker = Maker.of(request.model)
    levels = _Levels(slices, len(asked) if fractional else 0)
    masks = collect_masks(
        predictor, slices, understood, request.rules, lambda answers, total: levels.keep(watch(answers, total))
    )
    found = _tell(understood, masks, slices)
    with building(image.source):
        results = _build(files, image, slices, source, found, levels, kind, maker)
        for path, dataset in results.items():
            write_dataset(path, dataset)
    warn_of(source.notices, image.source)
    if notices is not None:
        notices += source.notices
    if not asked:
        raise ReportOnlyError(
            f"{files.segmentation}: is not written, as the model learnt none of the phrases on such images. "
            f"{files.report} says so."
        )
    return found


def report_names(
    path: Path, series: SeriesName, images: Sequence[MedicalImage], model: str, *, overwrite: bool = False
) -> None:
    """Write the names of a series as a structured report.

    Args:
        path: A .dcm file.
        series: What was named.
        images: The stacks that were, see `choose_stacks`.
        model: That named it.
        overwrite: Replace a file that is there.

    Raises:
        ConfigError: If the path ends otherwise.
        ImageError: If the series is not DICOM, or nothing can refer to it.
        OutputError: If the file is there, or cannot be written.
    """
    check_outputs([path], series.source, overwrite)
    sources = [read_source(each) for each in images]
    spare([path], (frame.path for each in images for frame in each.source_frames))
    findings = findings_of(series, images, sources)
    with building(series.source):
        write_dataset(path, build_structured_report(sources, findings, Maker.of(model)))


class _Levels:
    """Probabilities times 255 [D, H, W] of each phrase; of none, where masks alone are asked for."""

    def __init__(self, slices: SliceStack, phrases: int) -> None:
        self.volumes = [np.zeros(slices.pixels.shape[:3], np.uint8) for _ in range(phrases)]

    def keep(self, answers: Iterable[list[Segmentation]]) -> Iterator[list[Segmentation]]:
        """Go through the answers of all slices."""
        for index, several in enumerate(answers):
            for volume, answer in zip(self.volumes, several, strict=False):
                volume[index] = np.rint(answer.probability * MOST_PROBABLE)
            yield several


def _kind(request: Request, fractional: bool) -> SegmentationType:
    request.rules.check(len(request.prompts))
    if not fractional:
        return SegmentationType.LABELMAP if request.rules.labels else SegmentationType.BINARY
    if request.rules != MaskRules():
        raise ConfigError(
            "--fractional: stores probabilities as they are; leave out --labels, --threshold, --existence, "
            "--keep-largest and --min-size, which decide masks."
        )
    return SegmentationType.FRACTIONAL


def _refuse_unlearnt(understood: Sequence[Understanding], reported: bool) -> None:
    unknown = [each for each in understood if each.asked is None]
    if unknown and not reported:
        why = "; ".join(each.remark or f"'{each.prompt}' was not learnt" for each in unknown)
        raise PromptError(
            f"A DICOM segmentation cannot say that a phrase was not asked: {why} Leave it out, or add --sr report.dcm, "
            "which says it."
        )


def _tell(
    understood: Sequence[Understanding], found: Sequence[FoundMasks | None], slices: SliceStack
) -> list[PhraseResult]:
    told: list[PhraseResult] = []
    number = 0
    for each, one in zip(understood, found, strict=True):
        if one is None:
            told.append(PhraseResult(each))
            continue
        number += 1
        masks = one.masks
        told.append(PhraseResult(each, number, masks, finite(one.existence), masks.share, volume_of(slices, masks)))
    return told


def _build(
    files: DicomFiles,
    image: MedicalImage,
    slices: SliceStack,
    source: SourceSeries,
    found: Sequence[PhraseResult],
    levels: _Levels,
    kind: SegmentationType,
    maker: Maker,
) -> dict[Path, Dataset]:
    """All that is to be written, so that nothing is if one of it cannot be built; no segmentation of nothing."""
    results: dict[Path, Dataset] = {}
    drawn = {place: each.masks for place, each in enumerate(found) if each.masks is not None}
    if drawn:
        pixels: NDArray[np.uint8] | NDArray[np.float32]
        if kind is SegmentationType.FRACTIONAL:
            pixels = stack_probabilities(image, slices, levels.volumes)
        else:
            pixels = stack_masks(image, slices, list(drawn.values()))
        segments = [_segment(found[place], colour_of(place)) for place in drawn]
        results[files.segmentation] = build_segmentation(source, segments, pixels, kind, maker)
    if files.report is not None:
        findings = [_finding(each, image, slices, source) for each in found]
        results[files.report] = build_structured_report([source], findings, maker, others=list(results.values()))
    if files.capture is not None:
        results[files.capture] = build_capture(source, draw_overview(slices, drawn), maker)
    return results


def _segment(found: PhraseResult, colour: tuple[int, int, int]) -> Segment:
    understood = found.understanding
    return Segment(found.label, understood.remark or understood.prompt, found.name, colour)


def _finding(found: PhraseResult, image: MedicalImage, slices: SliceStack, source: SourceSeries) -> ReportedFinding:
    label, understood = found.label, found.understanding
    if found.masks is None:
        return ReportedFinding(label, found.name, _REFUSED[str(understood.refusal)], comment=understood.remark)
    frames = tuple(_marked_frames(found.masks, image, slices, source))
    presence = Presence.PRESENT if frames else Presence.ABSENT
    kind = Likelihood.EXISTENCE  # of a series that of its best run, which is no calibrated probability
    return ReportedFinding(
        label, found.name, presence, frames, found.existence, kind, found.volume_ml, understood.remark
    )


def _marked_frames(
    masks: PackedMasks, image: MedicalImage, slices: SliceStack, source: SourceSeries
) -> Iterator[ReferencedFrame]:
    for frame, plane in zip(source.frames, to_stored(image, slices, masks), strict=True):
        if plane.any():
            yield frame
