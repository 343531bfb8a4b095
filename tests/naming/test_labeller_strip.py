import numpy as np
import pytest
from PIL import Image

from vesalius.errors import ConfigError
from vesalius.naming.strip import GUTTER, WIDTH, Axis, check_strip, draw_strip, write_strip


@pytest.fixture
def strip(labeller, make_volume):
    def strip(*stations, **facts):
        volume = make_volume(*stations, **facts)
        series = labeller.label(volume)
        return series, np.asarray(draw_strip(series, [volume]))

    return strip


@pytest.mark.slow
def test_a_series_becomes_one_picture(strip):
    _, drawn = strip("abdomen", "abdomen", "chest", "chest")
    assert drawn.shape[1] > WIDTH
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 20


def test_what_is_named_is_drawn_where_it_is(strip):
    _, first = strip("chest", "chest", "head", "head")
    _, other = strip("chest", "chest", "chest", "chest")
    half = GUTTER + Axis(4).width // 2
    assert not np.array_equal(first[:, half + 40 :], other[:, half + 40 :])


@pytest.mark.parametrize("count", [1, 3, 120])
def test_any_number_of_slices_can_be_drawn(strip, count):
    series, drawn = strip(*["head"] * count)
    assert drawn.min() == 0
    assert series.facts[-1] == ("1 slice" if count == 1 else f"{count} slices")


def test_pictures_without_a_place_can_be_drawn(strip):
    strip("head", "head", affine=None, plane=None)


def test_all_stacks_of_a_localizer_are_drawn(labeller, make_volume, tmp_path):
    header = {"ImageType": "LOCALIZER"}
    stacks = [make_volume("head", plane=plane, header=header) for plane in ("axial", "sagittal")]
    series = labeller.label(stacks)
    assert "2 stacks: axial, sagittal" in series.facts
    assert "localizer" in series.summary
    write_strip(tmp_path / "strip.png", series, stacks)
    with Image.open(tmp_path / "strip.png") as drawn:
        assert drawn.width > WIDTH


def test_axis_fills_its_width():
    axis = Axis(7)
    assert (axis.left(0), axis.left(7)) == (GUTTER, GUTTER + axis.width)


def test_a_format_that_is_no_picture_is_refused_early(tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.png"):
        check_strip(tmp_path / "strip.txt")
