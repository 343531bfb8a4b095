import random

import pytest

from vesalius.errors import PromptError
from vesalius.prompts import sort_families, variants


def test_a_family_is_one_string_or_several():
    prompts = {"p0": "", "p1": "polyp", "p2": ["round polyp", "oval polyp"]}
    assert variants(prompts, "p0") == ("",)
    assert variants(prompts, "p1") == ("polyp",)
    assert variants(prompts, "p2") == ("round polyp", "oval polyp")


def test_a_missing_family_says_which_there_are():
    with pytest.raises(PromptError, match=r"prompts lack 'p7'; available: p0, p1, p10\."):
        variants({"p10": "c", "p0": "", "p1": "a"}, "p7")


def test_families_are_in_the_benchmarks_order_whatever_order_they_came_in():
    expected = [*(f"p{number}" for number in range(12)), "a_custom_one", "custom", "p", "px"]
    mixed = expected.copy()
    random.Random(0).shuffle(mixed)
    assert sort_families(mixed) == expected
    assert sort_families(dict.fromkeys(mixed, "")) == expected
