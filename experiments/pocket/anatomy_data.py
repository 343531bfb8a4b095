"""Labelled slices for naming, from the series and pictures under ../shared/data.

Whole patients can be held out; MedNIST's test part and the pictures' test splits are never trained on.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from labelled_slice import LabelledSlice, partial
from mednist import read_mednist
from people import read_people
from target_slices import read_targets

from vesalius.data.slices import CutSettings, find_volumes
from vesalius.data.slices.cutting import cut, to_square, usable_planes
from vesalius.data.slices.sources import LabelledVolume
from vesalius.imaging import read_image
from vesalius.imaging.dicom import read_stacks
from vesalius.prompts.anatomy import AnatomyLabel

SERIES = Path(__file__).parents[2] / "recipes" / "anatomy" / "series.toml"
SIZE = 320
"""Side of a slice as it is kept; enough for every trunk."""
LOOKS = ("soft tissue", "lung", "bone", "wide")
"""CT windows that training shows; testing shows the first."""
SPACING_MM = 8.0
"""Between training slices across a plane in which the series was not taken."""
PICTURE_STEP = 10
HEAD_SLICES = (("neck", 0, 60), ("mandible", 24, 78), ("brain", 92, 216))
"""Organs of the Visible Human's head and the files that show them, counted from the shoulders."""
HEAD_STEP = 3
SHOULDERS_UP_TO = 24
PERSONS = {"knee_t1": "knee", "knee_t2": "knee"}
"""Series of one person, who is held out as a whole."""


PICTURES = {
    "kvasir_polyp": partial("endoscopy", None, None, "intestine"),
    "bkai_polyp": partial("endoscopy", None, None, "intestine"),
    "busi": partial("ultrasound", None, "chest"),
    "cxr_lungs": partial("X-ray", None, "chest", "lungs", "heart"),
}


def read_all(shared: Path) -> Iterator[LabelledSlice]:
    """Everything, to train on and held out."""
    yield from read_series_people(shared)
    yield from read_mednist(shared / "anatomy" / "mednist.tar")
    for name, label in PICTURES.items():
        yield from _pictures(shared / "segmentation" / name, label)
    yield from read_targets(shared, SIZE)


def read_series_people(shared: Path) -> Iterator[LabelledSlice]:
    """The people of the series, who are held out in turn."""
    anatomy = shared / "anatomy"
    for volume in find_volumes(SERIES):
        yield from _volume(volume)
    for name in ("abdomen_pelvis_ct", "abdomen_mr"):
        yield from _volume(find_volumes(anatomy / name)[0])
    yield from read_people(anatomy, LOOKS, SIZE)
    yield from _localizer(anatomy / "knee_mr_localizer")
    yield from _head_ct(anatomy / "head_ct")


def _volume(volume: LabelledVolume) -> Iterator[LabelledSlice]:
    """Every slice as it was taken, and others across it and in other windows."""
    patient = PERSONS.get(volume.name, volume.subject.patient)
    image = read_image(volume.image)
    for plain in cut(volume, CutSettings(per_plane=1000, spacing_mm=0, size=SIZE, windows=LOOKS[:1])):
        if plain.plane == image.nearest_plane:
            yield LabelledSlice(plain.levels, plain.label, volume.name, patient)
    if len(usable_planes(image)) == 1 and volume.modality != "CT" and image.modality != "CT":
        return
    for other in cut(volume, CutSettings(per_plane=1000, spacing_mm=SPACING_MM, size=SIZE, windows=LOOKS)):
        if other.plane != image.nearest_plane or other.window not in (None, LOOKS[0]):
            yield LabelledSlice(other.levels, other.label, volume.name, patient, native=False)


def _localizer(folder: Path) -> Iterator[LabelledSlice]:
    """The knee's, which is no examination and so not cut by the program."""
    for stack in read_stacks(folder):
        label = partial("MR", stack.plane, "lower body", "knee")
        for each in stack.slices():
            yield LabelledSlice(to_square(each.rgb_square(), SIZE), label, "knee_localizer", "knee_localizer")


def _head_ct(folder: Path) -> Iterator[LabelledSlice]:
    files = sorted(folder.glob("texture-*.png"), key=lambda path: int(path.stem.split("-")[1]))
    for place in range(0, len(files), HEAD_STEP):
        shows = [organ for organ, first, last in HEAD_SLICES if first <= place <= last]
        label = partial("CT", "axial", "head", *shows, perhaps=("chest",) if place < SHOULDERS_UP_TO else ())
        rgb = read_image(files[place]).slices()[0].rgb
        for gain in (1.0, 2.5):
            picture = to_square(np.clip(rgb * gain, 0, 1), SIZE)
            yield LabelledSlice(picture, label, "head_ct", "head_ct", native=gain > 1)


def _pictures(root: Path, label: AnatomyLabel) -> Iterator[LabelledSlice]:
    for split in ("train", "test"):
        rows = json.loads((root / "anns" / f"{split}.json").read_text())
        for row in rows[::PICTURE_STEP]:
            rgb = read_image(root / "images" / row["img_name"]).slices()[0].rgb
            yield LabelledSlice(to_square(rgb, SIZE), label, root.name, root.name, test=split == "test")
