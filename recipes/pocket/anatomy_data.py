"""Labelled slices for naming, from the series and pictures under ../shared/data.

Whole patients can be held out. MedNIST's files come in the order of its patients, so each class gives its last tenth of
names to testing, and so do the pictures' test splits; neither is ever trained on.
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
from vesalius.data.anatomy import CutSettings, find_volumes
from vesalius.data.anatomy.cutting import cut, to_square
from vesalius.data.anatomy.distant import distant_organs
from vesalius.data.anatomy.sources import LabelledVolume

from vesalius.imaging import read_image
from vesalius.imaging.dicom import read_stacks
from vesalius.prompts.anatomy import ORGANS, AnatomyLabel

SERIES = Path(__file__).parents[1] / "anatomy" / "series.toml"
SIZE = 320
"""Side of a slice as it is kept; enough for every trunk."""
LOOKS = ("soft tissue", "lung", "bone", "wide")
"""CT windows that training shows; testing shows the first."""
SPACING_MM = 8.0
"""Between training slices across a plane in which the series was not taken."""
MEDNIST_STEP, TEST_STEP = 12, 4
"""Every so manieth file: neighbours are almost the same slice."""
TEST_SHARE = 0.1
PICTURE_STEP = 10
HEAD_SLICES = (("neck", 0, 60), ("mandible", 24, 78), ("brain", 92, 216))
"""Organs of the Visible Human's head and the files that show them, counted from the shoulders."""
HEAD_STEP = 3
SHOULDERS_UP_TO = 24


@dataclass(frozen=True)
class LabelledSlice:
    """A slice, what it shows, and where it comes from."""

    picture: NDArray[np.uint8]
    """[S, S], or [S, S, 3] in colour."""
    label: AnatomyLabel
    series: str
    """What is counted together."""
    patient: str
    """What is held out together."""
    native: bool = True
    """Taken in this plane and shown as `name` would; others are for training only."""
    test: bool = False
    """Never trained on."""

    @property
    def rgb(self) -> NDArray[np.float32]:
        """[S, S, 3] in [0, 1]."""
        shades = self.picture.astype(np.float32) / 255
        return shades if shades.ndim == 3 else np.repeat(shades[..., None], 3, axis=2)


def partial(
    modality: str, plane: str | None, station: str | None, *organs: str, perhaps: tuple[str, ...] = ()
) -> AnatomyLabel:
    """A label of a kind of picture: what is far from the station is absent, what is near it unknown.

    Args:
        modality: Label.
        plane: Label, None where there is none.
        station: The one that the kind is named for, None where nobody knows.
        *organs: Those that show.
        perhaps: Other stations that may show.
    """
    stations = frozenset({station} if station else ())
    absent = distant_organs(stations | set(perhaps)) if station else frozenset()
    unsure = frozenset(ORGANS) - frozenset(organs) - absent
    known = AnatomyLabel.partial(modality, plane=plane, stations=stations if station else None, organs=organs)
    uncertain = (known.uncertain - frozenset(ORGANS)) | unsure | frozenset(perhaps)
    return AnatomyLabel(modality, None, plane, stations, frozenset(organs), uncertain)


MEDNIST = {
    "AbdomenCT": partial("CT", "axial", "abdomen", perhaps=("chest", "pelvis")),
    "BreastMRI": partial("MR", "axial", "chest"),
    "CXR": partial("X-ray", None, "chest", "lungs", "heart"),
    "ChestCT": partial("CT", "axial", "chest", "lungs", perhaps=("abdomen",)),
    "Hand": partial("X-ray", None, "upper limb", "hand", "wrist"),
    "HeadCT": partial("CT", "axial", "head", "brain"),
}
"""What its classes say. The class is the examination's: some slices of AbdomenCT show hips, some of ChestCT the liver."""
PICTURES = {
    "kvasir_polyp": partial("endoscopy", None, None, "intestine"),
    "bkai_polyp": partial("endoscopy", None, None, "intestine"),
    "busi": partial("ultrasound", None, "chest"),
    "cxr_lungs": partial("X-ray", None, "chest", "lungs", "heart"),
}


def read_all(shared: Path) -> Iterator[LabelledSlice]:
    """Everything, to train on and held out."""
    anatomy = shared / "anatomy"
    for volume in find_volumes(SERIES):
        yield from _volume(volume)
    for name in ("abdomen_pelvis_ct", "abdomen_mr"):
        yield from _volume(find_volumes(anatomy / name)[0])
    yield from _localizer(anatomy / "knee_mr_localizer")
    yield from _head_ct(anatomy / "head_ct")
    yield from _mednist(anatomy / "mednist.tar")
    for name, label in PICTURES.items():
        yield from _pictures(shared / "segmentation" / name, label)


def _volume(volume: LabelledVolume) -> Iterator[LabelledSlice]:
    """Every slice as it was taken, and others across it and in other windows."""
    patient, taken = volume.subject.patient, read_image(volume.image).nearest_plane
    for plain in cut(volume, CutSettings(per_plane=1000, spacing_mm=0, size=SIZE, windows=LOOKS[:1])):
        if plain.plane == taken:
            yield LabelledSlice(plain.levels, plain.label, volume.name, patient)
    for other in cut(volume, CutSettings(per_plane=1000, spacing_mm=SPACING_MM, size=SIZE, windows=LOOKS)):
        if other.plane != taken or other.window not in (None, LOOKS[0]):
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


def _mednist(archive: Path) -> Iterator[LabelledSlice]:
    with tarfile.open(archive) as tar:
        members = sorted((member for member in tar.getmembers() if member.isfile()), key=lambda member: member.name)
        for folder, label in MEDNIST.items():
            own = [member for member in members if member.name.split("/")[-2] == folder]
            first_test = round(len(own) * (1 - TEST_SHARE))
            for place in [*range(0, first_test, MEDNIST_STEP), *range(first_test, len(own), TEST_STEP)]:
                file = tar.extractfile(own[place])
                assert file is not None
                picture = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
                name = f"mednist/{folder}"
                yield LabelledSlice(picture, label, name, name, test=place >= first_test)


def _pictures(root: Path, label: AnatomyLabel) -> Iterator[LabelledSlice]:
    for split in ("train", "test"):
        rows = json.loads((root / "anns" / f"{split}.json").read_text())
        for row in rows[::PICTURE_STEP]:
            rgb = read_image(root / "images" / row["img_name"]).slices()[0].rgb
            yield LabelledSlice(to_square(rgb, SIZE), label, root.name, root.name, test=split == "test")
