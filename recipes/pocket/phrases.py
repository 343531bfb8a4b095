"""Encode the names of all targets, and of what nobody taught, into the package, beside pocket's weights.

python recipes/pocket/phrases.py

To be run anew when the prompt bank, unlearnt.toml or the sentence encoder changes; needs no pictures.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vesalius.models.checkpoints import load_segmenter
from vesalius.models.embedded import PHRASES
from vesalius.models.text_cache import TextCache
from vesalius.prompts.phrase_vectors import PhraseIndex


def main() -> None:
    """Write the vectors and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket", help="a name, checkpoint or run folder, for its sentence encoder")
    texts = TextCache(load_segmenter(parser.parse_args().model).eval())

    def encode(phrases: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = texts.encode(phrases).embedding.numpy()
        return vectors

    index = PhraseIndex.make(encode)
    index.write(PHRASES)
    print(f"{PHRASES}: {len(index.owners):,} phrases, {PHRASES.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
