from dataclasses import replace

import pytest

from vesalius.models.checkpoint_file import EMBEDDED, read_notes
from vesalius.naming import AuditRule, NamingCalibration, audit_series
from vesalius.naming.audit import margin_of, tell_audit

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


@pytest.mark.parametrize(
    ("text", "stations", "rate"),
    [
        ("HEAD", ("chest", "abdomen"), "wrong in about 1 of 7 such findings (32 held-out people"),
        ("CHEST", ("chest", "chest"), "wrong in about 1 of 15 such findings (32 held-out people"),
        ("CHEST", ("chest", "abdomen", "abdomen", "pelvis"), ""),
        ("", ("head", "head"), ""),
    ],
)
def test_a_finding_says_how_often_its_like_are_wrong(audit, text, stations, rate):
    line = audit(text, *stations)
    assert line.error_rate.startswith(rate)
    assert (line.wrong_share is None) == (rate == "")


def test_error_rates_come_from_the_notes_of_the_model(audit):
    never = replace(RULE, wrongly_contradicts=0.0, patients=7)
    assert audit("HEAD", "chest", "chest", rule=never).error_rate == (
        "wrong in none of such findings (7 held-out people, half of the headers wrong)"
    )
    unmeasured = replace(never, found_wrong=0.0)
    assert audit("HEAD", "chest", "chest", rule=unmeasured).error_rate == ""


def test_of_many_headers_it_is_told_how_many_contradictions_chance_explains(audit):
    lines = [audit("HEAD", "chest", "chest")] + [audit("CHEST", "chest", "chest")] * 39 + [audit("", "head", "head")]
    counted, chance = tell_audit(lines, RULE)
    assert counted == "Headers: agrees: 39, contradicts: 1, missing: 1."
    assert "if all 40 judged headers were right, about 2.0 would be, and 1 are." in chance


def test_blank_slices_take_no_part(audit):
    assert audit("CHEST", "chest", "chest", *["blank"] * 9).margin == audit("CHEST", "chest", "chest").margin
    line = audit("CHEST", "blank", "blank", "blank")
    assert (line.verdict, line.reason) == (
        "not judged", "0 slices, and the thresholds hold for series of 2 or more",
    )  # fmt: skip


def test_the_embedded_model_has_thresholds_with_how_often_they_are_wrong():
    rule = NamingCalibration.from_notes(read_notes(EMBEDDED["pocket"]), "pocket").audit
    assert rule is not None
    assert rule.patients >= 20
    assert 0 < rule.wrongly_contradicts < 0.1
