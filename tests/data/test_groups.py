import pytest

from vesalius.data.annotations import compile_group_regex, find_group
from vesalius.errors import ConfigError


@pytest.mark.parametrize(
    ("expression", "name", "group"),
    [
        ("^[a-z]+", "ann_1.png", "ann"),
        ("^([a-z]+)_", "ann_1.png", "ann"),
        ("^x", "ann_1.png", None),
    ],
)
def test_the_first_bracket_names_the_group_and_without_one_the_match(expression, name, group):
    assert find_group(compile_group_regex(expression), name) == group


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (r"(patient\d+)?_img", "first bracket matches nothing"),
        (r"p(\d+)|x_img", "first bracket matches nothing"),
        (r"^(\d*)", "first bracket matches nothing"),
        (r"\d*", "matches no letter"),
    ],
)
def test_an_expression_that_fits_and_names_nothing_is_refused(expression, reason):
    with pytest.raises(ConfigError, match=f"fits 'x_img.png', but .*{reason}.*must match the patient"):
        find_group(compile_group_regex(expression), "x_img.png")


def test_what_is_no_expression_is_refused():
    with pytest.raises(ConfigError, match=r"--group-regex: '\(' is no regular expression"):
        compile_group_regex("(")
