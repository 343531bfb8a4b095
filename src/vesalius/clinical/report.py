"""What was found, and what was not, as a structured report (TID 1500)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from highdicom.sr import (
    AlgorithmIdentification,
    DeviceObserverIdentifyingAttributes,
    EnhancedSR,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from vesalius import __version__
from vesalius.clinical.coding import MANUFACTURER, Maker, concept_of, private, scheme, to_label
from vesalius.clinical.source import ReferencedFrame, SourceSeries
from vesalius.errors import ImageError
from vesalius.imaging import MedicalImage
from vesalius.naming.labels import LabelRange, SeriesName
from vesalius.prompts.anatomy import ORGANS, STATIONS

SERIES_NUMBER = 9002
SHOWN = "shown in these images"
"""What is judged of each finding. Not whether the patient has it: a head CT shows no kidneys."""
MILLILITRE = Code("mL", "UCUM", "mL")
LONGEST_COMMENT = 1024
PLACES = 4
"""Decimals of likelihoods and volumes."""


class Presence(StrEnum):
    """The answers to `SHOWN`."""

    PRESENT = "present"
    ABSENT = "absent"
    UNDETERMINED = "undetermined"
    NOT_LEARNT = "not learnt by the model"
    NOT_EXPECTED = "not expected here"
    DENIED = "not asked, as the phrase is a denial"

    def code(self) -> Code:
        """DICOM's and SNOMED's where they have one."""
        found: Code | None = {
            Presence.PRESENT: codes.DCM.Present,
            Presence.ABSENT: codes.DCM.Absent,
            Presence.UNDETERMINED: codes.SCT.Undetermined,
        }.get(self)
        return private(self.value) if found is None else found


class Likelihood(StrEnum):
    """What a finding's number is."""

    PROBABILITY = "probability"
    SHARE = "share among labels, not calibrated"
    EXISTENCE = "existence, not calibrated"

    def code(self) -> Code:
        """DICOM's for what is a probability alone."""
        found: Code = codes.DCM.Probability if self is Likelihood.PROBABILITY else private(self.value)
        return found


@dataclass(frozen=True)
class ReportedFinding:
    """One thing that was asked about."""

    label: str
    """A phrase, an organ or a station."""
    name: str
    """What its codes are looked up by, see `concept_of`."""
    presence: Presence
    frames: tuple[ReferencedFrame, ...] = ()
    """Frames that show it; none where it is not there."""
    likelihood: float | None = None
    kind: Likelihood = Likelihood.PROBABILITY
    """What that number is."""
    volume_ml: float | None = None
    comment: str = ""
    """How the phrase was understood, if it was not as it stands."""


def build_structured_report(
    sources: Sequence[SourceSeries],
    findings: Sequence[ReportedFinding],
    maker: Maker,
    *,
    others: Sequence[Dataset] = (),
) -> EnhancedSR:
    """A report with one group a finding.

    Args:
        sources: The stacks of one series that were looked at.
        findings: One or more.
        maker: Who found them.
        others: Objects of the same study that were made along with it, such as a segmentation.

    Raises:
        ImageError: If the stacks belong to different studies.
    """
    if len({str(each.header.StudyInstanceUID) for each in sources}) > 1:
        raise ImageError(f"{sources[0].path}: its stacks belong to different studies; report each of them alone.")
    observer = DeviceObserverIdentifyingAttributes(
        uid=maker.device_uid,
        name=maker.name,
        manufacturer_name=MANUFACTURER,
        model_name=maker.name,
        serial_number=__version__,
    )
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(codes.DCM.Device, observer),
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[_group(each, maker) for each in findings],
    )
    result = EnhancedSR(
        evidence=[*(dataset for each in sources for dataset in each.instances()), *others],
        content=content,
        is_complete=True,
        coding_schemes=[scheme()],
        **maker.new_object(SERIES_NUMBER, "Vesalius report"),
    )
    sources[0].adopt(result)
    return result


def findings_of(
    series: SeriesName, images: Sequence[MedicalImage], sources: Sequence[SourceSeries]
) -> list[ReportedFinding]:
    """The findings of a named series: stations and organs, and those that nothing of shows.

    Args:
        series: What was named.
        images: The stacks that were, in their order, see `choose_stacks`.
        sources: Of each.

    Returns:
        A finding a range of slices; for each label without a range one that says absent (no slice is likelier than not
        to show it), undetermined or not learnt; for slices of which no station is named, one for each range.
    """
    frames = [
        frame for image, source in zip(images, sources, strict=True) for frame in image.in_display_order(source.frames)
    ]
    found = []
    for kind, ranges in (("stations", series.stations), ("organs", series.organs)):
        calibrated = kind in series.calibrated
        found += [_shown(each, frames, calibrated) for each in ranges]
        named = {each.label for each in ranges}
        found += [each for each in _not_shown(series, kind, calibrated) if each.label not in named]
    return found


def _shown(found: LabelRange, frames: Sequence[ReferencedFrame], calibrated: bool) -> ReportedFinding:
    part = tuple(frames[found.first : found.last + 1])
    if found.label is None:
        return ReportedFinding("body station", "body station", Presence.UNDETERMINED, part)
    return ReportedFinding(found.label, found.label, Presence.PRESENT, part, found.probability, _kind(calibrated))


def _not_shown(series: SeriesName, kind: str, calibrated: bool) -> Iterator[ReportedFinding]:
    """Every label that was asked, with its highest probability on any slice, and those that the model never learnt."""
    rows = [each.station_probabilities if kind == "stations" else each.organ_probabilities for each in series.slices]
    for label in rows[0]:
        most = max(row[label] for row in rows)
        presence = Presence.ABSENT if calibrated and most < 0.5 else Presence.UNDETERMINED
        yield ReportedFinding(label, label, presence, (), most, _kind(calibrated))
    for label in STATIONS if kind == "stations" else ORGANS:
        if label not in rows[0]:
            yield ReportedFinding(label, label, Presence.NOT_LEARNT)


def _kind(calibrated: bool) -> Likelihood:
    return Likelihood.PROBABILITY if calibrated else Likelihood.SHARE


def _group(finding: ReportedFinding, maker: Maker) -> MeasurementsAndQualitativeEvaluations:
    concept = concept_of(finding.name)
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(generate_uid(prefix=None), to_label(finding.label)),
        finding_category=concept.category,
        finding_type=concept.kind,
        finding_sites=None if concept.region is None else [FindingSite(concept.region)],
        algorithm_id=AlgorithmIdentification(maker.name, __version__),
        measurements=[*_measurements(finding)],
        qualitative_evaluations=[QualitativeEvaluation(private(SHOWN), finding.presence.code())],
        source_images=[*_references(finding.frames)],
    )
    if finding.comment:  # highdicom has no argument for it
        text = to_label(finding.comment, LONGEST_COMMENT)
        comment = TextContentItem(codes.DCM.Comment, text, RelationshipTypeValues.CONTAINS)
        group[0].ContentSequence.append(comment)
    return group


def _measurements(finding: ReportedFinding) -> Iterator[Measurement]:
    if finding.likelihood is not None:
        yield Measurement(finding.kind.code(), round(finding.likelihood, PLACES), codes.UCUM.NoUnits)
    if finding.volume_ml is not None:
        yield Measurement(codes.SCT.Volume, round(finding.volume_ml, PLACES), MILLILITRE)


def _references(frames: Sequence[ReferencedFrame]) -> Iterator[SourceImageForMeasurementGroup]:
    """One reference a file, with the frames of it."""
    by_file: dict[tuple[str, str], list[int]] = {}
    for frame in frames:
        numbers = by_file.setdefault((frame.sop_class, frame.instance), [])
        numbers += [] if frame.number is None else [frame.number]
    for (sop_class, instance), numbers in by_file.items():
        yield SourceImageForMeasurementGroup(sop_class, instance, sorted(numbers) or None)
