"""Put all pictures that pocket learns from, and their masks, into one small file that travels to a GPU.

    python experiments/pocket/pack_images.py ../shared/data runs/data runs/pocket/images.safetensors

Pictures are squeezed to the side that pocket works on and kept as WebP, masks as one-bit PNG. ``leave_out.toml`` names
what is not learnt from: masks that are wrong, and near-copies of pictures that other splits have.
"""

import argparse
import io
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from vesalius.console import progress_bar
from vesalius.files import writing

SIDE = 320
QUALITY = 76
MADE = (
    "abdomens_mr", "abdomens_painted", "brain_mr", "brain_absent", "brain_sequences", "heads_mr", "heads_ct",
    "people_ct", "people_mr", "trunk_ct",
)  # fmt: skip
"""Folders that the recipe's own scripts make."""
SHOWN = "shown.json"
"""In a folder: what its pictures show though nobody has outlined it, by the names of the files."""
ABSENT, UNOUTLINED = -1, -2
"""Instead of a mask's number: nothing of the target is there; or it is, and nobody has outlined it."""
LEAVE_OUT = Path(__file__).with_name("leave_out.toml")


@dataclass
class Packed:
    """A picture, and what is known of it."""

    folder: str
    split: str
    name: str
    prompts: list[dict[str, Any]] = field(default_factory=list)
    """Those of each record."""
    targets: list[str | None] = field(default_factory=list)
    """What each record is about, as the data set calls it; None where it does not say."""
    masks: list[int] = field(default_factory=list)
    """Number of each record's mask, or ``ABSENT`` or ``UNOUTLINED``."""


class LeftOut:
    """What ``leave_out.toml`` says."""

    def __init__(self) -> None:
        content = tomllib.loads(LEAVE_OUT.read_text(encoding="utf-8"))
        self.folders = set(content["folders"])
        self.pictures = {
            (folder, name)
            for reason in ("near_copies", "patients", "wrong")
            for folder, names in content[reason].items()
            for name in names
        }
        self.records = content["records"]

    def record(self, folder: str, record: dict[str, Any]) -> bool:
        """Whether a record is not to be believed."""
        return any(
            row["folder"] == folder
            and row["target"] == record.get("target")
            and (record["img_name"] in row.get("names", ()) or (row.get("absent") and record.get("absent")))
            for row in self.records
        )


def find_pictures(
    roots: list[Path], splits: Sequence[str], left_out: LeftOut
) -> Iterator[tuple[Path, Packed, list[Path]]]:
    """Each picture once, with the masks of its records."""
    for root in (root for root in roots if root.name not in left_out.folders):
        told = root / SHOWN
        shown: dict[str, list[str]] = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
        for split in splits:
            file = root / "anns" / f"{split}.json"
            records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
            by_name: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for record in records:
                if (root.name, record["img_name"]) not in left_out.pictures and not left_out.record(root.name, record):
                    by_name[record["img_name"]].append(record)
            for name, own in sorted(by_name.items()):
                found = Packed(root.name, split, name)
                for record in own:
                    found.prompts.append(record["prompts"])
                    found.targets.append(record.get("target"))
                masks = [root / "masks" / record["mask_name"] for record in own]
                for target in shown.get(name, ()):
                    found.prompts.append({})
                    found.targets.append(target)
                yield root, found, masks


def squeeze(job: tuple[Path, list[Path], int]) -> tuple[bytes, list[bytes]]:
    """A picture and its masks as bytes; b"" for a mask without anything in it."""
    picture, masks, quality = job
    with Image.open(picture) as opened:
        small = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    stored = io.BytesIO()
    small.save(stored, "WEBP", quality=quality, method=5)
    return stored.getvalue(), [squeeze_mask(each) for each in masks]


def squeeze_mask(path: Path) -> bytes:
    """One bit a pixel."""
    with Image.open(path) as opened:
        grey = np.asarray(opened.convert("L"))
    if not grey.any():
        return b""
    values = (grey >= max(1, int(grey.max()) / 2)).astype(np.uint8) * 255
    small = Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    bits = Image.fromarray((np.asarray(small) >= 128).astype(np.uint8) * 255).convert("1")
    stored = io.BytesIO()
    bits.save(stored, "PNG", optimize=True)
    return stored.getvalue()


def join(parts: list[bytes]) -> tuple[torch.Tensor, torch.Tensor]:
    """All bytes after one another, and where each ends."""
    ends = torch.tensor([len(each) for each in parts]).cumsum(0)
    return torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8), ends


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("made", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", action="append", help="by default train and val")
    parser.add_argument("--quality", type=int, default=QUALITY, help="of WebP")
    args = parser.parse_args()
    roots = [*sorted((args.shared / "segmentation").iterdir()), *sorted((args.shared / "targets").iterdir())]
    roots += [args.made / name for name in MADE]
    found = list(find_pictures(roots, args.split or ("train", "val"), LeftOut()))
    jobs = [(root / "images" / each.name, masks, args.quality) for root, each, masks in found]
    pictures: list[bytes] = []
    outlines: list[bytes] = []
    with progress_bar() as bar, ProcessPoolExecutor(2) as pool:
        packed = bar.track(pool.map(squeeze, jobs, chunksize=32), len(jobs), description="Packing")
        for (_, each, _), (picture, masks) in zip(found, packed, strict=True):
            pictures.append(picture)
            for mask in masks:
                each.masks.append(len(outlines) if mask else ABSENT)
                outlines += [mask] if mask else []
            each.masks += [UNOUTLINED] * (len(each.targets) - len(each.masks))
    image_bytes, image_ends = join(pictures)
    mask_bytes, mask_ends = join(outlines)
    tensors = {"images": image_bytes, "image_ends": image_ends, "masks": mask_bytes, "mask_ends": mask_ends}
    with writing(args.out) as unfinished:
        save_file(tensors, unfinished, {"pictures": json.dumps([asdict(each) for _, each, _ in found])})
    print(f"{len(pictures)} pictures, {len(outlines)} masks, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
