"""Encode the names of all targets, of what nobody taught, and of anatomy into the package, beside pocket's weights.

python experiments/pocket/phrases.py

To be run anew when the prompt bank, unlearnt.toml, descriptions.toml, the words for anatomy or the sentence encoder
change; needs no pictures.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vesalius.models.checkpoint_file import PHRASES
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.inference import TextCache
from vesalius.naming.phrasebook import list_naming_phrases
from vesalius.prompts.phrase_vectors import list_phrases, write_phrase_vectors


def main() -> None:
    """Write the vectors and say how large they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket", help="a name, checkpoint or run folder, for its sentence encoder")
    # One by one: in the company of longer ones a phrase's vector differs in its last bit.
    texts = TextCache(load_segmenter(parser.parse_args().model).eval(), at_once=1)

    def encode(phrases: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = texts.encode(phrases).embedding.numpy()
        return vectors

    phrases = [*(phrase for _, phrase in list_phrases()), *list_naming_phrases()]
    count = write_phrase_vectors(PHRASES, phrases, encode)
    print(f"{PHRASES}: {count:,} phrases, {PHRASES.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
