"""Labelled slices for naming, from the series and pictures under ../shared/data.

Whole series are held out: the brain FLAIR and EPI and the knee localizer are never trained on. MedNIST's files come in
the order of its patients, so each class gives its last tenth of names to testing.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.imaging import MedicalImage, read_image
from vesalius.imaging.dicom import read_stacks
from vesalius.prompts import AnatomyLabel

MEDNIST = {
    "AbdomenCT": AnatomyLabel("CT", "axial", "abdomen"),
    "BreastMRI": AnatomyLabel("MR", "axial", "chest"),
    "CXR": AnatomyLabel("X-ray", None, "chest"),
    "ChestCT": AnatomyLabel("CT", "axial", "chest"),
    "Hand": AnatomyLabel("X-ray", None, "upper limb"),
    "HeadCT": AnatomyLabel("CT", "axial", "head"),
}
MEDNIST_STEP = 8
"""Every eighth file: neighbours are almost the same slice."""
TEST_SHARE = 0.1
PLANES = ("axial", "coronal", "sagittal")
BODY = 0.06
"""Shades above it are tissue, below it air."""
CT_LOOKS = ("soft tissue", "lung", "bone", "wide", "abdomen")
HEAD_CT_FIRST = 60
"""Slices of the Visible Human's head before this one show neck and shoulders."""
PICTURES = {
    "kvasir_polyp": AnatomyLabel("endoscopy"),
    "bkai_polyp": AnatomyLabel("endoscopy"),
    "busi": AnatomyLabel("ultrasound", None, "chest"),
    "cxr_lungs": AnatomyLabel("X-ray", None, "chest"),
}
PICTURE_STEP = 8


@dataclass(frozen=True)
class LabelledSlice:
    """A slice, what it shows, and where it comes from."""

    rgb: NDArray[np.float32]
    """[H, W, 3] in [0, 1], square pixels."""
    label: AnatomyLabel
    source: str
    held_out: bool


def read_all(shared: Path) -> Iterator[LabelledSlice]:
    """Everything, training and held out."""
    anatomy = shared / "anatomy"
    yield from _mednist(anatomy / "mednist.tar")
    yield from _abdomen_pelvis(anatomy / "abdomen_pelvis_ct")
    yield from _volume(read_image(anatomy / "abdomen_mr/mr.nii.gz"), "MR", "abdomen", ("axial",), "abdomen_mr")
    yield from _volume(read_image(anatomy / "brain_atlas/t1.nii.gz"), "MR", "head", PLANES, "brain_atlas", step=3)
    yield from _volume(read_image(anatomy / "chest_ct"), "CT", "chest", ("axial",), "chest_ct")
    yield from _head_ct(anatomy / "head_ct")
    for name in ("knee_mr/T1", "knee_mr/T2"):
        yield from _series(anatomy / name, "lower body", held_out=False)
    yield from _series(anatomy / "knee_mr_localizer", "lower body", held_out=True)
    for name in ("brain_mr/Flair", "brain_mr/Epi"):
        yield from _series(anatomy / name, "head", held_out=True)
    for name, label in PICTURES.items():
        yield from _pictures(shared / "segmentation" / name, label)


def _mednist(archive: Path) -> Iterator[LabelledSlice]:
    with tarfile.open(archive) as tar:
        members = sorted((member for member in tar.getmembers() if member.isfile()), key=lambda member: member.name)
        for folder, label in MEDNIST.items():
            own = [member for member in members if member.name.split("/")[-2] == folder]
            first_test = round(len(own) * (1 - TEST_SHARE))
            for place in range(0, len(own), MEDNIST_STEP):
                file = tar.extractfile(own[place])
                if file is None:
                    continue
                picture = Image.open(io.BytesIO(file.read())).convert("RGB")
                rgb = np.asarray(picture, np.float32) / 255
                yield LabelledSlice(rgb, label, f"mednist/{folder}", place >= first_test)


def _abdomen_pelvis(folder: Path) -> Iterator[LabelledSlice]:
    """Axial stations from the labelled vertebrae and hips; other planes span both stations."""
    image, organs = read_image(folder / "ct.nii.gz"), read_image(folder / "segmentation.nii.gz")
    names = {int(index): name for index, name in json.loads((folder / "labels.json").read_text()).items()}
    for plane in PLANES:
        for look in CT_LOOKS:
            slices, truth = image.slices(plane, look), organs.slices(plane).pixels
            for place in range(0, len(slices), 2 if plane == "axial" else 4):
                visible = {names.get(int(index), "") for index in np.unique(truth[place])} - {""}
                station = _station(visible) if plane == "axial" else None
                label = AnatomyLabel("CT", plane, station)
                yield LabelledSlice(slices[place].rgb_square(), label, f"abdomen_pelvis_ct/{plane}", False)


def _station(visible: set[str]) -> str | None:
    """Pelvis where a hip or femur shows, abdomen from T11 to L4 without them."""
    if any(name.startswith(("hip_", "femur_")) for name in visible):
        return None if visible & {"vertebrae_L3", "vertebrae_L4"} else "pelvis"
    levels = {f"vertebrae_{level}" for level in ("T11", "T12", "L1", "L2", "L3", "L4")}
    return "abdomen" if visible & levels else None


def _volume(
    image: MedicalImage, modality: str, station: str, planes: tuple[str, ...], source: str, *, step: int = 1
) -> Iterator[LabelledSlice]:
    for plane in planes:
        for look in CT_LOOKS if modality == "CT" else (None,):
            slices = image.slices(plane, look)
            margin = len(slices) // 8 if len(slices) > 100 else 0
            for place in range(margin, len(slices) - margin, step):
                label = AnatomyLabel(modality, plane, station)
                for rgb in contrasts(slices[place].rgb_square(), modality):
                    yield LabelledSlice(rgb, label, f"{source}/{plane}", False)


def contrasts(rgb: NDArray[np.float32], modality: str) -> list[NDArray[np.float32]]:
    """A slice, and for MR the same anatomy as other sequences might show it: fluid bright, or bright parts pressed."""
    if modality != "MR":
        return [rgb]
    inverted = np.where(rgb > BODY, 1 + BODY - rgb, rgb)
    pressed = np.minimum(rgb, 0.5 * np.sqrt(rgb))
    return [rgb, inverted, pressed]


def _head_ct(folder: Path) -> Iterator[LabelledSlice]:
    files = sorted(folder.glob("texture-*.png"), key=lambda path: int(path.stem.split("-")[1]))
    for path in files[HEAD_CT_FIRST::3]:
        rgb = read_image(path).slices()[0].rgb
        for gain in (1.0, 2.5):
            yield LabelledSlice(np.clip(rgb * gain, 0, 1), AnatomyLabel("CT", "axial", "head"), "head_ct", False)


def _series(folder: Path, station: str, *, held_out: bool) -> Iterator[LabelledSlice]:
    for stack in read_stacks(folder):
        for each in stack.slices():
            label = AnatomyLabel("MR", None if stack.plane == "oblique" else stack.plane, station)
            name = f"{folder.parent.name}/{folder.name}"
            rgb = each.rgb_square()
            for look in [rgb] if held_out else contrasts(rgb, "MR"):
                yield LabelledSlice(look, label, name, held_out)


def _pictures(root: Path, label: AnatomyLabel) -> Iterator[LabelledSlice]:
    for split in ("train", "test"):
        rows = json.loads((root / "anns" / f"{split}.json").read_text())
        for row in rows[::PICTURE_STEP]:
            rgb = read_image(root / "images" / row["img_name"]).slices()[0].rgb
            yield LabelledSlice(rgb, label, root.name, split == "test")
