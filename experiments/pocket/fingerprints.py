"""Write the fingerprints of all that pocket was trained on, to lie beside its weights.

    python experiments/pocket/fingerprints.py --out src/vesalius/models/weights/pocket.seen.safetensors DATA …

DATA are data sets of which pocket saw the training split, or the folder that holds them. Each image becomes 18 bytes,
in which nothing of it can be seen; `vesalius evaluate pocket` then says how many images of a split it was trained on.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from vesalius.console import progress_bar
from vesalius.data.annotations import read_annotations
from vesalius.data.fingerprints import Fingerprints, take_fingerprints, write_fingerprints
from vesalius.errors import DataError


def find_sets(folders: Sequence[Path]) -> Iterator[Path]:
    """The data sets among these folders, and in them."""
    for folder in folders:
        inside = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        found = [path for path in inside if (path / "anns" / "train.json").is_file()]
        if not found:
            raise DataError(f"{folder}: no data set there; expected anns/train.json in it, or in a folder in it.")
        yield from found


def find_images(root: Path) -> list[Path]:
    """Training images of a data set, each once."""
    names = dict.fromkeys(record.img_name for record in read_annotations(root / "anns" / "train.json"))
    return [root / "images" / name for name in names]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read all images once and write one file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DATA")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    known = Fingerprints(complete=True)
    with progress_bar() as bar:
        for root in find_sets(given.folders):
            images = find_images(root)
            task = bar.add_task(root.name, total=len(images))
            known = known.join(take_fingerprints(images, partial(bar.advance, task)))
    write_fingerprints(known, given.out)
    print(f"{len(known.images)} images, {given.out.stat().st_size} bytes: {given.out}")


if __name__ == "__main__":
    main()
