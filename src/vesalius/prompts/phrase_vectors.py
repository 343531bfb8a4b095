"""Sentence vectors of all names: a phrase that words leave open is compared with them.

The nearest names alone miss what many names of a target have in common, so a linear classifier that learnt all names
has a say, too. The file beside pocket's weights holds the vectors for other uses as well: with it, a known phrase needs
no text encoder.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vesalius.errors import REINSTALL, PromptError
from vesalius.files import writing

UNLEARNT = ""
"""Owner of phrases for what pocket did not learn."""
NEIGHBOURS = 3
"""A target's nearness is the mean of its nearest phrase and of the mean of this many nearest phrases."""
NEAREST = 0.5
"""Nearness that a target must have at least to be meant."""
SHARE_WEIGHT = 0.03
"""Cosine that a share of the classifier is worth if it is e times an even one; chosen on known_phrases_dev.toml."""
LEAST_SHARE = 3e-4
"""Shares below this count as this."""
TINY = 1e-12
"""Smallest length that a vector is divided by."""


@dataclass(frozen=True, eq=False)
class PhraseClassifier:
    """How likely a sentence vector means each target, or nothing learnt: a multinomial logistic regression."""

    owners: tuple[str, ...]
    """Rows of the bank and ``UNLEARNT``, [C]."""
    weights: NDArray[np.float32]
    """Weights of unit vectors, [C, D]."""
    offsets: NDArray[np.float32]
    """Offset of each row's score, [C]."""

    def shares(self, vector: NDArray[np.float32]) -> dict[str, float]:
        """Share of each owner, together 1, of a unit vector [D]."""
        odds = self.weights @ vector + self.offsets
        each = np.exp(odds - odds.max())
        return dict(zip(self.owners, (each / each.sum()).tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class PhraseIndex:
    """Sentence vectors of all names, of targets and of what pocket did not learn."""

    owners: tuple[str, ...]
    """Row of the bank, or ``UNLEARNT``, [P]."""
    vectors: NDArray[np.float32]
    """Unit vectors, [P, D]."""
    classifier: PhraseClassifier

    @classmethod
    def read(cls, path: Path) -> "PhraseIndex":
        """Take the names' vectors out of a file of `write_phrase_vectors`.

        Raises:
            PromptError: If there is no such file, or it lacks a name that the prompt bank has now.
        """
        known = read_phrase_vectors(path)
        owners, phrases = zip(*list_phrases(), strict=True)
        if lacking := [phrase for phrase in phrases if phrase not in known]:
            count = f"{len(lacking)} phrases of the prompt bank are missing, the first '{lacking[0]}'"
            raise PromptError(f"{path}: {count}; make it anew with experiments/pocket/phrases.py.")
        vectors = np.stack([known[phrase] for phrase in phrases])
        return cls(owners, to_unit(vectors), _read_classifier(path))

    def compare(self, vector: NDArray[np.float32], known: Iterable[str]) -> "Nearness":
        """How near a phrase lies to each of the known targets, and to all else."""
        unit = to_unit(vector)
        cosines = self.vectors @ unit
        wanted = dict.fromkeys(known)
        rows: dict[str, list[int]] = {}
        for row, owner in enumerate(self.owners):
            rows.setdefault(owner if owner in wanted else UNLEARNT, []).append(row)
        shares = self.classifier.shares(unit)
        even = 1 / len(shares)
        shares[UNLEARNT] = max(share for owner, share in shares.items() if owner not in wanted)
        near = {
            owner: _nearness(cosines[found]) + SHARE_WEIGHT * math.log(max(shares[owner], LEAST_SHARE) / even)
            for owner, found in rows.items()
        }
        other = near.pop(UNLEARNT, 0.0)
        return Nearness(dict(sorted(near.items(), key=lambda each: -each[1])), other)


@dataclass(frozen=True)
class Nearness:
    """How near a phrase lies to targets."""

    targets: Mapping[str, float]
    """Target -> cosine of its nearest names, moved by what the classifier says; the nearest first."""
    other: float
    """The same of what is not learnt."""

    def means(self, target: str, lead: float, min_cosine: float = NEAREST) -> bool:
        """Whether it is near enough to a target, and by so much nearer than to what is not learnt."""
        return self.targets[target] >= max(min_cosine, self.other + lead)


def list_phrases() -> tuple[tuple[str, str], ...]:
    """All names whose vectors a ``PhraseIndex`` has: owner and phrase."""
    # Whoever only reads vectors needs none of the tables.
    from vesalius.prompts.bank import DISTRACTORS, list_targets, read_bank, read_synonyms
    from vesalius.prompts.lexicon import read_unlearnt

    bank = read_bank()
    described = read_synonyms().descriptions
    rows = [
        (name, phrase)
        for name in list_targets()
        for phrase in (*bank[name].phrases, *bank[name].nouns, *described.get(name, ()))
    ]
    others = (
        *bank[DISTRACTORS].phrases,
        *(phrase for name, terms in read_unlearnt().items() if name != "changing" for phrase in terms),
        *read_synonyms().unlearnt_descriptions,
    )
    return (*dict.fromkeys(rows), *((UNLEARNT, phrase) for phrase in dict.fromkeys(others)))


def write_phrase_vectors(
    path: Path,
    phrases: Iterable[str],
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
    learn: Callable[[Mapping[str, NDArray[np.float32]]], PhraseClassifier],
) -> int:
    """Encode phrases into a file.

    Args:
        path: Of the file.
        phrases: Any, repeats allowed.
        encode: Gives phrases' sentence vectors, [P, D].
        learn: Gives the classifier, from phrases and their vectors.

    Returns:
        How many different ones there are.
    """
    distinct = list(dict.fromkeys(phrases))
    vectors = encode(distinct)
    classifier = learn(dict(zip(distinct, vectors, strict=True)))
    # Safetensors writes what lies column by column in memory as if it lay row by row.
    weights = np.ascontiguousarray(classifier.weights)
    tensors = {"vectors": vectors, "weights": weights, "offsets": classifier.offsets}
    facts = {"phrases": json.dumps(distinct), "owners": json.dumps(classifier.owners)}
    with writing(path) as unfinished:
        unfinished.write_bytes(save(tensors, facts))  # save_file would make it readable by its owner alone
    return len(distinct)


def read_phrase_vectors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Phrase -> sentence vector [D].

    Raises:
        PromptError: If the file cannot be read.
    """
    facts, tensors = _read(path, "phrases", "vectors")
    return dict(zip(facts, tensors[0], strict=True))


def to_unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors [..., D] to length 1; empty ones stay empty."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), TINY), np.float32)


def _read_classifier(path: Path) -> PhraseClassifier:
    owners, (weights, offsets) = _read(path, "owners", "weights", "offsets")
    return PhraseClassifier(tuple(owners), weights, offsets)


def _read(path: Path, fact: str, *names: str) -> tuple[list[str], list[NDArray[np.float32]]]:
    """A list of its metadata, and tensors whose rows belong to it."""
    try:
        with safe_open(path, framework="numpy") as file:
            rows: list[str] = json.loads((file.metadata() or {})[fact])
            tensors = [file.get_tensor(name) for name in names]
        if any(len(each) != len(rows) for each in tensors):
            raise ValueError(f"{fact} and tensors differ in number")
        return rows, tensors
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise PromptError(f"{path}: no vectors of phrases can be read ({error}); {REINSTALL}.") from error


def _nearness(cosines: NDArray[np.float32]) -> float:
    best = np.sort(cosines)[::-1][:NEIGHBOURS]
    return float(best[0] + best.mean()) / 2
