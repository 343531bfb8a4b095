"""A small real set of labelled slices for naming, split by series, from what lies under ../shared/data/anatomy."""

import dataclasses
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from vesalius.data.prepare.splitting import SplitConfig
from vesalius.data.slices import CutSettings, SeriesDescription, cut_slices, find_volumes
from vesalius.data.slices.cutting import distant_organs
from vesalius.data.slices.sources import LabelledVolume, SliceRange, Subject
from vesalius.data.slices.table import PICTURES, SliceRow, write_table
from vesalius.files import writing
from vesalius.prompts.anatomy import ORGANS, AnatomyLabel

SERIES = Path(__file__).parents[2] / "recipes" / "anatomy" / "series.toml"
CUT = CutSettings(per_plane=24, spacing_mm=6.0)
VISIBLE_HUMAN = "head_ct"
HEAD = SeriesDescription(
    "CT",
    stations=(SliceRange("head"),),
    organs=(SliceRange("neck", last=60), SliceRange("mandible", 24, 78), SliceRange("brain", 92, 216)),
)
HU_PER_SHADE, AIR = 14.7, -1000
"""The pictures' shades to about Hounsfield units: air is 0 and soft tissue 68."""
SHARES = {"train": (0.0, 0.8), "val": (0.8, 0.9), "test": (0.9, 1.0)}
"""Parts of each of MedNIST's classes, in the order of its patients."""
EACH = {"train": 30, "val": 15, "test": 25}
"""Pictures of a class."""
CLASSES = {
    "AbdomenCT": ("CT", "axial", "abdomen", ()),
    "BreastMRI": ("MR", "axial", "chest", ()),
    "CXR": ("X-ray", None, "chest", ("lungs", "heart")),
    "ChestCT": ("CT", "axial", "chest", ("lungs",)),
    "Hand": ("X-ray", None, "upper limb", ("hand", "wrist")),
    "HeadCT": ("CT", "axial", "head", ("brain",)),
}
TRUNK = ("chest", "abdomen", "pelvis")
"""A class of the trunk names the examination, whose slices may show the stations beside it too."""


def make_series(shared: Path, out: Path) -> None:
    """Cut all series: train, and to test; see ``recipes/anatomy/series.toml``."""
    splits = {"abdomen_pelvis_ct": "train", "abdomen_mr": "test"}
    volumes = find_volumes(SERIES)
    for name, split in splits.items():
        volume = find_volumes(shared / name)[0]
        volumes.append(dataclasses.replace(volume, subject=Subject(name, split)))
    volumes.append(_visible_human(shared / VISIBLE_HUMAN, out.with_name("head_ct.nii")))
    report = cut_slices(volumes, out, CUT, SplitConfig())
    if report.problems:
        raise SystemExit(f"{report.problems[0]}")


def make_mednist(archive: Path, out: Path) -> None:
    """MedNIST's classes as slices."""
    write_table(out, list(_mednist_rows(archive, out)))


def _visible_human(folder: Path, out: Path) -> LabelledVolume:
    """The Visible Human's head as a volume, from the shoulders up; voxels count as 1 mm."""
    files = sorted(folder.glob("texture-*.png"), key=lambda path: int(path.stem.split("-")[1]))
    shades = np.stack([np.asarray(Image.open(path).convert("L")) for path in files])
    values = (shades * HU_PER_SHADE + AIR).astype(np.int16).transpose(2, 1, 0)
    with writing(out) as unfinished:
        unfinished.write_bytes(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])).to_bytes())
    return LabelledVolume(VISIBLE_HUMAN, out, Subject(VISIBLE_HUMAN, "test"), description=HEAD)


def _mednist_rows(archive: Path, out: Path) -> Iterator[SliceRow]:
    with tarfile.open(archive) as tar:
        members = sorted((member for member in tar.getmembers() if member.isfile()), key=lambda member: member.name)
        for name in CLASSES:
            own = [member for member in members if member.name.split("/")[-2] == name]
            for split, (first, last) in SHARES.items():
                for place in np.linspace(first * len(own), last * len(own) - 1, EACH[split]).astype(int):
                    content = tar.extractfile(own[place])
                    assert content is not None
                    file = f"{PICTURES}/{name}_{place:05d}.png"
                    with writing(out / file) as unfinished:
                        Image.open(io.BytesIO(content.read())).convert("L").save(unfinished, format="PNG")
                    patient = f"{name}-{place}"
                    yield SliceRow(file, f"mednist/{name}", patient, split, None, int(place), None, 0.0, _label(name))


def _label(name: str) -> AnatomyLabel:
    modality, plane, station, organs = CLASSES[name]
    trunk = frozenset(TRUNK if station in TRUNK else ()) - {station}
    unsure = frozenset(ORGANS) - distant_organs({station}) - frozenset(organs)
    return AnatomyLabel(modality, None, plane, frozenset({station}), frozenset(organs), unsure | trunk)
