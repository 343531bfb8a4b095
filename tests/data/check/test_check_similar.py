import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from vesalius.data.check import similar
from vesalius.data.check.similar import (
    ORIENTATIONS,
    SimilarPair,
    count_comparisons,
    find_similar,
    join_pairs,
    reorient,
    signature,
)


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sum(signature(one) * signature(other)))


def jpeg(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=30)
    return Image.open(buffer)


CHANGES = {
    "JPEG": jpeg,
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "brighter": lambda picture: picture.point(lambda value: min(255, int(1.3 * value))),
    "less contrast": lambda picture: picture.point(lambda value: 60 + value // 2),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
    "grey": lambda picture: picture.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_keeps_its_signature(draw, change):
    picture = Image.fromarray((draw(1) * 255).astype(np.uint8)).resize((240, 180))
    assert similarity(np.asarray(picture), np.asarray(CHANGES[change](picture))) > 0.95


def test_other_pictures_have_other_signatures(draw):
    pictures = [(draw(seed) * 255).astype(np.uint8) for seed in range(12)]
    others = [similarity(a, b) for index, a in enumerate(pictures) for b in pictures[:index]]
    assert max(others) < 0.6


def test_a_signature_has_length_one_and_a_blank_picture_none(draw):
    assert np.linalg.norm(signature((draw(1) * 255).astype(np.uint8))) == pytest.approx(1, abs=1e-5)
    assert not signature(np.full((5, 7), 9, np.uint8)).any()


def test_a_picture_of_one_pixel_has_a_signature():
    assert signature(np.zeros((1, 1, 3), np.uint8)).shape == (24, 24)


def random_signatures(count: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(count, 24, 24)).astype(np.float32)
    return values / np.linalg.norm(values, axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("way", range(8), ids=ORIENTATIONS)
def test_a_copy_is_found_however_it_lies_and_can_be_laid_back(draw, way):
    one = (draw(1) * 255).astype(np.uint8)[:60, :60]
    other = np.ascontiguousarray(np.moveaxis([reorient(channel, way) for channel in np.moveaxis(one, 2, 0)], 0, 2))
    (pair,) = find_similar(np.stack([signature(one), signature(other)]), 0.9)
    assert pair.similarity > 0.999
    assert np.array_equal(reorient(other[..., 0], pair.orientation), one[..., 0])


def test_orientations_are_called_what_they_are():
    picture = np.arange(12).reshape(3, 4)
    turned = {"turned by 180°": np.rot90(picture, 2), "turned by 90° to the left": np.rot90(picture)}
    mirrored = {"mirrored left to right": np.fliplr(picture), "mirrored top to bottom": np.flipud(picture)}
    for name, other in (turned | mirrored).items():
        assert np.array_equal(reorient(other, ORIENTATIONS.index(name)), picture)


def test_all_pairs_are_found_as_by_comparing_one_by_one(monkeypatch):
    signatures = random_signatures(23)
    signatures[20] = 0.8 * signatures[3] + 0.6 * signatures[4]
    monkeypatch.setattr(similar, "BLOCK", 5)
    found = {(pair.first, pair.second) for pair in find_similar(signatures, 0.5)}
    flat = signatures.reshape(23, -1)
    expected = {(i, j) for i, j in np.argwhere(np.triu(flat @ flat.T, 1) >= 0.5).tolist()}
    assert found == expected == {(3, 20), (4, 20)}


def test_progress_adds_up(monkeypatch):
    monkeypatch.setattr(similar, "BLOCK", 4)
    done: list[int] = []
    list(find_similar(random_signatures(11), 0.9, done.append))
    assert sum(done) == count_comparisons(11)


def test_nothing_and_one_picture_have_no_pairs():
    assert list(find_similar(random_signatures(0), 0.9)) == []
    assert list(find_similar(random_signatures(1), 0.9)) == []


def test_a_pair_says_how_alike_it_is():
    signatures = random_signatures(2)
    signatures[1] = signatures[0]
    assert list(find_similar(signatures, 0.9)) == [SimilarPair(0, 1, pytest.approx(1, abs=1e-5), 0)]


def test_a_chain_of_pairs_is_one_group():
    chain = [SimilarPair(5, 6, 0.9), SimilarPair(0, 9, 1.0), SimilarPair(4, 5, 0.9), SimilarPair(6, 8, 0.9)]
    groups = join_pairs(chain)
    assert [[(pair.first, pair.second) for pair in group] for group in groups] == [[(0, 9)], [(4, 5), (5, 6), (6, 8)]]


def test_no_pairs_are_no_groups():
    assert join_pairs([]) == []
