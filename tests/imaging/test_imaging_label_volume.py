import nibabel as nib
import numpy as np
import pytest

from vesalius.errors import ImageError
from vesalius.imaging import read_image
from vesalius.imaging.nifti import read_label_volume


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_labels_are_whole_numbers_in_the_order_of_axial_slices(tmp_path, kind):
    labels = np.arange(24, dtype=kind).reshape(2, 3, 4)
    nib.save(nib.Nifti1Image(labels, np.diag([-2.0, 3, 4, 1])), tmp_path / "labels.nii.gz")
    read, affine = read_label_volume(tmp_path / "labels.nii.gz")
    slices = read_image(tmp_path / "labels.nii.gz").slices("axial")
    assert read.dtype.kind in "iu"
    assert np.array_equal(read, slices.pixels)
    assert np.array_equal(affine, slices.affine)


def test_a_damaged_label_volume_is_refused(tmp_path):
    (tmp_path / "labels.nii.gz").write_bytes(b"nothing")
    with pytest.raises(ImageError, match="cannot be read as a NIfTI"):
        read_label_volume(tmp_path / "labels.nii.gz")
