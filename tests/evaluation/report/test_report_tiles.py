import io
from itertools import combinations

import numpy as np
from PIL import Image

from vesalius.evaluation.report.gallery import DIMMED, ERROR_COLOURS, OPAQUE, SIDE, TILES, draw_tiles


def open_tile(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), np.float32)


def quarters() -> tuple[np.ndarray, np.ndarray]:
    """A truth of the upper half, a prediction of the left half."""
    truth, found = np.zeros((2, 64, 64), bool)
    truth[:32] = True
    found[:, :32] = True
    return truth, found


def test_each_kind_of_error_has_its_colour():
    tile = open_tile(draw_tiles(np.full((64, 64, 3), 0.5, np.float32), *quarters())["errors"])
    grey = 0.5 * 255 * DIMMED
    places = {"both": (16, 16), "only predicted": (48, 16), "missed": (16, 48)}
    for kind, place in places.items():
        expected = grey * (1 - OPAQUE) + np.array(ERROR_COLOURS[kind]) * OPAQUE
        np.testing.assert_allclose(tile[place], expected, atol=6)  # JPEG
    np.testing.assert_allclose(tile[48, 48], grey, atol=6)


def test_errors_differ_in_lightness_for_grey_printers():
    grey = [np.dot(colour, (0.299, 0.587, 0.114)) for colour in ERROR_COLOURS.values()]
    assert min(abs(one - other) for one, other in combinations([*grey, 255 * DIMMED / 2], 2)) > 30


def test_the_first_tile_is_the_image_and_the_others_are_drawn_on():
    tiles = draw_tiles(np.full((64, 64, 3), 0.5, np.float32), *quarters())
    assert tuple(tiles) == TILES
    assert np.ptp(open_tile(tiles["image"])) < 3
    assert all(np.ptp(open_tile(tiles[name])) > 50 for name in ("truth", "prediction"))


def test_large_images_are_scaled_down_and_small_ones_are_left():
    def size(shape):
        tiles = draw_tiles(np.zeros((*shape, 3), np.float32), np.zeros(shape, bool), np.ones(shape, bool))
        return {open_tile(tile).shape[:2] for tile in tiles.values()}

    assert size((2000, 1000)) == {(SIDE, SIDE // 2)}
    assert size((30, 20)) == {(30, 20)}
    assert size((3, 2000)) == {(1, SIDE)}
