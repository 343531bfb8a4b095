"""Put the epochs of all parts of pocket's training into one table; writes docs/pocket-curve.md.

python recipes/pocket/curve.py runs/pocket
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from vesalius.files import write_text

PAGE = Path(__file__).parents[2] / "docs" / "pocket-curve.md"
PARTS = ("segmentation", "polished", "larger", "settled", "outlines", "finished", "fitted")
HEAD = """# How pocket learnt

Written by `python recipes/pocket/curve.py runs/pocket`, from what the parts of its training left behind. Losses and
Dice are means over pictures, at the size the network works on, with one prompt a picture. A part's validation holds the
validation splits of all its data sets, slices of CT without their organ among them, so the numbers of two parts
cannot be compared; within a part they can.

| part | epoch | pictures seen so far | training loss | validation loss | validation Dice |
|---|---|---|---|---|---|
"""


def epochs(run: Path) -> Iterator[dict[str, str]]:
    """Steps, losses and Dice of each epoch; some files hold an epoch in two rows."""
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for row in csv.DictReader(file):
            found[row["epoch"]] |= {name: value for name, value in row.items() if value}
    yield from found.values()


def rows(runs: Path) -> Iterator[str]:
    """One line an epoch, of one part after the other."""
    before = 0
    for part in PARTS:
        config = json.loads((runs / part / "manifest.json").read_text(encoding="utf-8"))["config"]
        seen = before
        for epoch in epochs(runs / part):
            seen = before + int(epoch["step"]) * config["batch_size"]
            values = " | ".join(f"{float(epoch[name]):.3f}" for name in ("train_loss", "val_loss", "val_dice"))
            yield f"| {part} | {int(epoch['epoch']) + 1} | {seen:,} | {values} |"
        before = seen


def main() -> None:
    """Read, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    text = HEAD + "\n".join(rows(parser.parse_args().runs)) + "\n"
    write_text(PAGE, text)
    print(text)


if __name__ == "__main__":
    main()
