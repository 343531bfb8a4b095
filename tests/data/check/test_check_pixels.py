import numpy as np
import pytest
from PIL import Image

from vesalius.data.check import check_dataset


def single(root):
    (finding,) = check_dataset(root).findings
    return finding


def test_a_mask_of_another_size_is_named_with_both_sizes(root):
    Image.new("1", (40, 30), 1).resize((40, 30)).save(root / "masks/val_0.png")
    sizes = [each for each in check_dataset(root).findings if each.kind == "size_mismatch"]
    assert sizes[0].message == "masks/val_0.png is 30 × 40, expected images/val_0.png's 60 × 80 (height × width)."
    assert (sizes[0].places[0].split, sizes[0].places[0].record) == ("val", 0)


def test_values_of_a_mask_are_listed_with_what_they_become(root):
    levels = np.zeros((60, 80), np.uint8)
    levels[:30, :20], levels[30:, 40:] = 1, 200
    Image.fromarray(levels).save(root / "masks/val_0.png")
    finding = single(root)
    assert finding.kind == "labels_in_mask"
    assert finding.message == "masks/val_0.png holds the values 0, 1, 200; 25.00% of the pixels read as inside."
    assert finding.details == {"values": [0, 1, 200], "between": 0.25, "inside": 0.25}


def test_many_values_are_shortened(root):
    gradient = np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))
    Image.fromarray(gradient).save(root / "masks/val_0.png")
    assert "holds the values 0, 3, 6, 9 … 228, 231, 234, 237;" in single(root).message


@pytest.mark.parametrize(("value", "kind"), [(0, "empty_mask"), (255, "full_mask")])
def test_masks_of_one_value_are_named(root, value, kind):
    Image.new("L", (80, 60), value).save(root / "masks/val_0.png")
    assert single(root).kind == kind


def test_a_picture_of_several_slices_is_named(root):
    page = Image.open(root / "images/val_0.png")
    page.save(root / "images/val_0.png", format="TIFF", save_all=True, append_images=[page, page])
    assert single(root).message == "images/val_0.png has 3 slices; only the first is used."
