import itertools

import numpy as np
import pytest

from vesalius.imaging.orientation import (
    DISPLAY_SIGNS,
    WORLD_AXES,
    nearest_plane,
    places_volume,
    plane_of,
    slice_normal,
    to_display_order,
    voxel_spacing,
    world_axes,
)

PLANES = ("axial", "coronal", "sagittal")


def every_signed_permutation():
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = 0
            for voxel_axis, (world, sign) in enumerate(zip(axes, signs, strict=True)):
                affine[world, voxel_axis] = sign * (voxel_axis + 1)
            affine[:3, 3] = (5, -7, 11)
            yield affine


def tilted(degrees: float) -> np.ndarray:
    """Axial slices turned about the left-right axis, array order (slices, rows, columns)."""
    angle = np.radians(degrees)
    affine = np.eye(4)
    affine[:3, 0] = (0, -np.sin(angle), np.cos(angle))
    affine[:3, 1] = (0, -np.cos(angle), -np.sin(angle))
    affine[:3, 2] = (-1, 0, 0)
    return affine


@pytest.mark.parametrize("plane", PLANES)
def test_display_order_moves_voxels_but_not_their_place_in_the_patient(plane):
    values = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for affine in every_signed_permutation():
        shown, placed = to_display_order(values, affine, plane)
        for index in np.ndindex(*shown.shape):
            old = np.argwhere(values == shown[index])[0]
            np.testing.assert_allclose(placed @ [*index, 1], affine @ [*old, 1])


@pytest.mark.parametrize("plane", PLANES)
def test_display_order_makes_world_axes_run_the_radiological_way(plane):
    for affine in every_signed_permutation():
        _, placed = to_display_order(np.zeros((2, 3, 4)), affine, plane)
        assert world_axes(placed) == WORLD_AXES[plane]
        signs = [np.sign(placed[world, axis]) for axis, world in enumerate(WORLD_AXES[plane])]
        assert tuple(signs) == DISPLAY_SIGNS


def test_display_order_keeps_colour_channels_last():
    shown, _ = to_display_order(np.zeros((2, 4, 5, 3)), np.eye(4), "axial")
    assert shown.shape == (5, 4, 2, 3)


@pytest.mark.parametrize(
    ("degrees", "plane", "nearest"),
    [(0, "axial", "axial"), (36, "axial", "axial"), (38, "oblique", "axial"), (52, "oblique", "coronal")],
)
def test_a_plane_is_oblique_beyond_36_9_degrees(degrees, plane, nearest):
    assert plane_of(tilted(degrees)) == plane
    assert nearest_plane(tilted(degrees)) == nearest


def test_slice_normal_points_where_the_world_coordinate_grows():
    for affine in every_signed_permutation():
        normal = slice_normal(affine)
        assert normal[np.abs(normal).argmax()] == pytest.approx(1)


def test_spacing_is_the_length_of_each_voxel_axis():
    assert voxel_spacing(np.diag([3.0, -0.5, 2.0, 1.0])) == (3.0, 0.5, 2.0)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [(0, 1.0, True), (0, 0.0, False), (0, 1e-7, False), (0, 1e7, False), (3, 1e7, False), (3, np.nan, False)],
)
def test_only_numbers_that_a_scanner_may_give_place_a_volume(column, value, expected):
    affine = np.eye(4)
    affine[0, column] = value
    assert places_volume(affine) is expected


def test_axes_that_lie_almost_in_one_plane_place_no_volume():
    affine = np.eye(4)
    affine[:3, 2] = (1, 1, 1e-4)
    assert not places_volume(affine)
    assert not places_volume(np.eye(3))
