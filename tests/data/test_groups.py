import pytest

from vesalius.data.groups import compile_group_regex, find_group
from vesalius.errors import ConfigError


@pytest.mark.parametrize(
    ("expression", "name", "group"),
    [
        ("^[a-z]+", "ann_1.png", "ann"),
        ("^([a-z]+)_", "ann_1.png", "ann"),
        ("p(\\d+)|case", "case.png", "case"),
        ("^x", "ann_1.png", None),
    ],
)
def test_the_first_bracket_names_the_group_and_without_one_the_match(expression, name, group):
    assert find_group(compile_group_regex(expression), name) == group


def test_what_is_no_expression_is_refused():
    with pytest.raises(ConfigError, match=r"--group-regex: '\(' is no regular expression"):
        compile_group_regex("(")
