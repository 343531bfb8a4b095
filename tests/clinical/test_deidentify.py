"""Copies that tell nothing of a patient, and results that refer to them."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from vesalius.cli.deidentify import deidentified
from vesalius.clinical.cleaning import Change
from vesalius.clinical.deidentify import deidentify, deidentify_folder, read_deidentified
from vesalius.clinical.work import DicomFiles, segment_to_dicom
from vesalius.errors import ImageError, OutputError
from vesalius.files import write_text
from vesalius.imaging import read_image
from vesalius.imaging.dicom import read_stacks
from vesalius.segmenting.request import Request

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
SAGITTAL = (0, 1, 0, 0, 0, -1)
SECRETS = (
    "Müller", "Änne", "secret-17", "19500102", "20240102", "101112", "A17-000", "Doe", "Jane", "Sankt", "1.2.3.4",
    "Schmidt", "Station9", "hidden", "1.2.826.77", "Tunnel",
)  # fmt: skip
"""Parts of what `write_named` writes that tell of a patient, a place, a time or another object."""


@pytest.fixture
def write_named(write_series):
    """A series that tells of its patient wherever a DICOM file can."""

    def write(**attributes):
        request = Dataset()
        request.RequestedProcedureDescription, request.StudyInstanceUID = "Müller after a fall", "1.2.3.4"
        deep, code = Dataset(), Dataset()
        deep.PersonName, deep.DateTime, deep.CodeMeaning = "Doe^Jane", "20240102101112", "told by Schmidt"
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "DCM", "hidden"
        deep.PersonIdentificationCodeSequence = [code]
        other = Dataset()
        other.ReferencedSOPClassUID, other.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.826.77.1"
        named = {
            "AccessionNumber": "A17-000", "InstitutionName": "Sankt Anna", "OperatorsName": "Schmidt^Ida",
            "StationName": "Station9", "RequestAttributesSequence": [request], "ProcedureCodeSequence": [deep],
            "ViewCodeSequence": [deep], "WindowCenterWidthExplanation": "set for MÜLLER", "ReviewerName": "Doe^Jane",
            "ReferencedImageSequence": [other], "SecondaryReviewDate": "20240102", "DateOfGainCalibration": "20240102",
            "RetrieveURL": "http://hidden/1", "DeviceUID": "1.2.826.77.2", "IrradiationEventUID": ["1.2.826.77.3"] * 2,
        }  # fmt: skip
        folder = write_series(**{**named, **attributes})
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.private_block(0x0029, "Tunnel of Müller", create=True).add_new(1, "LO", "hidden")
            dataset.add_new(0x00110010, "UN", b"hidden")
            dataset.add_new(0x60000010, "US", 1)
            dataset.add_new(0x60003000, "OW", b"hidden")
            dataset.add_new(0x00080999, "LO", "hidden")  # not in the standard
            dataset.file_meta.SourceApplicationEntityTitle = "Station9"
            dataset.preamble = b"hidden".ljust(128)
            dataset.PixelData += b"hidden"
            dataset.save_as(path, enforce_file_format=True)
        return folder

    return write


def check_nothing_told(*paths):
    for path in paths:
        content = path.read_bytes()
        for secret in SECRETS:
            for encoded in (secret.encode(), secret.encode("latin-1"), secret.upper().encode()):
                assert encoded not in content, (path.name, secret)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of the test's own files
def test_no_name_number_date_or_uid_survives_in_any_byte(exact, write_named, tmp_path):
    folder = write_named()
    assert all(b"Tunnel" in path.read_bytes() for path in folder.iterdir())
    (image,), copies = read_deidentified([read_image(folder)], tmp_path / "copies")
    files = DicomFiles(tmp_path / "result.dcm", tmp_path / "report.dcm", tmp_path / "overlay.dcm")
    segment_to_dicom(image, exact, Request(("liver", "nothing")), files)
    check_nothing_told(*copies.files, *files.paths)
    told = json.dumps([str(each.to_row()) for each in copies.changes])
    assert not any(secret in told for secret in SECRETS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_results_refer_to_the_copies_and_lie_on_them(exact, write_named, tmp_path):
    folder = write_named()
    (image,), copies = read_deidentified([read_image(folder)], tmp_path / "copies")
    np.testing.assert_array_equal(np.asarray(image.pixels), np.asarray(read_image(folder).pixels))
    np.testing.assert_array_equal(image.source_affine, read_image(folder).source_affine)
    files = DicomFiles(tmp_path / "result.dcm", tmp_path / "report.dcm")
    segment_to_dicom(image, exact, Request(("liver",)), files)
    written = {each.SOPInstanceUID: each for each in map(pydicom.dcmread, copies.files)}
    result, report = map(pydicom.dcmread, files.paths)
    assert {each.ReferencedSOPInstanceUID for each in result.SourceImageSequence} == written.keys()
    for each in (result, report):
        first = next(iter(written.values()))
        for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "PatientIdentityRemoved"):
            assert each[keyword].value == first[keyword].value
        assert each.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert result.FrameOfReferenceUID == first.FrameOfReferenceUID


@pytest.mark.slow
def test_copies_and_results_conform(exact, complaints, write_series, tmp_path):
    folder = write_series(PatientPosition="HFS", KVP="120", AcquisitionNumber="1", SeriesNumber="1", Laterality="",
                          ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], PositionReferenceIndicator="", Manufacturer="",
                          SeriesDate="20240102", ContentDate="20240102", ContentTime="101112",
                          InstanceCreationDate="20240102")  # fmt: skip
    assert {tuple(complaints(path)) for path in folder.iterdir()} == {()}
    (image,), copies = read_deidentified([read_image(folder)], tmp_path / "copies")
    files = DicomFiles(tmp_path / "result.dcm", tmp_path / "report.dcm", tmp_path / "overlay.dcm")
    segment_to_dicom(image, exact, Request(("liver",)), files)
    assert {path.name: complaints(path) for path in (*copies.files, *files.paths) if complaints(path)} == {}


def test_what_was_changed_is_listed_with_tags_and_counts(write_series, tmp_path):
    copies = deidentify_folder(write_series(), tmp_path / "copies")
    rows = {each.attribute: each.to_row() for each in copies.changes}
    assert rows["StudyDescription"] == ("(0008,1030)", "StudyDescription", Change.REMOVED, 5)
    assert rows["AccessionNumber"] == ("(0008,0050)", "AccessionNumber", Change.EMPTIED, 5)
    assert rows["SOPInstanceUID"] == ("(0008,0018)", "SOPInstanceUID", Change.REPLACED, 5)
    assert "PixelSpacing" not in rows


def test_patients_and_uids_stay_apart_and_together_within_a_run_and_change_with_the_next(write_series, tmp_path):
    folder = write_series(numbers=(0, 1))
    write_series(numbers=(2,), SeriesInstanceUID="1.2.3.4.6", PatientID="another")
    one, other = (
        {int(each.ImagePositionPatient[2]): each for each in map(pydicom.dcmread, deidentify_folder(folder, out).files)}
        for out in (tmp_path / "one", tmp_path / "other")
    )
    places = sorted(one)
    assert one[places[0]].SeriesInstanceUID == one[places[1]].SeriesInstanceUID != one[places[2]].SeriesInstanceUID
    assert len({each.StudyInstanceUID for each in one.values()}) == 1
    assert one[places[0]].PatientID == one[places[1]].PatientID != one[places[2]].PatientID
    assert {each.SOPInstanceUID for each in one.values()}.isdisjoint(each.SOPInstanceUID for each in other.values())
    assert one[places[0]].SOPClassUID == pydicom.uid.CTImageStorage


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"PatientName": "Doe^Jane"}, {"PatientName": "DOE^JANE^^"}, True),
        ({"PatientName": "Doe^Jane"}, {"PatientName": "Roe^Jane"}, True),  # one ID, whatever the name
        ({"IssuerOfPatientID": "north"}, {"IssuerOfPatientID": "south"}, False),
        ({"PatientID": "", "PatientName": "Müller^Änne"}, {"PatientID": "", "PatientName": "MÜLLER ^ ÄNNE"}, True),
        ({"PatientID": "", "PatientName": "Doe^Jane"}, {"PatientID": "", "PatientName": "Roe^Jane"}, False),
        ({"PatientID": "", "PatientName": ""}, {"PatientID": " ", "PatientName": "^"}, True),  # one study
        (
            {"PatientID": "", "PatientName": ""},
            {"PatientID": "", "PatientName": "", "StudyInstanceUID": "1.2.9"},
            False,
        ),
        (
            {"PatientID": "", "PatientName": "Yamada^Tarou=山田^太郎"},
            {"PatientID": "", "PatientName": "YAMADA^TAROU", "StudyInstanceUID": "1.2.9"},
            True,
        ),
        ({"PatientID": "Doe Jane"}, {"PatientID": "", "PatientName": "Doe^Jane"}, False),
    ],
)
def test_a_pseudonym_is_of_one_patient_however_the_name_is_written(write_image, tmp_path, one, other, same):
    grey = np.zeros((8, 8), np.int16)
    paths = [
        write_image(
            f"{place}.dcm",
            grey,
            **{"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Doe^Jane", "PatientID": "17", **each},
        )
        for place, each in enumerate((one, other))
    ]
    first, second = map(pydicom.dcmread, deidentify(paths, tmp_path / "copies").files)
    assert (first.PatientID == second.PatientID) is same


def test_only_uids_of_the_standards_own_list_stay(write_image, tmp_path):
    odd, talairach = "1.2.840.10008.5.1.4.1.1.2.19500102", "1.2.840.10008.1.4.1.1"
    path = write_image("a.dcm", np.zeros((8, 8), np.int16), SOPInstanceUID=odd, FrameOfReferenceUID=talairach)
    (file,) = deidentify([path], tmp_path / "copies").files
    assert odd.encode() not in file.read_bytes()
    assert pydicom.dcmread(file).FrameOfReferenceUID == talairach


@pytest.mark.parametrize(("burnt", "told"), [("YES", "BurnedInAnnotation"), ("overlay", "overlay in its pixels")])
def test_text_in_pixels_is_refused_where_the_header_says_so(write_series, tmp_path, burnt, told):
    folder = write_series()
    path = folder / "3.dcm"
    dataset = pydicom.dcmread(path)
    if burnt == "YES":
        dataset.BurnedInAnnotation = "YES"
    else:
        dataset.add_new(0x60000010, "US", 12)
        dataset.add_new(0x60000102, "US", 15)
    dataset.save_as(path)
    with pytest.raises(ImageError, match=told):
        read_deidentified([read_image(folder)], tmp_path / "strict")
    assert not (tmp_path / "strict").exists()
    copies = deidentify_folder(folder, tmp_path / "copies")
    assert (len(copies.files), len(copies.refused)) == (4, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copies", "series"]


@pytest.mark.parametrize(("modality", "burnt", "notices"), [("US", None, 1), ("IVUS", None, 1), ("US", "NO", 0)])
def test_ultrasound_is_copied_with_a_warning_unless_its_header_says_that_it_shows_no_text(
    write_image, tmp_path, modality, burnt, notices
):
    path = write_image("us.dcm", np.zeros((8, 8), np.uint8), ULTRASOUND, Modality=modality, BurnedInAnnotation=burnt)
    assert len(deidentify([path], tmp_path / "copies").notices) == notices


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_compressed_pixels_are_stored_plainly_as_their_streams_may_hide_text(write_series, tmp_path):
    path = write_series(numbers=(0,)) / "0.dcm"
    dataset = pydicom.dcmread(path)
    plain = dataset.pixel_array
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.PixelData += b"\xfe\xff\x00\xe0\x06\x00\x00\x00hidden"  # one more fragment
    dataset.save_as(path)
    assert b"hidden" in path.read_bytes()
    (copy,) = deidentify([path], tmp_path / "copies").files
    assert b"hidden" not in copy.read_bytes()
    found = pydicom.dcmread(copy)
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(found.pixel_array, plain)


@pytest.fixture
def write_weighted(write_series):
    """A series of two stacks that only a private b-value tells apart: three slices, and two above them."""

    def write():
        folder = write_series()
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            high = dataset.ImagePositionPatient[2] > 10
            dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", 1000 if high else 0)
            dataset.save_as(path)
        return folder

    return write


def test_slices_that_only_private_values_told_apart_are_refused_and_no_copy_is_left(write_weighted, tmp_path):
    images = read_stacks(write_weighted())
    assert [len(each.pixels) for each in images] == [3, 2]
    with pytest.raises(ImageError, match="belong together otherwise without what is removed.*--stack"):
        read_deidentified(images, tmp_path / "copies")
    assert [path.name for path in tmp_path.iterdir()] == ["series"]
    (alone,), copies = read_deidentified(images[1:], tmp_path / "copies")  # one stack of its own stays one
    assert (len(alone.pixels), len(copies.files)) == (2, 2)


def test_name_refuses_copies_whose_slices_belong_together_otherwise(run, write_weighted, tmp_path):
    code, _, said = run("name", write_weighted(), "--sr", "names.dcm", "--deidentify", "copies")
    assert code == 2
    assert "belong together otherwise" in " ".join(said.split())
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


@pytest.mark.parametrize("command", [("segment", "liver", "--out"), ("name", "--sr")])
def test_no_result_replaces_an_original_of_the_copies(run, write_series, tmp_path, command):
    folder = write_series(numbers=(0, 1))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    name, *options = command
    code, _, said = run(name, folder, *options, folder / "0.dcm", "--deidentify", "copies", "--overwrite")
    assert code == 2
    assert "0.dcm: is an image that is read" in " ".join(said.split())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


def test_a_stack_or_frame_that_was_chosen_is_the_one_that_is_read_again(write_series, write_image, frames, tmp_path):
    folder = write_series(numbers=(0, 1, 2))
    write_series(SAGITTAL, (7, 0, 0), numbers=(10, 11))
    ((again,), _) = read_deidentified([read_image(folder, stack=2)], tmp_path / "stack")
    np.testing.assert_array_equal(again.pixels, read_image(folder, stack=2).pixels)
    clip = write_image("clip.dcm", frames(3).astype(np.uint8), ULTRASOUND, BurnedInAnnotation="NO")
    ((again,), _) = read_deidentified([read_image(clip, frame=2)], tmp_path / "frame", frame=2)
    np.testing.assert_array_equal(again.pixels, read_image(clip, frame=2).pixels)


def test_nothing_is_written_into_a_folder_that_is_there(write_series, tmp_path):
    (tmp_path / "copies").mkdir()
    with pytest.raises(OutputError, match="there already"):
        deidentify_folder(write_series(), tmp_path / "copies")


def test_copies_do_not_lie_among_their_sources(write_series, tmp_path):
    folder = write_series()
    for out in (folder / "copies", folder / "new" / "copies", folder / ".." / folder.name / "copies"):
        with pytest.raises(OutputError, match=r"copies: lies in .*series, .* name a folder outside of it"):
            deidentify_folder(folder, out)
    assert not [path for path in folder.rglob("*") if path.is_dir()]


def test_a_full_disk_is_told_in_one_line_without_temporary_names(write_series, exact, tmp_path):
    resource = pytest.importorskip("resource", reason="needs limits of POSIX")
    folder, files = write_series(), DicomFiles(tmp_path / "result.dcm")
    before = sorted(tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OutputError) as copying:
            deidentify_folder(folder, tmp_path / "copies")
        with pytest.raises(OutputError) as writing:
            segment_to_dicom(read_image(folder), exact, Request(("liver",)), files)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for told, name in ((copying, "copies"), (writing, "result.dcm")):
        assert str(told.value).startswith(f"{tmp_path / name}: cannot be written (File too large)")
        assert str(told.value).count("\n") == 0
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_copies_stay_only_with_a_result(write_series, tmp_path, overwrite):
    result, copies = tmp_path / "result.dcm", tmp_path / "copies"
    if overwrite:
        result.write_bytes(b"of before")
    image = read_image(write_series())
    with deidentified([image], copies, [result]) as (again,):
        assert again.source == copies
    assert not copies.exists()
    with deidentified([image], copies, [result]):
        write_text(result, "of today")
    assert len(list(copies.rglob("*.dcm"))) == 5


def test_folders_that_cannot_be_listed_are_told_as_left_out(write_series, tmp_path, lock_folder):
    write_series(folder="in/a")
    write_series(folder="in/b")
    lock_folder(tmp_path / "in" / "b")
    copies = deidentify_folder(tmp_path / "in", tmp_path / "copies")
    assert len(copies.files) == 5
    assert copies.refused == (f"{tmp_path}/in/b: cannot be listed (Permission denied); check its access.",)


def test_an_image_without_uids_is_refused(write_series, tmp_path):
    folder = write_series(numbers=(0,), SeriesInstanceUID=None)
    with pytest.raises(ImageError, match="its SeriesInstanceUID is missing"):
        deidentify_folder(folder, tmp_path / "copies")


def compress(path, *frames):
    """Replace the pixels of a file by JPEG streams."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate(list(frames))
    dataset.save_as(path)


def jpeg(rows, columns):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (rows, columns), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_frame_that_states_another_size_is_refused_before_it_is_decoded(write_image, tmp_path, monkeypatch):
    clip = write_image("clip.dcm", np.zeros((2, 16, 24), np.uint8), ULTRASOUND, BurnedInAnnotation="NO")
    good = jpeg(16, 24)
    compress(clip, good, good.replace(struct.pack(">HH", 16, 24), struct.pack(">HH", 60_000, 60_000), 1))
    monkeypatch.setattr(pydicom.Dataset, "decompress", lambda *_, **__: pytest.fail("was decoded"))
    with pytest.raises(ImageError, match=r"clip\.dcm: its pixels say they are 60000×60000×1"):
        deidentify_folder(clip, tmp_path / "copies")


def test_no_more_frames_are_decoded_than_the_header_says(write_image, tmp_path):
    clip = write_image("clip.dcm", np.zeros((2, 16, 24), np.uint8), ULTRASOUND, BurnedInAnnotation="NO")
    compress(clip, *[jpeg(16, 24)] * 5)
    copy = pydicom.dcmread(deidentify_folder(clip, tmp_path / "copies").files[0])
    assert copy.pixel_array.shape == (2, 16, 24)


def test_a_decoder_that_panics_ends_one_file_and_not_the_run(write_image, tmp_path, monkeypatch):
    class Panic(BaseException):
        """As decoders in Rust raise it."""

    def panic(*_, **__):
        raise Panic("index out of bounds")

    compress(write_image("a/0.dcm", np.zeros((16, 24), np.uint8), ULTRASOUND, BurnedInAnnotation="NO"), jpeg(16, 24))
    write_image("a/1.dcm", np.zeros((16, 24), np.uint8), ULTRASOUND, BurnedInAnnotation="NO")
    monkeypatch.setattr(pydicom.Dataset, "decompress", panic)
    copies = deidentify_folder(tmp_path / "a", tmp_path / "copies")
    assert len(copies.files) == 1
    (refused,) = copies.refused
    assert "0.dcm: its pixels (JPEG Baseline (Process 1)) cannot be decoded (index out of bounds)" in refused


def test_what_follows_pixels_of_floating_point_numbers_is_cut_off(write_image, tmp_path):
    path = write_image("map.dcm", np.zeros((8, 8), np.int16))
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.BitsAllocated, dataset.FloatPixelData = 32, np.ones((8, 8), np.float32).tobytes() + b"hidden!!"
    dataset.save_as(path)
    (copy,) = deidentify([path], tmp_path / "copies").files
    assert b"hidden" not in copy.read_bytes()
    assert len(pydicom.dcmread(copy).FloatPixelData) == 256


@pytest.mark.parametrize(
    ("said", "told", "notices"), [((None, "NO"), None, 1), (("NO", "NO"), "NO", 0), (("NO", "yes "), "YES", 0)]
)
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of the test's own files
def test_an_overlay_says_of_text_in_its_pixels_what_its_sources_say(exact, write_series, tmp_path, said, told, notices):
    folder = write_series(numbers=(0,), BurnedInAnnotation=said[0])
    write_series(numbers=(1,), BurnedInAnnotation=said[1])
    files = DicomFiles(tmp_path / "result.dcm", capture=tmp_path / "overlay.dcm")
    segment_to_dicom(read_image(folder), exact, Request(("liver",)), files)
    assert pydicom.dcmread(files.capture).get("BurnedInAnnotation") == told
    if told == "YES":
        with pytest.raises(ImageError, match="BurnedInAnnotation"):
            deidentify_folder(files.capture, tmp_path / "copies")
        return
    assert len(deidentify_folder(files.capture, tmp_path / "copies").notices) == notices


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of the test's own file
def test_pixels_and_tables_of_bytes_of_another_kind_stay(write_image, tmp_path):
    path = write_image("a.dcm", np.arange(40_000, dtype=np.uint16).reshape(200, 200))
    dataset = pydicom.dcmread(path)
    dataset["PixelData"].VR = "UN"
    dataset.add_new("RedPaletteColorLookupTableData", "OB", bytes(512))
    dataset.save_as(path)
    copy = pydicom.dcmread(deidentify([path], tmp_path / "copies").files[0])
    assert (len(copy.PixelData), len(copy.RedPaletteColorLookupTableData)) == (80_000, 512)


def test_the_last_pixel_of_an_odd_number_in_swapped_words_stays(tmp_path):
    path = Path(get_testdata_file("SC_rgb_small_odd_big_endian.dcm", download=False))
    copy = pydicom.dcmread(deidentify([path], tmp_path / "copies").files[0])
    np.testing.assert_array_equal(copy.pixel_array, pydicom.dcmread(path).pixel_array)
