import pytest

from vesalius.naming import AuditRule, audit_series
from vesalius.naming.audit import margin_of

RULE = AuditRule(
    agrees=0.2, contradicts=-0.5, least_slices=2, patients=32,
    wrongly_agrees=0.05, wrongly_contradicts=0.05, found_right=0.7, found_wrong=0.3,
)  # fmt: skip


@pytest.fixture
def audit(labeller, make_volume):
    def audit(text, *stations, rule=RULE, **facts):
        header = {"BodyPartExamined": text, **facts}
        return audit_series(labeller.label(make_volume(*stations, header=header), smooth=False), rule)

    return audit


@pytest.mark.parametrize(
    ("text", "stations", "verdict"),
    [
        ("CHEST", ("chest", "chest", "abdomen"), "agrees"),
        ("HEAD", ("chest", "abdomen"), "contradicts"),
        ("CHEST", ("chest", "abdomen", "abdomen", "pelvis"), "covers a part"),
        ("CHEST", (None, None, "head"), "unsure"),
        ("", ("head", "head"), "missing"),
        ("WB-PROT 3", ("head", "head"), "unknown term"),
        ("HEAD", ("chest",), "not judged"),
    ],
)
def test_a_header_is_judged_by_how_much_likelier_its_stations_are(audit, text, stations, verdict):
    assert audit(text, *stations).verdict == verdict


@pytest.mark.parametrize(
    ("text", "stations", "facts", "reason"),
    [
        ("CHEST", (None, None, "head"), {}, "lies between -0.50, which contradicts, and 0.20, which agrees"),
        ("", ("head", "head"), {}, "empty or absent"),
        ("WB-PROT 3", ("head", "head"), {}, "no defined term"),
        ("HEAD", ("chest",), {}, "1 slices, and the thresholds hold for series of 2 or more"),
        ("HEAD", ("chest", "chest"), {"rule": None}, "hold no audit thresholds"),
        ("HEAD", ("chest", "chest"), {"ImageType": "DERIVED\\SECONDARY\\PROJECTION IMAGE"}, "a projection shows no"),
        ("CHEST", ("chest", "abdomen", "abdomen", "pelvis"), {}, "1 of 4 slices are named as chest"),
    ],
)
def test_what_is_undecided_says_why(audit, text, stations, facts, reason):
    assert reason in audit(text, *stations, **facts).reason


def test_the_thresholds_decide(audit):
    strict = AuditRule(1.0, -1.0, 1, 32, 0.0, 0.0, 0.0, 0.0)
    assert audit("CHEST", "chest", "chest", "abdomen", rule=strict).verdict == "covers a part"
    assert audit("HEAD", "chest", "abdomen", rule=strict).verdict == "unsure"


def test_the_margin_compares_the_header_with_everything_else(labeller, make_volume):
    series = labeller.label(make_volume("chest", "chest", "abdomen", "head"), smooth=False)
    assert margin_of(series, frozenset({"chest"})) == pytest.approx(0, abs=0.01)
    assert margin_of(series, frozenset({"chest", "abdomen", "head"})) == pytest.approx(1, abs=0.01)
    assert margin_of(series, frozenset({"pelvis"})) == pytest.approx(-1, abs=0.01)


def test_a_term_is_proposed_only_where_it_would_agree(audit):
    line = audit("HEAD", "abdomen", "pelvis")
    assert line.proposed == "ABDOMENPELVIS"
    assert line.header_stations == ("head",)
    assert [each.label for each in line.pixels] == ["abdomen", "pelvis"]
    assert not line.calibrated
    assert line.to_dict()["verdict"] == "contradicts"
    assert audit("HEAD", "abdomen", *[None] * 9).proposed is None
    assert audit("HEAD", "abdomen", "pelvis", rule=None).proposed is None
