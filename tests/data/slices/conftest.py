"""Write the small body as TotalSegmentator does, or as one label map."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_body import BOXES, SHAPE, affine, body_values, inside

WriteSubject = Callable[..., Path]


@pytest.fixture
def write_subject(tmp_path) -> WriteSubject:
    """Write `name` below `source` with a mask volume for each structure; `names` chooses structures."""

    def write(name="s0001", *, source="total", names=tuple(BOXES), modality="ct", values=None) -> Path:
        folder = tmp_path / source / name
        (folder / "segmentations").mkdir(parents=True)
        body = body_values() if values is None else values
        nib.save(nib.Nifti1Image(body, affine()), folder / f"{modality}.nii.gz")
        for each in names:
            mask = np.zeros(SHAPE, np.uint8)
            mask[inside(each)] = 1
            nib.save(nib.Nifti1Image(mask, affine()), folder / "segmentations" / f"{each}.nii.gz")
        return tmp_path / source

    return write


@pytest.fixture
def write_label_map(tmp_path) -> Callable[..., Path]:
    """Write the body as one label map."""

    def write(names=tuple(BOXES)) -> Path:
        folder = tmp_path / "mapped"
        folder.mkdir()
        labels = np.zeros(SHAPE, np.uint8)
        for number, name in enumerate(names, start=1):
            labels[inside(name)] = number
        nib.save(nib.Nifti1Image(body_values(), affine()), folder / "ct.nii.gz")
        nib.save(nib.Nifti1Image(labels, affine()), folder / "segmentation.nii.gz")
        table = {str(number): name for number, name in enumerate(names, start=1)}
        (folder / "labels.json").write_text(json.dumps(table))
        return folder

    return write
