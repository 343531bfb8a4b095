import pytest
from tiny_body import write_meta

from vesalius.data.prepare.splitting import SplitConfig
from vesalius.data.slices import SeriesDescription, find_volumes
from vesalius.data.slices.series_table import SliceRange
from vesalius.data.slices.sources import Subject, assign_split, check_splits
from vesalius.errors import DataError


def test_subjects_are_found_with_the_authors_splits(write_subject):
    source = write_subject()
    write_subject("s0002")
    write_meta(source, "s0001;60;train", "s0002;61;test")
    volumes = find_volumes(source)
    assert [(each.name, each.subject.split, each.modality) for each in volumes] == [
        ("s0001", "train", "CT"),
        ("s0002", "test", "CT"),
    ]
    assert not volumes[0].predicted


def test_one_subject_alone_and_a_label_map_are_found(write_subject, write_label_map):
    assert [each.name for each in find_volumes(write_subject() / "s0001")] == ["s0001"]
    mapped = find_volumes(write_label_map())
    assert [each.name for each in mapped] == ["mapped"]
    assert mapped[0].predicted


def test_folders_that_the_table_lacks_are_told_and_a_table_of_none_is_refused(write_subject):
    source = write_subject()
    write_subject("s0002")
    write_meta(source, "s0001;60;test", "s0003;60;test")
    with pytest.warns(UserWarning, match=r"meta\.csv: has no row for 1 of 2 folders \(s0002\)"):
        volumes = find_volumes(source)
    assert [each.subject for each in volumes] == [Subject("s0001", "test"), Subject("s0002")]
    write_meta(source, "S0001;60;test", "S0002;60;test")
    with pytest.raises(DataError, match=r"2 of 2 folders \(s0001, s0002\); its image_id are such as S0001, S0002"):
        find_volumes(source)


def test_images_of_a_patient_share_the_row_that_names_them(write_subject):
    source = write_subject()
    write_meta(source, "s0001;p7;val", head="image_id;patient_id;split")
    assert find_volumes(source)[0].subject == Subject("p7", "val")


def test_a_patient_without_a_split_gets_one_that_the_seed_decides():
    config = SplitConfig(val=0.2, test=0.2)
    subjects = [Subject(f"s{number:04d}") for number in range(1000)]
    splits = [assign_split(each, config) for each in subjects]
    assert splits == [assign_split(each, config) for each in subjects]
    assert all(170 < splits.count(split) < 230 for split in ("val", "test"))
    assert splits != [assign_split(each, SplitConfig(val=0.2, test=0.2, seed=1)) for each in subjects]


def test_a_patient_is_never_in_two_splits():
    config = SplitConfig()
    check_splits({"a": Subject("p", "train"), "b": Subject("p", "train"), "c": Subject("q", "test")}, config)
    with pytest.raises(DataError, match=r"patient p is in two splits: train \(a\) and test \(b\)"):
        check_splits({"a": Subject("p", "train"), "b": Subject("p", "test")}, config)


def test_a_damaged_table_is_named_with_its_line(write_subject):
    source = write_subject()
    write_meta(source, "s0001;1;train", "s0002;1;holdout")
    with pytest.raises(DataError, match=r"meta\.csv, line 3: unknown split 'holdout'"):
        find_volumes(source)
    write_meta(source, "x", head="name")
    with pytest.raises(DataError, match="has no column image_id; it has name"):
        find_volumes(source)


def test_a_table_of_series_says_what_they_show(tmp_path):
    (tmp_path / "series.toml").write_text(
        """
        [[series]]
        path = "knee/T1"
        patient = "k1"
        split = "val"
        organs = ["knee"]
        stations = ["lower body"]
        [[series]]
        path = "trunk.nii.gz"
        modality = "MR"
        protocol = "T2"
        stations = [{ name = "pelvis", first = 0, last = 9 }, { name = "abdomen", first = 8 }]
        """
    )
    knee, trunk = find_volumes(tmp_path / "series.toml")
    assert (knee.name, knee.image, knee.subject) == ("T1", tmp_path / "knee/T1", Subject("k1", "val"))
    assert knee.description == SeriesDescription(None, None, (SliceRange("lower body"),), (SliceRange("knee"),))
    assert trunk.description.stations == (SliceRange("pelvis", 0, 9), SliceRange("abdomen", 8, None))
    assert trunk.subject == Subject("trunk")


def test_names_keep_the_dots_that_are_no_suffix(tmp_path):
    for uid in ("1.2.840.1", "1.2.840.2"):
        (tmp_path / uid).mkdir()
    paths = ("1.2.840.1", "1.2.840.2", "case.001.nii.gz", "case.002.nii.gz")
    (tmp_path / "series.toml").write_text("".join(f"[[series]]\npath = '{path}'\n" for path in paths))
    volumes = find_volumes(tmp_path / "series.toml")
    assert [each.name for each in volumes] == ["1.2.840.1", "1.2.840.2", "case.001", "case.002"]
    assert [each.subject.patient for each in volumes] == [each.name for each in volumes]
    assert find_volumes(tmp_path / "1.2.840.1", SeriesDescription())[0].name == "1.2.840.1"


WRONG = {
    "no TOML": ("[[series", "is not TOML"),
    "no series": ("a = 1", r"has no \[\[series\]\]"),
    "no path": ("[[series]]\nname = 'a'", 'series 1: expected path = "…"'),
    "an unknown field": ("[[series]]\npath = 'a'\norgan = ['knee']", "Did you mean 'organs'"),
    "an unknown organ": ("[[series]]\npath = 'a'\norgans = ['nee']", "Did you mean 'knee'"),
    "organs in a string": ("[[series]]\npath = 'a'\norgans = 'knee'", "organs must be a list of names or tables"),
    "stations in a string": ("[[series]]\npath = 'a'\nstations = 'head'", "stations must be a list"),
    "a number for a station": ("[[series]]\npath = 'a'\nstations = [1]", "stations are names or tables"),
    "a negative slice": (
        "[[series]]\npath = 'a'\nstations = [{name = 'head', first = -1}]",
        "numbers of slices from 0",
    ),
    "a range that ends before it begins": (
        "[[series]]\npath = 'a'\norgans = [{name = 'liver', first = 9, last = 8}]",
        "liver begins at slice 9 and ends before, at 8",
    ),
    "a modality that is no text": ("[[series]]\npath = 'a'\nmodality = 5", "modality must be a name in quotes, got 5"),
    "a protocol that is no text": ("[[series]]\npath = 'a'\nprotocol = ['T1']", "protocol must be a name in quotes"),
    "an unknown split": ("[[series]]\npath = 'a'\nsplit = 'x'", "series 1: unknown split 'x'"),
    "two of one name": ("[[series]]\npath = 'a'\n[[series]]\npath = 'b/a'", "two series are called 'a'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_table_of_series_is_told_with_its_row(tmp_path, case):
    text, message = WRONG[case]
    (tmp_path / "series.toml").write_text(text)
    with pytest.raises(DataError, match=message):
        find_volumes(tmp_path / "series.toml")


def test_a_source_without_outlines_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match="holds nothing with outlines; expected subjects such as"):
        find_volumes(tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        find_volumes(tmp_path / "none")
