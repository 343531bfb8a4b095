import json

import numpy as np
import pytest

from vesalius.evaluation.naming.encoding import measure_sensitivity, read_wordings
from vesalius.prompts.anatomy import STATIONS


def test_there_are_ten_different_wordings_or_more_each_with_a_place_for_the_label():
    wordings = read_wordings()
    assert len(set(wordings)) == len(wordings) >= 10
    assert all(wording.count("{label}") == 1 for wording in wordings)
    assert all("{" not in wording.format(label="liver") for wording in wordings)


def test_the_spread_is_that_of_single_wordings(build_tiny, make_slices):
    model = build_tiny("clip_vit_b32")
    found = measure_sensitivity(model, make_slices(), "stations", STATIONS, np.ones(len(STATIONS), bool))
    values = [each["top1"] for each in found.wordings.values()]
    assert len(values) == len(read_wordings())
    assert found.spread["top1"].mean == pytest.approx(np.mean(values))
    assert found.spread["top1"].sd == pytest.approx(np.std(values, ddof=1))
    assert (found.spread["top1"].lowest, found.spread["top1"].highest) == (min(values), max(values))
    json.dumps(found.to_dict(), allow_nan=False)


def test_without_labels_that_count_there_is_no_area(build_tiny, make_slices):
    model = build_tiny("clip_vit_b32")
    found = measure_sensitivity(model, make_slices(), "stations", STATIONS, np.zeros(len(STATIONS), bool))
    assert found.spread["auroc"] is None
