"""Sentence vectors of all names: a phrase that words leave open is compared with them.

The file beside pocket's weights holds them for other uses, too: with it, a known phrase needs no text encoder.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vesalius.errors import PromptError
from vesalius.files import writing

UNLEARNT = ""
"""Owner of phrases for what pocket did not learn."""
NEIGHBOURS = 3
"""A target's nearness is the mean of its nearest phrase and of the mean of this many nearest phrases."""
NEAREST = 0.5
"""Cosine that a target must have at least to be meant."""
_REMEDY = "make it anew with experiments/pocket/phrases.py"


@dataclass(frozen=True, eq=False)
class PhraseIndex:
    """Sentence vectors of all names, of targets and of what pocket did not learn."""

    owners: tuple[str, ...]
    """Row of the bank, or ``UNLEARNT``, [P]."""
    vectors: NDArray[np.float32]
    """Unit vectors, [P, D]."""

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
            raise PromptError(f"{path}: {count}; {_REMEDY}.")
        vectors = np.stack([known[phrase] for phrase in phrases])
        return cls(owners, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def compare(self, vector: NDArray[np.float32], known: Iterable[str]) -> "Nearness":
        """How near a phrase lies to each of the known targets, and to all else."""
        cosines = self.vectors @ (vector / np.linalg.norm(vector))
        wanted = dict.fromkeys(known)
        rows: dict[str, list[int]] = {}
        for row, owner in enumerate(self.owners):
            rows.setdefault(owner if owner in wanted else UNLEARNT, []).append(row)
        near = {owner: _nearness(cosines[found]) for owner, found in rows.items()}
        other = near.pop(UNLEARNT, 0.0)
        return Nearness(dict(sorted(near.items(), key=lambda each: -each[1])), other)


@dataclass(frozen=True)
class Nearness:
    """How near a phrase lies to targets."""

    targets: Mapping[str, float]
    """Target -> cosine, the nearest first."""
    other: float
    """Cosine of the nearest thing that is not learnt."""

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
    path: Path, phrases: Iterable[str], encode: Callable[[Sequence[str]], NDArray[np.float32]]
) -> int:
    """Encode phrases into a file.

    Args:
        path: Of the file.
        phrases: Any, repeats allowed.
        encode: Gives phrases' sentence vectors, [P, D].

    Returns:
        How many different ones there are.
    """
    distinct = list(dict.fromkeys(phrases))
    with writing(path) as unfinished:
        save_file({"vectors": encode(distinct)}, unfinished, metadata={"phrases": json.dumps(distinct)})
    return len(distinct)


def read_phrase_vectors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Phrase -> sentence vector [D].

    Raises:
        PromptError: If the file cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            phrases, vectors = json.loads((file.metadata() or {})["phrases"]), file.get_tensor("vectors")
        return dict(zip(phrases, vectors, strict=True))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise PromptError(f"{path}: no vectors of phrases can be read ({error}); {_REMEDY}.") from error


def _nearness(cosines: NDArray[np.float32]) -> float:
    best = np.sort(cosines)[::-1][:NEIGHBOURS]
    return float(best[0] + best.mean()) / 2
