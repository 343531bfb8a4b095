"""Which attributes tell of a patient, and which of the texts that stay do."""

import re

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from vesalius.clinical.deidentify import deidentify
from vesalius.clinical.profile import TABLE, rule_of, spellings, words_of


def found(text, name="", **numbers):
    """Whether a text tells of a patient."""
    patient = Dataset()
    patient.PatientName = name
    for keyword, number in numbers.items():
        setattr(patient, keyword, number)
    words = words_of(patient)
    return words is not None and any(words.search(each) for each in spellings(text))


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("Mustermann^Max", ["MUSTERMANN MAX", "t1_MUSTERMANN", "mustermann_2", "Mustermann1950", "2MAX", "max."]),
        ("Müller^Änne", ["MULLER", "MUELLER", "mu\u0308ller", "aenne"]),
        ("Mueller", ["Müller"]),
        ("Groß", ["GROSS"]),
        ("O'Brien^Una", ["O'BRIEN", "obrien brien"]),
        ("Doe-Roe^Al", ["roe"]),
        ("Li^Na", ["Li^Na", "NaLi", "t1 li, na", "li_na"]),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["山田太郎の頭部", "頭部山田", "yamada", "やまだ"]),
        ("Yi^Sun=李^明", ["李明", "李 明"]),
        ("김^영희", ["영희는"]),
        ("Öz^Al", ["ÖZ 3", "oez"]),
        ("Ли^Ян", ["снимок Ли"]),
    ],
)
def test_names_are_found_beside_digits_and_signs_and_in_other_spellings(name, texts):
    assert [text for text in texts if not found(text, name)] == []


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("Mustermann^Max", ["maximum", "MIP_maxi", "climax"]),
        ("Li^Wu", ["Li", "wu", "liwuer"]),  # too short, each alone
        ("A^P", ["AP", "A P"]),
        ("", ["ANY"]),
    ],
)
def test_other_words_are_not_taken_for_names(name, texts):
    assert [text for text in texts if found(text, name)] == []


def test_numbers_are_found_beside_letters_but_not_within_others():
    number = {"PatientID": "4711"}
    assert all(found(text, **number) for text in ("4711", "P4711", "4711_2", "no. 4711a"))
    assert not any(found(text, **number) for text in ("14711", "47110"))
    assert not found("123", PatientID="123")
    assert found("order A-17b", PlacerOrderNumberProcedure="A-17b")


def test_the_date_of_birth_is_found_as_people_write_it():
    born = {"PatientBirthDate": "19510203"}
    for text in ("born 03.02.1951", "1951-02-03", "DOB 2/3/1951", "3.2.1951", "x19510203"):
        assert found(text, **born), text
    assert not any(found(text, **born) for text in ("1951", "119510203", "04.02.1951"))


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of the test's own file
def test_texts_of_every_kind_are_emptied_value_by_value_and_numbers_and_needed_codes_stay(write_image, tmp_path):
    path = write_image(
        "a.dcm", np.zeros((8, 8), np.int16), PatientName="Mustermann^Primary", PatientID="1024", Rows=8,
        BodyPartExamined="MUSTERMANN PRIMARY", SequenceName="t1_MUSTERMANN", SliceThickness="7.25",
        ImageType=["ORIGINAL", "PRIMARY", "MUSTERMANN"], ScanOptions="FAST", WindowWidth="1024", SeriesNumber="1024",
        PixelSpacing=["1.5", "2.5"], KVP="6.25", TableHeight="-1.5E+2", XRayTubeCurrent=" 12 ",
    )  # fmt: skip
    content = path.read_bytes().replace(b"7.25", b"Must").replace(b"2.5 ", b"Max ").replace(b"6.25", b" nan")
    path.write_bytes(content)
    copies = deidentify([path], tmp_path / "copies")
    copy = pydicom.dcmread(copies.files[0])
    content = copies.files[0].read_bytes().upper()
    assert not any(word in content for word in (b"MUST", b"MAX", b"NAN"))
    assert [copy[each].is_empty for each in ("BodyPartExamined", "SequenceName", "SliceThickness", "KVP")] == [True] * 4
    assert list(copy.ImageType) == ["ORIGINAL", "PRIMARY", ""]
    assert (copy.ScanOptions, copy.WindowWidth, copy.SeriesNumber) == ("FAST", 1024, 1024)
    assert [str(each) for each in copy.PixelSpacing] == ["1.5", ""]
    assert (copy.TableHeight, copy.XRayTubeCurrent) == (-150, 12)
    told = {each.attribute: each.change for each in copies.changes}
    assert (told["BodyPartExamined"], told["ImageType"]) == ("emptied", "emptied")


@pytest.mark.parametrize(
    ("part", "kept"), [("KNEE", "KNEE"), ("KNEE MAX", None), ("LEFT HAND", "LEFT HAND"), ("", None)]
)
def test_a_body_part_stays_if_patients_are_called_like_it_and_goes_with_their_names(write_image, tmp_path, part, kept):
    attributes = {"PatientName": "Knee^Max", "OperatorsName": "Hand", "BodyPartExamined": part, "AcquisitionNumber": ""}
    path = write_image("a.dcm", np.zeros((8, 8), np.int16), **attributes)
    copies = deidentify([path], tmp_path / "copies")
    assert (pydicom.dcmread(copies.files[0]).BodyPartExamined or None) == kept
    assert "AcquisitionNumber" not in {each.attribute for each in copies.changes}  # nothing was there


@pytest.mark.parametrize("representation", ["UN", "UI", "UR", "OB", "PN", "LO"])
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of the test's own file
def test_a_name_in_a_representation_that_the_attribute_has_not_goes_too(write_image, tmp_path, representation):
    path = write_image("a.dcm", np.zeros((8, 8), np.int16), PatientName="Mustermann")
    dataset = pydicom.dcmread(path)
    dataset.add_new("BodyPartExamined", representation, b"MUSTERMANN" if representation in "UN OB" else "MUSTERMANN")
    dataset.save_as(path)
    assert b"MUSTERMANN" in path.read_bytes()
    assert b"MUSTERMANN" not in deidentify([path], tmp_path / "copies").files[0].read_bytes()


@pytest.mark.parametrize(
    ("attribute", "rule"),
    [
        (0x00100010, "Z"), (0x00100030, "Z"), (0x00101010, "X"), (0x0008103E, "X"), (0x00080018, "U"),
        (0x00081140, "U"), (0x00400555, "Z"), (0x00181000, "D"), (0x00080023, "D"), (0x00290010, "X"),
        (0x60020022, "X"), (0x50000010, "X"), (0x00080999, "X"), (0x00404011, "X"), (0x00080016, None),
        (0x00081150, None), (0x00280030, None), (0x00140102, "D"), (0x00081190, "X"), (0x0008010C, None),
        ("PatientBirthDateInAlternativeCalendar", "X"), ("PatientDeathDateInAlternativeCalendar", "X"),
        ("PatientAlternativeCalendar", "X"), ("PlacerOrderNumberProcedure", "X"), ("FillerOrderNumberProcedure", "X"),
        ("HL7InstanceIdentifier", "X"), ("DeviceID", "X"), ("UniformResourceLocatorTrial", "X"),
        ("EncryptedAttributesSequence", "X"), ("NTPSourceAddress", "X"), ("CommentsOnTheScheduledProcedureStep", "X"),
        ("IssuerOfAccessionNumberSequence", "X"), ("RequestingPhysicianIdentificationSequence", "X"),
        ("CodingSchemeResponsibleOrganization", "X"), ("BoardingPassID", "X"), ("DoseComment", "X"),
        ("LocalNamespaceEntityID", "D"), ("TrackingID", "D"), ("RTImageLabel", "D"), ("RadiationMachineName", "Z"),
        ("PatientBodyMassIndex", "X"), ("StackID", None), ("OpticalPathIdentifier", None), ("Manufacturer", None),
        ("BodyPartExamined", None), ("CodeMeaning", None), ("NumberOfFrames", None), ("ImageType", None),
    ],
)  # fmt: skip
def test_rules_are_those_of_the_standards_table_and_stricter_where_it_is_silent(attribute, rule):
    """Table E.1-1 of PS3.15; dates, persons, numbers and UIDs that it does not list go, too."""
    assert rule_of(Tag(attribute)) == rule
    assert len(TABLE) >= 650


def test_no_text_that_numbers_or_locates_someone_stays():
    """Over all of the standard's attributes, so that those of a later edition are looked at, too."""
    telling = re.compile("(ID|IDs|Identifier|Locator|Address|Owner)$|Number|Comment|Birth|Death|Physician|Person")
    stay = {
        keyword_for_tag(tag)
        for tag, (representation, *_) in DicomDictionary.items()
        if tag >> 16 > 0x0004
        and representation in ("LO", "LT", "SH", "ST", "UC", "UT", "OB")
        and rule_of(Tag(tag)) is None
    }
    assert {each for each in stay if telling.search(each)} == {
        "StackID", "OpticalPathIdentifier", "ReferencedOpticalPathIdentifier", "FiducialIdentifier",
        "CodingSchemeExternalID",
    }  # fmt: skip
