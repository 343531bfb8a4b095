import pytest

from vesalius.naming import audit_series


@pytest.fixture
def audit(labeller, make_volume):
    def audit(text, *stations, **facts):
        header = {"BodyPartExamined": text, **facts}
        return audit_series(labeller.label(make_volume(*stations, header=header), smooth=False))

    return audit


@pytest.mark.parametrize(
    ("text", "stations", "verdict"),
    [
        ("CHEST", ("chest", "chest", "abdomen"), "agrees"),
        ("HEAD", ("chest", "abdomen"), "contradicts"),
        ("CHEST", ("chest", "abdomen", "abdomen", "pelvis"), "covers a part"),
        ("CHEST", (None, None, "head"), "unsure"),
        ("", ("head",), "missing"),
        ("WB-PROT 3", ("head",), "unknown term"),
    ],
)
def test_only_what_is_sure_accuses_a_header(audit, text, stations, verdict):
    assert audit(text, *stations).verdict == verdict


def test_a_term_is_proposed_for_what_shows(audit):
    line = audit("HEAD", "abdomen", "pelvis")
    assert line.proposed == "ABDOMENPELVIS"
    assert line.header_stations == ("head",)
    assert [each.label for each in line.pixels] == ["abdomen", "pelvis"]
    assert not line.calibrated
    assert line.to_dict()["verdict"] == "contradicts"


def test_projections_are_not_judged(audit):
    assert audit("HEAD", "chest", ImageType="DERIVED\\SECONDARY\\PROJECTION IMAGE").verdict == "not judged"


def test_a_threshold_above_all_probabilities_judges_nothing(labeller, make_volume):
    series = labeller.label(make_volume("chest", header={"BodyPartExamined": "HEAD"}))
    assert audit_series(series, sure=1.01).verdict == "unsure"
