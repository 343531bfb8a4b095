"""Whole studies in one line."""

from pathlib import Path

import pytest

from vesalius.naming.studies import StudyPart, facts_of, group_studies, summarise_study
from vesalius.naming.tables import NamingResult
from vesalius.naming.telling import digest_series, print_names


def facts(modality="CT", plane="axial", slices=312, stations=("chest", "abdomen"), purpose=None, protocol=None):
    return StudyPart(Path("x"), "1.2", modality, protocol, plane, slices, stations, purpose)


LOCALIZER = facts(plane=None, slices=2, stations=("pelvis",), purpose="localizer")


@pytest.mark.parametrize(
    ("series", "line"),
    [
        (
            [facts(), facts(plane="coronal", slices=80), facts(plane="sagittal", slices=92), LOCALIZER],
            "CT of chest and abdomen, 3 series (axial 312 slices, coronal 80, sagittal 92), localizer",
        ),
        ([LOCALIZER, LOCALIZER], "CT of pelvis, 2 localizers"),
        ([facts(purpose="report"), facts(purpose="report")], "2 reports"),
        ([facts(stations=("abdomen", "head", "chest"))], "CT of head, chest and abdomen, 1 series (axial 312 slices)"),
        (
            [facts("MR", protocol="T1", slices=1), facts("CT")],
            "MR and CT of chest and abdomen, 2 series (T1 axial 1 slice, axial 312 slices)",
        ),
        ([facts(None, None, 1, ())], "images of unsure stations, 1 picture"),
        ([facts("fundus", None, 1, ())] * 9, "fundus, 9 pictures"),
        (
            [facts("X-ray", None, 1), facts(slices=9)],
            "X-ray and CT of chest and abdomen, 1 series (axial 9 slices), 1 picture",
        ),
        ([facts(slices=9)] * 8, "CT of chest and abdomen, 8 series (axial 9 slices" + ", axial 9" * 5 + " and 2 more)"),
    ],
)
def test_a_study_is_told_in_one_line(series, line):
    assert summarise_study(series) == line


def test_series_of_one_study_uid_belong_together_and_others_by_folder(labeller, make_volume, tmp_path):
    (tmp_path / "series").mkdir()
    named = [
        labeller.label(make_volume("head", source=source, header=header))
        for source, header in (
            (tmp_path / "a" / "1.dcm", {"StudyInstanceUID": "1.2"}),
            (tmp_path / "b" / "2.dcm", {"StudyInstanceUID": "1.2 "}),
            (tmp_path / "c" / "3.nii", {}),
            (tmp_path / "c" / "4.nii", {"StudyInstanceUID": ""}),
            (tmp_path / "series", {}),
        )
    ]
    studies = group_studies(map(facts_of, named))
    assert [(each.study, len(each.series)) for each in studies] == [
        ("1.2", 2), (str(tmp_path / "c"), 2), (str(tmp_path / "series"), 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "told"),
    [(("a/1.dcm", "a/b/2.dcm"), ("1.dcm", "b/2.dcm")), (("a/1.dcm", "/b/2.dcm"), ("a/1.dcm", "/b/2.dcm"))],
)
def test_series_are_told_by_their_paths_within_the_folder_they_share_if_any(
    labeller, make_volume, capsys, sources, told
):
    series = [labeller.label(make_volume("head", source=Path(source))) for source in sources]
    print_names(NamingResult(series), digest_series(series, None, audit=False))
    words = capsys.readouterr().out.split()
    assert [word for word in words if word.endswith(".dcm")] == list(told)
