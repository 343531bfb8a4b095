"""MedNIST as labelled slices. Its files come in the order of its patients, so each class's last tenth is for testing.

CT pictures have a grey background: they are given as they are, with the label of their class, and for training also
with the background taken away, as a CT window would show them.
"""

import io
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from labelled_slice import LabelledSlice, partial
from numpy.typing import NDArray
from PIL import Image

from vesalius.prompts.anatomy import AnatomyLabel

CLASSES = {
    "AbdomenCT": partial("CT", "axial", "abdomen", perhaps=("chest", "pelvis")),
    "BreastMRI": partial("MR", "axial", "chest"),
    "CXR": partial("X-ray", None, "chest", "lungs", "heart"),
    "ChestCT": partial("CT", "axial", "chest", "lungs", perhaps=("abdomen",)),
    "Hand": partial("X-ray", None, "upper limb", "hand", "wrist"),
    "HeadCT": partial("CT", "axial", "head", "brain"),
}
"""What its classes say, of the examination: some slices of AbdomenCT show hips, some of ChestCT the liver."""
STEP, TEST_STEP = 12, 4
"""Every so manieth file: neighbours are almost the same slice."""
TEST_SHARE = 0.1
SEEN = Path(__file__).with_name("mednist_abdomen.toml")


def read_mednist(archive: Path) -> Iterator[LabelledSlice]:
    """Every so manieth picture of every class."""
    with tarfile.open(archive) as tar:
        members = sorted((member for member in tar.getmembers() if member.isfile()), key=lambda member: member.name)
        for folder, label in CLASSES.items():
            own = [member for member in members if member.name.split("/")[-2] == folder]
            first_test, name = round(len(own) * (1 - TEST_SHARE)), f"mednist/{folder}"
            for place in [*range(0, first_test, STEP), *range(first_test, len(own), TEST_STEP)]:
                file = tar.extractfile(own[place])
                assert file is not None
                picture, test = np.asarray(Image.open(io.BytesIO(file.read())).convert("L")), place >= first_test
                yield LabelledSlice(picture, label, name, name, test=test)
                if label.modality == "CT" and not test:
                    shown = look_up(place) if folder == "AbdomenCT" else label
                    yield LabelledSlice(take_background(picture), shown, f"{name} windowed", name, native=False)


def take_background(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with its background black and all but its brightest hundredth stretched, [H, W]."""
    shades = picture.astype(np.float32)
    ground = np.median(np.concatenate([shades[0], shades[-1]]))
    top = max(float(np.percentile(shades, 99)), ground + 1)
    stretched: NDArray[np.uint8] = (255 * np.clip((shades - ground) / (top - ground), 0, 1)).astype(np.uint8)
    return stretched


def look_up(place: int) -> AnatomyLabel:
    """What a picture of AbdomenCT shows, by its place among the class's files."""
    seen, number = tomllib.loads(SEEN.read_text(encoding="utf-8")), place // STEP
    if number in seen["unsure"]:
        return partial("CT", "axial", None)
    if number in seen["chest"]:
        return partial("CT", "axial", "chest", "lungs", "heart", perhaps=("abdomen",))
    if number in seen["pelvis"]:
        return partial("CT", "axial", "pelvis", "pelvic bone", perhaps=("lower body",))
    if number in seen["legs"]:
        return partial("CT", "axial", "lower body", "thigh", perhaps=("pelvis",))
    organs = [organ for organ in ("liver", "kidneys") if number in seen[organ]]
    return partial("CT", "axial", "abdomen", *organs, perhaps=("chest",))
