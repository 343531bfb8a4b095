"""Pack a trained pocket into the package: 8 bits for the sentence encoder's matrices, 16 for everything else.

python experiments/pocket/pack.py runs/pocket/named.safetensors
"""

import argparse
from pathlib import Path

from vesalius.models.checkpoint_file import EMBEDDED, read_notes
from vesalius.models.checkpoints import load_model, save_model


def main() -> None:
    """Write the package's weights and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trained", type=Path)
    trained = parser.parse_args().trained
    save_model(load_model(trained), EMBEDDED["pocket"], read_notes(trained), pack=True)
    print(f"{EMBEDDED['pocket']}: {EMBEDDED['pocket'].stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
