"""Score outlines by free phrases as they are said and as pocket is asked them; prints a table.

    python experiments/benchmarks/phrase_outlines.py ../shared/data

The phrases are those of experiments/pocket/known_phrases_*.toml that are rightly understood. Validation pictures that
show a target, eight of each, are asked its plain name and five of its phrases in turns. Dice is at the resolution of
the files; what is said not to be there counts 0.
"""

import argparse
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from known_phrases import SPLITS, read_cases, read_known
from numpy.typing import NDArray
from setting import describe_setting
from targets import TARGETS, ask, read_records, read_rgb, read_truth

from vesalius.console import progress_bar
from vesalius.evaluation.metrics import dice
from vesalius.models import Segmenter
from vesalius.models.checkpoint_file import PHRASES
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.choices import DEFAULT_MODEL
from vesalius.models.inference import TextCache
from vesalius.prompts.bank import find_target
from vesalius.prompts.phrase_vectors import PhraseIndex
from vesalius.prompts.targets import resolve

PICTURES, TURNS = 8, 5
"""Of each target, and phrases asked of each picture."""


@dataclass(frozen=True)
class Saying:
    """A phrase for a target."""

    said: str
    asked: str
    """The phrase itself, or the target's plain name, as which it is read."""


def understand(texts: TextCache) -> dict[str, list[Saying]]:
    """Target -> phrases that are rightly understood."""

    def encode(phrase: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = texts.encode([phrase]).embedding[0].numpy()
        return vector

    index, known = PhraseIndex.read(PHRASES), read_known()
    found: dict[str, list[Saying]] = defaultdict(list)
    for case in (case for split in SPLITS for case in read_cases(split) if case.target and case.kind == "target"):
        answer = resolve(case.phrase, known, index, encode)
        if case.is_right(answer) and case.target:
            asked = find_target(case.target).phrases[0] if answer.read_as else case.phrase
            found[case.target].append(Saying(case.phrase, asked))
    return found


def read_shown(shared: Path, wanted: Mapping[str, Sequence[Saying]]) -> Iterator[tuple[str, Path, Path]]:
    """Target, picture and mask, of validation."""
    folders = tomllib.loads(TARGETS.read_text(encoding="utf-8"))
    counts: dict[str, int] = defaultdict(int)
    for root in sorted([*(shared / "segmentation").iterdir(), *(shared / "targets").iterdir()]):
        if root.name not in folders or not (root / "anns" / "val.json").exists():
            continue
        own = folders[root.name]["targets"]
        for name, records in read_records(root, "val").items():
            for record in records:
                target = own.get(record["target"]) if "target" in record else next(iter(own.values()))
                if target in wanted and not record.get("absent") and counts[target] < PICTURES:
                    counts[target] += 1
                    yield target, root / "images" / name, root / "masks" / record["mask_name"]


def score(model: Segmenter, texts: TextCache, picture: Path, mask: Path, phrases: Sequence[str]) -> list[float]:
    """Dice of each phrase."""
    answers, truth = ask(model, texts, read_rgb(picture), phrases), read_truth(mask)
    marked = torch.stack([
        (each.logits[0, 0] > 0) & bool(each.existence is None or each.existence > 0) for each in answers
    ])  # fmt: skip
    scores: list[float] = dice(marked, torch.from_numpy(truth).expand_as(marked)).tolist()
    return scores


def main() -> None:
    """Understand, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path, help="folder with segmentation/ and targets/")
    args = parser.parse_args()
    model = load_segmenter(DEFAULT_MODEL).eval()
    texts = TextCache(model)
    sayings = understand(texts)
    shown = list(read_shown(args.shared, sayings))
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with progress_bar() as bar:
        for target, picture, mask in bar.track(shown, description="Asking"):
            first, own = len(found[target]) * TURNS, sayings[target]
            some = [own[(first + turn) % len(own)] for turn in range(min(TURNS, len(own)))]
            phrases = [find_target(target).phrases[0], *(each.said for each in some), *(each.asked for each in some)]
            plain, *scores = score(model, texts, picture, mask, phrases)
            said, asked = (float(np.mean(part)) for part in (scores[: len(some)], scores[len(some) :]))
            found[target].append((plain, said, asked))
    print(f"{describe_setting()}; {sum(map(len, sayings.values()))} phrases, {len(shown)} pictures.\n")
    print(
        "| target | pictures | plain name | phrases as they are said | as pocket is asked |",
        "|---|---|---|---|---|",
        sep="\n",
    )
    means = {target: np.mean(rows, axis=0) for target, rows in sorted(found.items())}
    for target, mean in means.items():
        print(f"| {target} | {len(found[target])} | {' | '.join(f'{each:.3f}' for each in mean)} |")
    whole = np.mean(list(means.values()), axis=0)
    print(f"| mean of {len(means)} | {len(shown)} | {' | '.join(f'{each:.3f}' for each in whole)} |")


if __name__ == "__main__":
    main()
