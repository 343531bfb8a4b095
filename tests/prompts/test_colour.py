import colorsys

import pytest

from vesalius.prompts.attributes import BENCHMARK, COLOURS, PLAIN, name_colour


@pytest.mark.parametrize(
    ("rgb", "word"),
    [
        ((0, 0, 0), "black"),
        ((0.1, 0.05, 0.05), "black"),
        ((1, 1, 1), "white"),
        ((0.5, 0.5, 0.5), "gray"),
        ((1, 0, 0), "red"),
        ((0.8, 0.1, 0.2), "red"),
        ((1, 0.5, 0), "orange"),
        ((1, 0.95, 0.1), "yellow"),
        ((0, 0.8, 0), "green"),
        ((0.1, 0.2, 1), "blue"),
        ((0.5, 0, 1), "purple"),
        ((1, 0.2, 0.6), "pink"),
        ((0.95, 0.7, 0.7), "pink"),
        ((0.4, 0.2, 0.05), "brown"),
    ],
)
def test_plain_rules_name_colours_as_people_do(rgb, word):
    assert name_colour(rgb, PLAIN) == word


@pytest.mark.parametrize("rules", [PLAIN, BENCHMARK])
def test_every_colour_has_a_word_of_the_vocabulary(rules):
    steps = [step / 12 for step in range(13)]
    words = {name_colour(colorsys.hsv_to_rgb(h, s, v), rules) for h in steps for s in steps for v in steps}
    assert words <= set(COLOURS)


def test_plain_rules_use_every_word():
    steps = [step / 30 for step in range(31)]
    words = {name_colour(colorsys.hsv_to_rgb(h, s, v), PLAIN) for h in steps for s in steps for v in steps}
    assert words == set(COLOURS)
