import pytest

from vesalius.errors import ConfigError
from vesalius.evaluation.rows import name_clusters


def test_without_an_expression_every_image_stands_for_itself():
    assert name_clusters(["a.png", "b.png"], None) == ["a.png", "b.png"]


def test_the_first_bracket_names_the_cluster_else_the_whole_match():
    images = ["patient1_view2.png", "patient1_view3.png", "patient2_view1.png"]
    assert name_clusters(images, r"patient(\d+)_view(\d)") == ["1", "1", "2"]
    assert name_clusters(images, r"patient\d+") == ["patient1", "patient1", "patient2"]


@pytest.mark.parametrize(
    ("regex", "message"),
    [("(", r"--group-regex: '\(' is no regular expression"), (r"^a", r"1 of 2 are not matched, the first is 'b\.png'")],
)
def test_an_expression_that_does_not_fit_is_refused(regex, message):
    with pytest.raises(ConfigError, match=message):
        name_clusters(["a.png", "b.png"], regex)
