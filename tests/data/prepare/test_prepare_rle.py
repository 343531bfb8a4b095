import numpy as np
import pytest

from vesalius.data.prepare.originals import decode_rle
from vesalius.errors import DataError


def encode(mask: np.ndarray) -> str:
    """COCO's packed text, written from its description: the other way round than the decoder."""
    flat = mask.flatten(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    text = ""
    for index, run in enumerate(runs):
        number = run - runs[index - 2] if index > 2 else run
        while True:
            low, number = number & 31, number >> 5
            done = number == (-1 if low & 16 else 0)
            text += chr(48 + low + (0 if done else 32))
            if done:
                break
    return text


@pytest.mark.parametrize("seed", range(5))
def test_what_was_packed_is_unpacked(seed):
    rng = np.random.default_rng(seed)
    mask = np.repeat(rng.random((37, 53)) < 0.3, rng.integers(1, 40), axis=0)
    np.testing.assert_array_equal(decode_rle(encode(mask), mask.shape), mask)


def test_an_empty_mask_is_one_run():
    # Of CheXlocalize: 2320 × 2828 pixels without a finding.
    assert not decode_rle("PVWX6", [2320, 2828]).any()


def test_plain_runs_go_down_the_columns():
    assert decode_rle([2, 3, 1], [3, 2]).astype(int).tolist() == [[0, 1], [0, 1], [1, 0]]
    assert decode_rle([0, 4], [2, 2]).all()


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [
        ("PVWX6", [10, 10], "sum up to 6560960, expected 10 × 10 = 100"),
        ([5, -1], [2, 2], "sum up to 4"),
        ("ab cd", [2, 2], "which COCO's packed text cannot"),
        ("o" * 40, [2, 2], "which COCO's packed text cannot"),
        ([4], [2, 2, 1], "expected the size"),
        ([4], [10**6, 10**6], "expected the size"),
        ([], [2, 2], "sum up to 0"),
    ],
)
def test_runs_that_fill_no_picture_are_refused(counts, size, message):
    with pytest.raises(DataError, match=message):
        decode_rle(counts, size)
