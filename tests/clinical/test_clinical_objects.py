"""What the objects say: codes, makers, patients, what is absent and what was never learnt; and that they conform."""

import numpy as np
import pydicom
import pytest
from highdicom.seg import segread
from highdicom.sr import srread
from pydicom.sr.codedict import codes

from vesalius import __version__
from vesalius.clinical import work
from vesalius.clinical.coding import SCHEME, Maker, concept_of, private, to_label
from vesalius.clinical.deidentify import deidentify_folder
from vesalius.clinical.source import read_source
from vesalius.clinical.work import DicomFiles, report_names, segment_to_dicom
from vesalius.errors import ConfigError, ImageError, OutputError, PromptError
from vesalius.imaging import read_image, write_rgb
from vesalius.imaging.dicom import read_stacks
from vesalius.knowledge import Knowledge, LearntTarget
from vesalius.masks import MaskRules
from vesalius.naming.labels import Answer, SeriesName, SliceName
from vesalius.prompts.bank import list_targets, read_bank
from vesalius.segmenting.request import Request

ULTRASOUND_CLIP = "1.2.840.10008.5.1.4.1.1.3.1"
SHOWN = private("shown in these images")
SAGITTAL = (0, 1, 0, 0, 0, -1)


@pytest.fixture
def files(tmp_path):
    return DicomFiles(tmp_path / "result.dcm", tmp_path / "report.dcm", tmp_path / "overlay.dcm")


@pytest.fixture
def learnt(exact):
    """The same model, which learnt three things on CT, and one on ultrasound alone."""
    names = {"liver": ("ct",), "spleen": ("ct",), "liver_tumour": ("ct",), "ovarian_tumour": ("us",)}
    exact.knowledge = Knowledge([LearntTarget(name, kinds, 1) for name, kinds in names.items()])
    return exact


def findings(path):
    """Tracking identifier -> type, what was judged, numbers, and how many images, of each group of a report."""
    found = {}
    for group in srread(path).content.get_image_measurement_groups():
        (judged,) = (each for each in group.get_qualitative_evaluations() if each.name == SHOWN)
        numbers = {each.name.meaning: each.value for each in group.get_measurements()}
        found.setdefault(group.tracking_identifier, []).append(
            (group.finding_type, judged, numbers, group.source_images)
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize("fractional", [False, True])
@pytest.mark.parametrize("kind", ["series", "clip"])
@pytest.mark.filterwarnings("ignore:.*no place in the patient")
def test_objects_conform(exact, complaints, files, write_series, write_image, frames, kind, fractional):
    if kind == "series":
        path = write_series()
    else:
        grey = np.where(frames(3) > 1000, 250, 10).astype(np.uint8)
        colour = np.repeat(grey[..., None], 3, -1)
        path = write_image("clip.dcm", colour, ULTRASOUND_CLIP, FrameOfReferenceUID=None, PatientSex=None)
    request = Request(("liver", "nothing", "Leber " * 20, "肝臓"))
    segment_to_dicom(read_image(path), exact, request, files, fractional=fractional)
    assert {each.name: complaints(each) for each in files.paths} == {each.name: [] for each in files.paths}


@pytest.mark.slow
def test_remarks_conform(learnt, complaints, files, write_series):
    segment_to_dicom(read_image(write_series()), learnt, Request(("left lobe of the liver", "fracture")), files)
    assert [complaints(each) for each in files.paths] == [[], [], []]


@pytest.mark.slow
def test_a_segment_says_what_it_is_and_who_found_it(learnt, files, write_series):
    request = Request(("hepar", "liver tumour"), model="pocket")
    segment_to_dicom(read_image(write_series()), learnt, request, files)
    result = segread(files.segmentation)
    liver, tumour = (result.get_segment_description(number) for number in (1, 2))
    assert (liver.segment_label, tumour.segment_label) == ("liver", "liver tumour")
    assert liver.SegmentDescription == "'hepar': read as 'liver'."
    assert liver.segmented_property_type == codes.SCT.Liver
    assert liver.segmented_property_category == codes.SCT.AnatomicalStructure
    assert tumour.segmented_property_type == codes.SCT.Neoplasm
    assert tumour.segmented_property_category == codes.SCT.MorphologicallyAbnormalStructure
    assert [each.value for each in tumour.anatomic_regions] == [codes.SCT.Liver.value]
    (algorithm,) = liver.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("vesalius pocket", __version__)
    assert result.SegmentsOverlap == "YES"


def test_what_is_not_told_apart_is_called_by_what_it_is(learnt, files, write_series):
    segment_to_dicom(read_image(write_series()), learnt, Request(("left lobe of the liver", "spleen")), files)
    liver, spleen = segread(files.segmentation).SegmentSequence
    assert (liver.SegmentLabel, liver.TrackingID) == ("liver", "liver")
    assert liver.SegmentDescription.startswith("'left lobe of the liver': liver: learnt as a whole, ")
    assert (spleen.SegmentLabel, "SegmentDescription" in spleen) == ("spleen", False)
    groups = {each.tracking_identifier: each for each in srread(files.report).content.get_image_measurement_groups()}
    told = {
        label: [item.TextValue for item in each[0].ContentSequence if item.name == codes.DCM.Comment]
        for label, each in groups.items()
    }
    assert told == {"liver": [liver.SegmentDescription], "spleen": []}


def test_every_target_has_a_code_and_private_ones_say_so():
    for target in read_bank().values():
        if target.phrases:
            kind = concept_of(target.phrases[0]).kind
            assert kind.scheme_designator in ("SCT", SCHEME)
            assert len(kind.value) <= 16
    assert concept_of("polyp").kind == private("polyp")
    assert concept_of("a thing nobody knows").category == private("not classified")


def test_every_target_has_a_category_and_tumours_say_where_they_are():
    concepts = {name: concept_of(read_bank()[name].phrases[0]) for name in list_targets()}
    categories = {codes.SCT.AnatomicalStructure, codes.SCT.MorphologicallyAbnormalStructure}
    assert {name for name, each in concepts.items() if each.category not in categories} == set()
    tumours = {name for name in concepts if name.endswith(("tumour", "glioma", "meningioma", "carcinoma"))}
    assert len(tumours) == 10
    assert {name for name in tumours if concepts[name].region is None} == set()
    assert concepts["pituitary_tumour"].kind == codes.SCT.Neoplasm
    assert concepts["meningioma"].kind == private("meningioma")


def test_labels_are_one_line_that_dicom_holds():
    assert to_label("left\\right\nlobe") == "left/right lobe"
    assert len(to_label("肝" * 80).encode()) <= 64
    assert to_label("肝" * 80).endswith("…")
    assert to_label("\ud800liver") == "liver"


def test_a_checkpoint_is_not_named_by_its_path(tmp_path):
    own = tmp_path / "Meier^Hans"
    own.mkdir()
    assert Maker.of(str(own)).name == "vesalius own model"


def test_an_empty_segment_is_kept_with_all_its_frames(exact, files, write_series):
    segment_to_dicom(read_image(write_series()), exact, Request(("liver", "nothing")), files)
    result = segread(files.segmentation)
    assert [each.SegmentLabel for each in result.SegmentSequence] == ["liver", "nothing"]
    shown = [
        each.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for each in result.PerFrameFunctionalGroupsSequence
    ]
    assert [shown.count(1), shown.count(2)] == [5, 5]
    uids = [each.ReferencedSOPInstanceUID for each in result.SourceImageSequence]
    assert not result.get_pixels_by_source_instance(uids, segment_numbers=[2]).any()


def test_a_segmentation_of_nothing_is_a_result(exact, tmp_path, write_series):
    out = tmp_path / "result.dcm"
    segment_to_dicom(read_image(write_series()), exact, Request(("nothing",)), DicomFiles(out))
    assert segread(out).NumberOfFrames == 5


def test_a_phrase_that_was_not_learnt_is_refused_before_anything_is_written(learnt, files, write_series):
    request = Request(("liver", "fracture"))
    with pytest.raises(PromptError, match="cannot say that a phrase was not asked.*fracture"):
        segment_to_dicom(read_image(write_series()), learnt, request, DicomFiles(files.segmentation))
    assert not files.segmentation.exists()


@pytest.mark.slow
def test_a_report_says_what_is_there_what_is_not_and_what_was_not_learnt(learnt, files, write_series):
    request = Request(("spleen", "fracture", "ovarian tumour"))
    segment_to_dicom(read_image(write_series()), learnt, request, files)
    told = findings(files.report)
    (kind, judged, numbers, images) = told["spleen"][0]
    assert kind == codes.SCT.Spleen
    assert judged.value == codes.DCM.Present
    assert numbers["existence, not calibrated"] == pytest.approx(0.982, abs=1e-3)
    assert "Probability" not in numbers
    marked = sum(
        np.count_nonzero(pydicom.dcmread(path).pixel_array > 1000) for path in files.report.parent.glob("series/*")
    )
    assert numbers["Volume"] == pytest.approx(marked * 6.5 * 7.5 * 7 / 1000)
    assert len(images) == 5
    assert told["fracture"][0][1].value == private("not learnt by the model")
    assert told["ovarian tumour"][0][1].value == private("not expected here")
    assert told["fracture"][0][2:] == ({}, [])
    assert [each.SegmentLabel for each in segread(files.segmentation).SegmentSequence] == ["spleen"]
    cited = {
        instance.ReferencedSOPInstanceUID
        for series in srread(files.report).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert cited == {*(f"1.2.3.4.5.{each}" for each in range(1, 6)), segread(files.segmentation).SOPInstanceUID}


def test_nothing_found_is_absent_in_the_report(exact, files, write_series):
    segment_to_dicom(read_image(write_series()), exact, Request(("nothing",)), files)
    _, judged, numbers, images = findings(files.report)["nothing"][0]
    assert judged.value == codes.DCM.Absent
    assert (numbers["Volume"], images) == (0, [])


def test_where_nothing_was_learnt_the_report_says_it_and_the_segmentation_is_refused(learnt, files, write_series):
    with pytest.raises(PromptError, match="result.dcm: is not written.*report.dcm says so"):
        segment_to_dicom(read_image(write_series()), learnt, Request(("fracture",)), files)
    assert not files.segmentation.exists()
    assert findings(files.report)["fracture"][0][1].value == private("not learnt by the model")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("charset", "name"), [("ISO_IR 100", "Müller^Änne"), ("ISO 2022 IR 87", "Yamada^Tarou=山田^太郎")]
)
@pytest.mark.filterwarnings("ignore:Invalid value")  # of the test's own files
def test_patient_and_study_are_those_of_the_source_and_stand_in_no_log(
    exact, files, write_series, logged, charset, name
):
    charsets = ["", charset] if charset.startswith("ISO 2022") else charset
    born, sex = "born 1950", "unknown"  # not valid, and kept as the archive has them
    other = pydicom.Dataset()
    other.IssuerOfPatientID = name
    folder = write_series(
        SpecificCharacterSet=charsets,
        PatientName=name,
        PatientBirthDate=born,
        PatientSex=sex,
        OtherPatientIDsSequence=[other],
    )
    logged.records.clear()
    segment_to_dicom(read_image(folder), exact, Request(("liver",)), files)
    assert not any(word in logged.text for word in (born, "secret", "Yamada", "Müller"))
    for path in files.paths:
        result = pydicom.dcmread(path)
        assert (str(result.PatientName), result.OtherPatientIDsSequence[0].IssuerOfPatientID) == (name, name)
        given = (result.PatientID, result.PatientSex, result.StudyDate, result.AccessionNumber, result.PatientAge)
        assert given == ("secret-17", sex, "20240102", "A17", "074Y")
        assert (result.StudyInstanceUID, result.Manufacturer) == ("1.2.3.4", "Vesalius")
        assert result.SeriesInstanceUID != "1.2.3.4.5"


def test_a_weight_in_words_is_no_reason_to_refuse(exact, files, write_series):
    path = write_series(numbers=(1,), PatientWeight="12") / "3.dcm"
    path.write_bytes(path.read_bytes().replace(b"DS\x02\x0012", b"DS\x02\x00kg"))
    segment_to_dicom(read_image(path), exact, Request(("liver",)), files)
    assert [str(pydicom.dcmread(each)["PatientWeight"].value) for each in files.paths] == ["kg"] * 3


def test_nothing_is_written_if_the_report_cannot_be(exact, files, write_series, monkeypatch):
    def fail(*_, **__):
        raise ValueError("Invalid value")

    monkeypatch.setattr(work, "build_structured_report", fail)
    with pytest.raises(ImageError, match="values of which no DICOM result can be made"):
        segment_to_dicom(read_image(write_series()), exact, Request(("liver",)), files)
    assert [each.exists() for each in files.paths] == [False] * 3


def write_raw(path, keyword, value):
    """Put bytes into a file that no library would write for this attribute."""
    dataset, tag = pydicom.dcmread(path), pydicom.tag.Tag(keyword)
    dataset._dict[tag] = pydicom.dataelem.RawDataElement(tag, "UN", len(value), value, 0, False, True)
    dataset.save_as(path)


@pytest.mark.parametrize("thickness", [b"nan ", b"-1e309"])
def test_a_thickness_that_is_none_counts_as_missing(exact, files, write_series, thickness):
    path = write_series(numbers=(1,)) / "3.dcm"
    write_raw(path, "SliceThickness", thickness)
    segment_to_dicom(read_image(path), exact, Request(("liver",)), files)
    (measures,) = pydicom.dcmread(files.segmentation).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SliceThickness == 1


def test_values_of_no_use_are_refused_and_not_repeated(exact, files, write_series):
    path = write_series(numbers=(1,)) / "3.dcm"
    write_raw(path, "FrameOfReferenceUID", b"1.2\\secret")
    with pytest.raises(ImageError, match="3.dcm: its header holds values of which no DICOM result can be made") as told:
        segment_to_dicom(read_image(path), exact, Request(("liver",)), files)
    assert "secret" not in str(told.value)
    assert [each.exists() for each in files.paths] == [False] * 3


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_uids_that_are_not_valid_are_refused_and_not_repeated(write_series, tmp_path, keyword):
    path = write_series(numbers=(1,)) / "3.dcm"
    write_raw(path, keyword, b"1.2.826.01.3")
    image = read_image(path)
    for read in (lambda: read_source(image), lambda: deidentify_folder(path, tmp_path / "copies")):
        with pytest.raises(ImageError, match=f"its {keyword} is no valid UID") as told:  # a warning were an error
            read()
        assert "826" not in str(told.value)


@pytest.mark.slow
def test_an_overlay_is_a_picture_of_the_same_study(exact, files, write_series):
    segment_to_dicom(read_image(write_series()), exact, Request(("liver",)), files)
    result = pydicom.dcmread(files.capture)
    assert result.pixel_array.ndim == 3
    assert len(np.unique(result.pixel_array.reshape(-1, 3), axis=0)) > 2
    assert [each.ReferencedSOPInstanceUID for each in result.SourceImageSequence] == [
        f"1.2.3.4.5.{number}" for number in range(1, 6)
    ]


def name_series(images, first, calibrated):
    """The first slices show a liver and their station is unknown, the others show the chest."""
    slices = tuple(
        SliceName(
            place,
            None,
            "axial",
            Answer(None, 0.4, "pixels"),
            () if place < first else ("chest",),
            ("liver",) if place < first else (),
            {"chest": 0.9, "head": 0.01},
            {"liver": 0.8, "brain": 0.02, "heart": 0.6},
        )
        for place in range(sum(len(each.pixels) for each in images))
    )
    told = [Answer(None, None, "header")] * 3
    return SeriesName(images[0].source, *told, slices, calibrated=("organs", "stations") if calibrated else ())


@pytest.mark.slow
def test_slices_that_run_down_are_reported_from_the_feet(tmp_path, write_series):
    images = read_stacks(write_series(orientation=(1, 0, 0, 0, -1, 0)))[:1]  # prone: the normal points to the feet
    path = tmp_path / "report.dcm"
    report_names(path, name_series(images, 2, True), images, "pocket")
    shown = findings(path)["liver"][0][3]
    assert {each.referenced_sop_instance_uid for each in shown} == {"1.2.3.4.5.1", "1.2.3.4.5.2"}


@pytest.mark.slow
@pytest.mark.parametrize("calibrated", [True, False])
def test_names_are_reported_with_the_images_that_show_them(tmp_path, write_series, calibrated):
    images = read_stacks(write_series(step=(0, 0, -7)))[:1]
    path = tmp_path / "report.dcm"
    report_names(path, name_series(images, 2, calibrated), images, "pocket")
    told = findings(path)
    number = "Probability" if calibrated else "share among labels, not calibrated"
    kind, judged, numbers, shown = told["liver"][0]
    assert (kind, judged.value, numbers) == (codes.SCT.Liver, codes.DCM.Present, {number: 0.8})
    # Slices ascend in display order, and these files go down: the feet are in the last.
    assert {each.referenced_sop_instance_uid for each in shown} == {"1.2.3.4.5.5", "1.2.3.4.5.4"}
    assert len(told["chest"][0][3]) == 3
    assert told["body station"][0][1].value == codes.SCT.Undetermined
    assert len(told["body station"][0][3]) == 2
    absent = codes.DCM.Absent if calibrated else codes.SCT.Undetermined
    assert [told[label][0][1].value for label in ("head", "brain", "heart")] == [absent, absent, codes.SCT.Undetermined]
    assert told["brain"][0][2] == {number: 0.02}
    assert told["kidneys"][0][1].value == private("not learnt by the model")


@pytest.mark.slow
def test_names_of_a_multi_frame_image_refer_to_its_frames(tmp_path, write_image, frames, groups):
    axial = (1, 0, 0, 0, 1, 0)
    order = [2, 0, 3, 1]
    placed = groups([((0, 0, 7 * height), axial) for height in order])
    images = read_stacks(write_image("mr.dcm", frames(4), "1.2.840.10008.5.1.4.1.1.4.1", **placed))
    path = tmp_path / "report.dcm"
    report_names(path, name_series(images, 2, True), images, "pocket")
    (shown,) = findings(path)["liver"][0][3]
    assert shown.referenced_frame_numbers == [2, 4]  # the lowest two


@pytest.mark.slow
def test_a_report_of_all_stacks_of_a_localizer_conforms(complaints, tmp_path, write_series):
    types = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    folder = write_series(ImageType=types)
    write_series(SAGITTAL, (7, 0, 0), numbers=(10, 11, 12), ImageType=types)
    images = read_stacks(folder)
    assert len(images) == 2
    path = tmp_path / "report.dcm"
    report_names(path, name_series(images, 6, True), images, "pocket")
    assert complaints(path) == []
    assert len(findings(path)["liver"][0][3]) == 6


def test_what_is_no_dicom_is_refused(exact, files, tmp_path):
    write_rgb(tmp_path / "picture.png", np.zeros((8, 8, 3)))
    with pytest.raises(ImageError, match="picture.png: is no DICOM image.*Name the original series"):
        segment_to_dicom(read_image(tmp_path / "picture.png"), exact, Request(("liver",)), files)


def test_a_mosaic_is_refused(write_series):
    image = read_image(write_series())
    tiles = tuple(type(each)(each.path, each.index, False) for each in image.source_frames)
    object.__setattr__(image, "source_frames", tiles)
    with pytest.raises(ImageError, match="is a mosaic"):
        read_source(image)


def test_nothing_is_replaced_unasked_and_no_source_ever(exact, files, write_series):
    folder = write_series()
    image, request = read_image(folder), Request(("liver",))
    segment_to_dicom(image, exact, request, files)
    before = [path.read_bytes() for path in files.paths]
    with pytest.raises(OutputError, match="there already"):
        segment_to_dicom(image, exact, request, files)
    assert [path.read_bytes() for path in files.paths] == before
    segment_to_dicom(image, exact, request, files, overwrite=True)
    with pytest.raises(OutputError, match="is an image that is read"):
        segment_to_dicom(image, exact, request, DicomFiles(folder / "3.dcm"), overwrite=True)


@pytest.mark.parametrize(
    ("rules", "fractional", "told"),
    [(MaskRules(threshold=2), False, "--threshold"), (MaskRules(keep_largest=True), True, "--fractional")],
)
def test_settings_that_contradict_one_another_are_refused(exact, files, write_series, rules, fractional, told):
    image, request = read_image(write_series()), Request(("liver",), rules=rules)
    with pytest.raises(ConfigError, match=told):
        segment_to_dicom(image, exact, request, files, fractional=fractional)


def test_what_takes_too_much_memory_is_refused_first(exact, files, write_series, monkeypatch):
    monkeypatch.setenv("VESALIUS_MAX_MEGABYTES", "1")
    image = read_image(write_series())
    with pytest.raises(ImageError, match="VESALIUS_MAX_MEGABYTES"):
        segment_to_dicom(image, exact, Request(tuple(f"liver {n}" for n in range(250))), files, fractional=True)
