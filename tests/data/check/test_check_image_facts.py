import numpy as np
from PIL import Image

from vesalius.data.check.facts import examine_image


def test_a_copy_in_another_lossless_format_has_the_same_digest(tmp_path, draw):
    levels = (draw(1) * 255).astype(np.uint8)
    for name in ("a.png", "b.tif"):
        Image.fromarray(levels).save(tmp_path / name)
    Image.fromarray(levels + np.uint8(1)).save(tmp_path / "c.png")
    one, same, other = (examine_image(tmp_path / name) for name in ("a.png", "b.tif", "c.png"))
    assert one.digest == same.digest != other.digest
    assert one.size == (60, 80)


def test_deep_grey_has_the_signature_of_its_eight_bits(tmp_path, draw):
    levels = (draw(1)[..., 0] * 255).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "8.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "16.png")
    eight, deep = examine_image(tmp_path / "8.png"), examine_image(tmp_path / "16.png")
    assert np.sum(eight.signature * deep.signature) > 0.999
    assert eight.digest != deep.digest


def test_blank_pictures_and_further_slices_are_told(tmp_path):
    Image.new("L", (9, 9), 7).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("L", (9, 9), 9)])
    facts = examine_image(tmp_path / "a.tif")
    assert facts.slices == 2
    assert facts.blank
    assert not facts.signature.any()
