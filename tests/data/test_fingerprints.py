import io

import numpy as np
import pytest
from PIL import Image

from vesalius.data.fingerprints import (
    BITS,
    BYTES,
    NEAR,
    Fingerprints,
    find_seen,
    fingerprint,
    fingerprints_path,
    read_fingerprints,
    take_fingerprints,
    write_fingerprints,
)
from vesalius.errors import DataError


def picture(number: int) -> Image.Image:
    """Smooth shapes, different for every number."""
    coarse = np.random.default_rng(number).integers(0, 256, (9, 11, 3), np.uint8)
    return Image.fromarray(coarse).resize((220, 180), Image.Resampling.BICUBIC)


def save(root, *pictures):
    (root / "images").mkdir(exist_ok=True)
    names = [f"{number}.png" for number in range(len(pictures))]
    for name, each in zip(names, pictures, strict=True):
        each.save(root / "images" / name)
    return names


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Of ten pictures."""
    root = tmp_path_factory.mktemp("trained")
    names = save(root, *map(picture, range(10)))
    return Fingerprints(take_fingerprints([root / "images" / name for name in names]), complete=True)


CHANGES = {
    "none": lambda image: image,
    "half the size": lambda image: image.resize((110, 90)),
    "another shape": lambda image: image.resize((224, 224)),
    "JPEG": jpeg,
    "darker": lambda image: image.point(lambda value: int(value * 0.7)),
    "grey": lambda image: image.convert("L"),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_recognised_and_other_pictures_are_not(tmp_path, known, change):
    names = save(tmp_path, *(CHANGES[change](picture(number)) for number in (3, 7)), picture(50), picture(51))
    seen = find_seen(tmp_path, names, known)
    assert seen.names == ("0.png", "1.png")
    assert str(seen) == "2 of 4 images"


def test_pictures_that_differ_are_far_apart():
    bits = [np.unpackbits(fingerprint(np.asarray(picture(number)))[0], count=BITS) for number in range(40)]
    apart = [int((one != other).sum()) for place, one in enumerate(bits) for other in bits[:place]]
    assert min(apart) > NEAR


def test_a_picture_of_one_shade_is_no_picture(tmp_path, known):
    names = save(tmp_path, Image.new("RGB", (20, 20)))
    assert fingerprint(np.zeros((20, 20), np.uint8)) is None
    assert take_fingerprints([tmp_path / "images" / name for name in names]).shape == (0, BYTES)
    assert find_seen(tmp_path, names, known).names == ()


def test_repeated_images_count_once_and_progress_is_told(tmp_path, known):
    names = save(tmp_path, picture(3))
    steps = []
    assert find_seen(tmp_path, names * 3, known, steps.append).of == len(steps) == 1


def test_what_is_not_known_is_said(tmp_path):
    seen = find_seen(tmp_path, ["a.png"], None)
    assert "not known" in str(seen)
    assert seen.to_dict()["images"] is None


def test_what_is_known_in_part_is_said(tmp_path, known):
    names = save(tmp_path, picture(3))
    seen = find_seen(tmp_path, names, Fingerprints(known.images, complete=False))
    assert str(seen).startswith("1 of 1 images at least, since")
    assert find_seen(tmp_path, names, Fingerprints()).names == ()


def test_a_file_keeps_them_in_a_few_bytes_each(tmp_path, known):
    path = tmp_path / "model.seen.safetensors"
    write_fingerprints(known, path)
    again = read_fingerprints(path)
    assert np.array_equal(again.images, known.images)
    assert again.complete
    assert path.stat().st_size < 10 * BYTES + 300
    assert len(known.join(known.images).images) == 10
    assert read_fingerprints(tmp_path / "none") is None
    assert fingerprints_path(tmp_path / "model.safetensors") == path


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "model.seen.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(DataError, match=r"model\.seen\.safetensors: not a file of fingerprints"):
        read_fingerprints(path)
    write_fingerprints(Fingerprints(np.zeros((2, 3), np.uint8)), path)
    with pytest.raises(DataError, match=r"expected fingerprints 1, uint8 \[N, 18\], got .*\[2, 3\]"):
        read_fingerprints(path)
