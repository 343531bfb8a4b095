import json

from vesalius.naming.coding import code_series
from vesalius.naming.names import find_ranges


def test_neighbouring_slices_of_a_station_form_a_range(labeller, make_volume):
    slices = labeller.label(make_volume("head", "chest", "head"), smooth=False).slices
    ranges = find_ranges(slices, [True, False, True], "head")
    assert [(each.first, each.last, each.first_mm) for each in ranges] == [(0, 0, 0.0), (2, 2, 40.0)]
    assert ranges[0].probability > 0.9


def test_all_that_is_named_is_ready_for_json(labeller, make_volume):
    header = {"BodyPartExamined": "CHEST", "Manufacturer": "X"}
    named = labeller.label(make_volume("abdomen", "chest", header=header))
    content = json.loads(json.dumps(named.to_dict()))
    assert [each["label"] for each in content["stations"]] == ["abdomen", "chest"]
    assert content["codes"]["body_part"] == "CHESTABDOMEN"
    assert content["header"] == {"BodyPartExamined": "CHEST"}
    assert content["slices"][0]["organs"] == ["liver"]


def test_codes_say_what_a_series_shows():
    codes = code_series({"abdomen", "chest"}, {"liver"}, "axial")
    assert codes.body_part == "CHESTABDOMEN"
    assert [each.value for each in codes.ihe_regions] == ["67734004", "63337009"]
    assert codes.sct["liver"][0].value == "10200004"
    assert codes.sct["axial"][0].value == "24422004"


def test_stations_without_a_common_term_have_none():
    codes = code_series({"head", "abdomen"}, (), None)
    assert (codes.body_part, codes.region) == (None, None)
    assert code_series((), (), None).ihe_regions == ()
