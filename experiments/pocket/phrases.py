"""Encode the names of all targets, of what nobody taught, and of anatomy into the package, beside pocket's weights.

python experiments/pocket/phrases.py

A classifier of targets learns from all names, too. To be run anew when the prompt bank, unlearnt.toml,
descriptions.toml, the words for anatomy or the sentence encoder change; needs no pictures.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from vesalius.models.checkpoint_file import PHRASES
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.inference import TextCache
from vesalius.naming.phrasebook import list_naming_phrases
from vesalius.prompts.phrase_vectors import PhraseClassifier, list_phrases, to_unit, write_phrase_vectors

INVERSE_PENALTY = 30.0
"""Scikit-learn's C; chosen on known_phrases_dev.toml."""
TOLERANCE = 1e-6
"""Where the solver stops; at its own 1e-4 the number of threads decides how phrases at the edge are read."""


def learn(vectors: Mapping[str, NDArray[np.float32]]) -> PhraseClassifier:
    """Which targets their names mean."""
    owners, phrases = zip(*list_phrases(), strict=True)
    found = LogisticRegression(C=INVERSE_PENALTY, max_iter=3000, tol=TOLERANCE)
    found.fit(to_unit(np.stack([vectors[each] for each in phrases])), owners)
    return PhraseClassifier(tuple(found.classes_), found.coef_.astype(np.float32), found.intercept_.astype(np.float32))


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
    count = write_phrase_vectors(PHRASES, phrases, encode, learn)
    print(f"{PHRASES}: {count:,} phrases, {PHRASES.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
