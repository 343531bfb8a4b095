"""Turn all that pocket is asked while it learns into vectors, in one small file that travels to a GPU.

    python experiments/pocket/pack_words.py runs/pocket/start.safetensors runs/pocket/images.safetensors \
        runs/pocket/words.safetensors

Beside the vectors of the bank's phrases and of the records' own it holds the trunk's starting weights, and for each
folder what its pictures surely do not show (``targets.toml``).
"""

import argparse
import json
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from pool import FOREIGN, FOREIGN_ALIKE
from safetensors import safe_open
from safetensors.torch import save_file

from vesalius.console import progress_bar
from vesalius.files import writing
from vesalius.models.checkpoints import load_segmenter
from vesalius.prompts.bank import find_target, foreign_targets, list_groups, list_targets, read_bank

TARGETS = Path(__file__).with_name("targets.toml")
FEWEST = 5
"""Pictures that a target must have to be learnt."""
MOST_COMPOUNDS = 90
"""Of a target, spread over all it has."""
NOT_LEARNT = {"glioma", "meningioma", "pituitary_tumour"}
"""Too few pictures of each to tell them apart; they are learnt as brain tumours."""


def freedom_of(name: str, folder: dict[str, Any]) -> str:
    """The row of ``batch_augment.FREEDOM``."""
    if folder["region"] == "head" and folder["modality"] in ("ct", "mr"):
        return "head"
    return "breast us" if name == "busi" else str(folder["modality"])


class Words:
    """Phrases and their numbers."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, phrase: str) -> int:
        """The same for the same phrase."""
        return self.numbers.setdefault(phrase, len(self.numbers))

    def all(self, phrases: Iterable[str]) -> list[int]:
        """Of each."""
        return [self.number(each) for each in phrases]


def foreign(folder: dict[str, Any], targets: list[str], modalities: dict[str, set[str]]) -> list[int]:
    """Of each target: 0 where the folder's pictures may show it, else ``FOREIGN`` or ``FOREIGN_ALIKE``."""
    groups = list_groups()
    shown = [member for entry in folder.get("shows", ()) for member in groups.get(entry, (entry,))]
    own = set(folder["targets"].values())
    lacking = set.intersection(*(set(foreign_targets(target, shown)) for target in own)) - own
    return [
        0 if target not in lacking else (FOREIGN_ALIKE if folder["modality"] in modalities[target] else FOREIGN)
        for target in targets
    ]


def lacks(folder: dict[str, Any], targets: list[str]) -> dict[int, list[int]]:
    """Target -> what a picture that shows it surely lacks, all as numbers."""
    return {
        targets.index(shown): [targets.index(each) for each in lacking if each in targets]
        for shown, lacking in folder.get("lacks", {}).items()
        if shown in targets
    }


def encode(phrases: list[str], start: Path, known: dict[str, torch.Tensor]) -> torch.Tensor:
    """Sentence vectors [P, E]; those that an earlier run left are taken over."""
    new = [each for each in phrases if each not in known]
    model = load_segmenter(start)
    with progress_bar() as bar, torch.inference_mode():
        for first in bar.track(range(0, len(new), 64), description="Encoding phrases"):
            some = new[first : first + 64]
            known |= dict(zip(some, model.encode_text(some).embedding, strict=True))
    return torch.stack([known[each].float() for each in phrases])


def read_facts(words: Path) -> dict[str, Any]:
    """What a file of words says beside its vectors."""
    with safe_open(words, "pt") as opened:
        facts: dict[str, Any] = json.loads(opened.metadata()["words"])
        return facts


def read_known(words: Path | None) -> dict[str, torch.Tensor]:
    """Phrases and vectors of an earlier run."""
    if words is None or not words.exists():
        return {}
    with safe_open(words, "pt") as opened:
        phrases: list[str] = read_facts(words)["texts"]
        return dict(zip(phrases, opened.get_tensor("vectors").float() * opened.get_tensor("scales"), strict=True))


def spread(items: list[str], most: int) -> list[str]:
    """So many of them, evenly."""
    return items[:: max(1, -(-len(items) // most))]


def wordings_of(prompts: dict[str, Any]) -> list[str]:
    """All of a record's own."""
    return [text for own in prompts.values() for text in ([own] if isinstance(own, str) else own)]


def main() -> None:
    """Number, encode, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--learnt", type=Path, help="words of the training split, whose targets these are")
    args = parser.parse_args()
    folders: dict[str, dict[str, Any]] = tomllib.loads(TARGETS.read_text(encoding="utf-8"))
    with safe_open(args.images, "pt") as opened:
        packed: list[dict[str, Any]] = json.loads(opened.metadata()["pictures"])
    counts: Counter[str] = Counter()
    kinds: dict[str, set[str]] = defaultdict(set)
    for name, folder in folders.items():
        only = next(iter(folder["targets"].values())) if len(folder["targets"]) == 1 else None
        folder["targets"] = {key: value for key, value in folder["targets"].items() if value not in NOT_LEARNT}
        if only:
            folder["targets"][""] = only  # of records that do not say
        folder["freedom"] = freedom_of(name, folder)
    for each in packed:
        named = folders[each["folder"]]["targets"]
        for target, mask in zip(each["targets"], each["masks"], strict=True):
            if mask >= 0 and (target or "") in named and not folders[each["folder"]].get("remade"):
                counts[named[target or ""]] += 1
                kinds[named[target or ""]].add(folders[each["folder"]]["modality"])
    learnt = read_facts(args.learnt)["targets"] if args.learnt else None
    targets = learnt or [target for target in list_targets() if counts[target] >= FEWEST]
    for folder in folders.values():
        folder["targets"] = {key: value for key, value in folder["targets"].items() if value in targets}
    modalities = {target: kinds[target] for target in targets}
    words = Words()
    words.number("")  # is asked, too, whatever records say
    used = {each["folder"] for each in packed}
    facts = {
        "targets": targets,
        "modalities": {name: sorted(each) for name, each in modalities.items()},
        "images": {target: counts[target] for target in targets},
        "phrases": [
            words.all([*find_target(each).phrases, *spread(list(find_target(each).compounds), MOST_COMPOUNDS)])
            for each in targets
        ],
        "absences": [words.all(find_target(each).absences) for each in targets],
        "distractors": words.all(read_bank()["distractors"].phrases),
        "folders": {
            name: {
                "targets": each["targets"],
                "freedom": each["freedom"],
                "foreign": foreign(each, targets, modalities),
                "surely": [targets.index(target) for target in each.get("surely", ()) if target in targets],
                "lacks": lacks(each, targets),
            }
            for name, each in folders.items()
            if name in used
        },
        "prompts": [[words.all(wordings_of(own)) for own in each["prompts"]] for each in packed],
    }
    facts["texts"] = phrases = list(words.numbers)
    vectors = encode(phrases, args.start, read_known(args.learnt) | read_known(args.out))
    scales = vectors.abs().amax(dim=1, keepdim=True) / 127
    tensors = {"vectors": (vectors / scales).round().to(torch.int8), "scales": scales}
    with safe_open(args.start, "pt") as opened:
        names = [each for each in opened.keys() if each.startswith("trunk.") and "num_batches" not in each]  # noqa: SIM118
        tensors |= {name: opened.get_tensor(name).half() for name in names}
    with writing(args.out) as unfinished:
        save_file(tensors, unfinished, {"words": json.dumps(facts)})
    print(f"{len(targets)} targets, {len(phrases)} phrases, {args.out.stat().st_size / 1e6:.1f} MB")
    for target in targets:
        print(f"  {target}: {counts[target]} pictures, {', '.join(sorted(modalities[target]))}")


if __name__ == "__main__":
    main()
