"""How often a phrase is rightly told to mean a learnt target, or none; prints a table and what went wrong.

    python experiments/benchmarks/known_phrases.py

Learnt counts whatever experiments/pocket/targets.toml marks. Rules and thresholds were chosen on
known_phrases_val.toml and known_phrases_dev.toml; the others are only read here. `--words` leaves
sentence vectors out, which shows what words alone decide.
"""

import argparse
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from vesalius.models.checkpoint_file import PHRASES
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.choices import DEFAULT_MODEL
from vesalius.models.inference import TextCache
from vesalius.prompts.bank import KnownTarget
from vesalius.prompts.noun_phrases import PhraseKind
from vesalius.prompts.phrase_vectors import PhraseIndex
from vesalius.prompts.targets import Encode, Resolution, resolve

RECIPES = Path(__file__).parents[2] / "experiments" / "pocket"
SPLITS = ("val", "dev", "test", "late", "blind", "fresh")


@dataclass(frozen=True)
class Case:
    """A phrase and what it means."""

    phrase: str
    kind: PhraseKind
    target: str | None = None

    def is_known(self, found: Resolution) -> bool:
        """Whether it is rightly said to be learnt or not."""
        return found.known == (self.kind != "unknown")

    def is_right(self, found: Resolution) -> bool:
        """Whether its target is told, too."""
        return self.is_known(found) and (found.kind, found.target) == (self.kind, self.target)


def read_cases(split: str) -> Iterator[Case]:
    """The phrases of one file."""
    table = tomllib.loads((RECIPES / f"known_phrases_{split}.toml").read_text(encoding="utf-8"))
    yield from (Case(phrase, "target", target) for target, phrases in table["known"].items() for phrase in phrases)
    yield from (Case(phrase, "unknown") for phrase in table["unknown"])
    yield from (Case(phrase, "vague") for phrase in table["vague"])
    yield from (Case(phrase, "denial", target) for target, phrases in table["denied"].items() for phrase in phrases)


def read_known() -> list[KnownTarget]:
    """All targets that some folder of pictures marks, with the kinds of pictures; made pictures do not count."""
    rows = tomllib.loads((RECIPES / "targets.toml").read_text(encoding="utf-8")).values()
    folders = [row for row in rows if not row.get("remade")]
    names = dict.fromkeys(name for row in folders for name in row["targets"].values())
    kinds = {name: {row["modality"] for row in folders if name in row["targets"].values()} for name in names}
    return [KnownTarget(name, frozenset(kinds[name])) for name in names]


def tabulate(split: str, answered: Sequence[tuple[Case, Resolution]]) -> Iterator[str]:
    """Rows of one file: each kind of phrase, then learnt and unlearnt ones together."""
    for title, kinds in [
        ("learnt", {"target"}),
        ("not learnt", {"unknown"}),
        ("both", {"target", "unknown"}),
        ("vague", {"vague"}),
        ("denials", {"denial"}),
    ]:
        some = [(case, found) for case, found in answered if case.kind in kinds]
        known, right = (_share(call(case, found) for case, found in some) for call in (Case.is_known, Case.is_right))
        yield f"| {split} | {title} | {len(some)} | {known} | {right} |"


def _share(right: Iterable[bool]) -> str:
    answers = list(right)
    return f"{np.mean(answers):.1%}" if answers else "–"


def main() -> None:
    """Resolve all phrases, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", action="store_true", help="without sentence vectors")
    parser.add_argument("--split", choices=SPLITS, help="one file only; all by default")
    args = parser.parse_args()
    texts = TextCache(load_segmenter(DEFAULT_MODEL).eval())
    encoded = 0

    def encode(phrase: str) -> NDArray[np.float32]:
        nonlocal encoded
        encoded += 1
        vector: NDArray[np.float32] = texts.encode([phrase]).embedding[0].numpy()
        return vector

    vectors: tuple[PhraseIndex, Encode] | tuple[()] = () if args.words else (PhraseIndex.read(PHRASES), encode)
    known, number = read_known(), 0
    lines: list[str] = []
    wrong: list[str] = []
    start = perf_counter()
    for split in [args.split] if args.split else SPLITS:
        answered = [(case, resolve(case.phrase, known, *vectors)) for case in read_cases(split)]
        number += len(answered)
        lines += tabulate(split, answered)
        wrong += [f"- {split}: '{case.phrase}' ({case.target or case.kind}) -> {found.target or found.kind}"
                  for case, found in answered if not case.is_right(found)]  # fmt: skip
    seconds = perf_counter() - start
    print(
        "| file | phrases | number | learnt or not, right | and the target |", "|---|---|---|---|---|", *lines, sep="\n"
    )
    print(f"\n{1000 * seconds / number:.1f} ms a phrase; {encoded} of {number} needed their sentence vector.\n")
    print("Wrong:", *wrong, sep="\n")


if __name__ == "__main__":
    main()
