"""Pictures of ../shared/data/targets, of some hundred more people, for naming: target_labels.toml says what they show.

Their test splits are never trained on, nor what is a near copy of a test picture (leave_out.toml).
"""

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelled_slice import LabelledSlice, partial

from vesalius.data.slices.cutting import to_square
from vesalius.imaging import read_image
from vesalius.prompts.anatomy import AnatomyLabel

LABELS = Path(__file__).with_name("target_labels.toml")
LEFT_OUT = Path(__file__).with_name("leave_out.toml")
MOST, MOST_TESTED = 60, 12
"""Pictures of a folder that are trained on, and tested."""
LEAST_LIT, LIT = 0.06, 15
"""Share of a picture, among 255 shades those from LIT on, without which there is nothing to see."""
Row = Mapping[str, Any]


def read_targets(shared: Path, size: int) -> Iterator[LabelledSlice]:
    """Pictures of every folder, spread evenly over its names and so over its people.

    Args:
        shared: Folder with targets/.
        size: Side of the pictures.
    """
    left_out = tomllib.loads(LEFT_OUT.read_text(encoding="utf-8"))
    for name, row in tomllib.loads(LABELS.read_text(encoding="utf-8")).items():
        root = shared / "targets" / name
        copies = {each for part in left_out.values() if isinstance(part, dict) for each in part.get(name, ())}
        for splits, most in ((("train", "val"), MOST), (("test",), MOST_TESTED)):
            tested = splits == ("test",)
            shown = {picture: targets for picture, targets in _records(root, splits).items() if says(row, targets)}
            names = sorted(picture for picture in shown if tested or picture not in copies)
            for picture in names[:: max(1, -(-len(names) // most))]:
                square = to_square(read_image(root / "images" / picture).slices()[0].rgb_square(), size)
                if (square >= LIT).mean() >= LEAST_LIT:
                    label = label_of(row, picture, shown[picture])
                    yield LabelledSlice(square, label, name, name, test=tested)


def _records(root: Path, splits: Sequence[str]) -> dict[str, dict[str, bool]]:
    """Picture -> target -> whether it shows."""
    found: dict[str, dict[str, bool]] = defaultdict(dict)
    for split in splits:
        for record in json.loads((root / "anns" / f"{split}.json").read_text(encoding="utf-8")):
            found[record["img_name"]][record["target"]] = not record.get("absent", False)
    return found


def says(row: Row, targets: Mapping[str, bool]) -> bool:
    """Whether a folder's label holds for a picture: one of its targets shows, where that matters."""
    return "organs" not in row or any(targets.get(target) for target in row["organs"])


def label_of(row: Row, picture: str, targets: Mapping[str, bool]) -> AnatomyLabel:
    """What a picture shows.

    Args:
        row: Its folder's.
        picture: Its file name, which may tell the plane.
        targets: Target -> whether it shows, of those that its records mention.
    """
    organs = {organ for target, organ in row.get("organs", {}).items() if organ and targets.get(target)}
    gone = {row["organs"][target] for target in row.get("absent", ()) if targets.get(target) is False}
    plane, protocol = (
        next((label for part, label in row.get(f"{kind}s", {}).items() if part in picture), row.get(kind))
        for kind in ("plane", "protocol")
    )
    perhaps = tuple(row.get("perhaps", ()))
    if row.get("bare", False):
        return AnatomyLabel(row["modality"], protocol, plane, uncertain=frozenset(perhaps))
    label = partial(row["modality"], plane, row.get("station"), *sorted(organs), perhaps=perhaps)
    return replace(label, protocol=protocol, uncertain=label.uncertain - gone)
