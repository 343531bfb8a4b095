"""Average the weights of two parts of pocket's training (WiSE-FT, Wortsman et al., 2022).

The later part hears more wordings and outlines BKAI better, the earlier ultrasound and ClinicDB; in between lies a
model that is better than both on the whole, on validation.

    python recipes/pocket/mix.py runs/pocket/polished runs/pocket/larger runs/pocket/mixed.safetensors
"""

import argparse
from pathlib import Path

from vesalius.models.checkpoints import find_checkpoint, load_segmenter, read_notes, save_model
from vesalius.models.wise import interpolate_weights

SHARE = 0.5
"""Of the later part; 0.5 was best on validation among 0, 0.5, 0.7 and 1."""


def main() -> None:
    """Mix and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    mixed = interpolate_weights(load_segmenter(args.before), load_segmenter(args.after), SHARE)
    notes = read_notes(find_checkpoint(args.after))
    save_model(mixed, args.out, notes | {"mixed": {"before": str(args.before), "share": SHARE}})


if __name__ == "__main__":
    main()
