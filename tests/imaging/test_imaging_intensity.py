from pathlib import Path

import numpy as np
import pytest

from vesalius.errors import ImageError
from vesalius.imaging.intensity import (
    CT_WINDOWS,
    DisplayRange,
    SigmoidRange,
    apply_window,
    asked_range,
    default_range,
    percentile_range,
    to_display_values,
    window_range,
)


def ps3_3_linear(x: float, center: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1 as printed, with ymin 0 and ymax 1."""
    if x <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if x > center - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (center - 0.5)) / (width - 1) + 0.5


@pytest.mark.parametrize("window", [*CT_WINDOWS.values(), (127.5, 256.0), (0.0, 1.0), (10.25, 2.5)])
def test_windows_follow_the_formula_of_the_standard(window):
    values = np.concatenate([np.linspace(-1100, 1500, 301), np.add(window[0], [-1.0, -0.5, 0.0, 0.5, 1.0])])
    expected = [ps3_3_linear(value, *window) for value in values]
    np.testing.assert_allclose(apply_window(values, window), expected, atol=2e-6)


def test_soft_tissue_window_agrees_with_values_computed_by_hand():
    shown = apply_window(np.array([-161, -160, 39, 40, 239, 240]), "soft tissue")
    np.testing.assert_allclose(shown, [0, 0, 199 / 399, 200 / 399, 1, 1], atol=1e-6)


def test_an_eight_bit_window_is_the_identity():
    np.testing.assert_allclose(apply_window(np.arange(256), (128, 256)), np.arange(256) / 255, atol=1e-6)


def test_windows_narrower_than_one_are_refused():
    with pytest.raises(ImageError, match="width must be 1 or more"):
        window_range((40, 0.5))


def test_an_unknown_window_names_the_closest():
    with pytest.raises(ImageError, match=r"No window named 'lungs'\. Did you mean 'lung'\?"):
        apply_window(np.zeros(1), "lungs")


def test_mr_range_leaves_out_zeros_and_half_a_percent_at_each_end():
    values = np.concatenate([np.zeros(5000), np.arange(1, 1002)])
    assert percentile_range(values) == pytest.approx((6.0, 996.0))


def test_an_empty_volume_is_black():
    assert to_display_values(np.zeros((2, 2)), percentile_range(np.zeros((2, 2)))).max() == 0


def test_a_range_without_extent_is_a_step():
    np.testing.assert_array_equal(to_display_values(np.array([4, 5, 6]), DisplayRange(5, 5)), [0, 0, 1])


@pytest.mark.parametrize(
    ("pixels", "modality", "window", "placed", "expected"),
    [
        (np.zeros((1, 2, 2, 3), np.uint16), "CT", (40, 400), True, (0, 65535)),
        (np.zeros((1, 2, 2), np.float32), "CT", (50, 101), True, (-0.5, 99.5)),
        (np.zeros((1, 2, 2), np.float32), "CT", None, True, (-160, 239)),
        (np.full((1, 2, 2), 7, np.float32), "MR", (50, 101), True, (7, 7)),
        (np.full((1, 2, 2), 7, np.float32), None, None, True, (7, 7)),
        (np.zeros((1, 2, 2), np.float32), "DX", (50, 101), False, (-0.5, 99.5)),
        (np.array([[[3, 9]]], np.uint8), None, None, False, (0, 255)),
        (np.array([[[3, 900]]], np.uint16), None, None, False, (3, 900)),
    ],
)
def test_the_usual_shades_depend_on_modality_and_type(pixels, modality, window, placed, expected):
    assert default_range(pixels, modality=modality, window=window, placed=placed) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("modality", "why"), [("MR", "and the modality is MR"), (None, "and nothing says that these values are")]
)
def test_a_window_in_hu_is_refused_for_all_else(modality, why):
    with pytest.raises(ImageError, match=f"is in HU.? {why}"):
        asked_range("lung", modality=modality, colour=False, source=Path("a.dcm"))
    lung = asked_range("lung", modality=None, colour=False, source=Path("a.dcm"), hounsfield=True)
    assert lung == DisplayRange(-1350, 149)


@pytest.mark.parametrize("window", [5, (1,), (1, 2, 3), ("a", "b"), None, (None, 1)])
def test_what_is_no_window_is_refused(window):
    for ask in (
        lambda: apply_window(np.zeros(2), window),
        lambda: asked_range(window, modality="CT", colour=False, source=Path("a.dcm")),
    ):
        with pytest.raises(ImageError, match=r"expected \(center, width\), or of CT a name such as 'lung'"):
            ask()


def test_a_window_is_refused_for_colour():
    with pytest.raises(ImageError, match="colour picture"):
        asked_range((40, 400), modality=None, colour=True, source=Path("a.png"))


@pytest.mark.parametrize("display_range", [DisplayRange(5, 5), DisplayRange(0, 1e-40), SigmoidRange(5, 5)])
def test_a_range_that_nothing_can_be_divided_by_is_a_step(display_range):
    assert to_display_values(np.array([-1.0, display_range.low, 6.0]), display_range).tolist() == [0, 0, 1]


@pytest.mark.parametrize("window", [(1e30, 400), (40, 1e30), (float("nan"), 400), (-1e31, 1)])
def test_a_window_as_large_as_markers_of_nothing_is_refused(window):
    with pytest.raises(ImageError, match="expected two finite numbers"):
        window_range(window)
