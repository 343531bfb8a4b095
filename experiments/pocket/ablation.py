"""What parts of pocket's training are worth: short trainings, each without one of them, on a GPU.

    python experiments/pocket/ablation.py runs/pocket/train.safetensors runs/pocket/val.safetensors \
        runs/pocket/words.safetensors --out runs/pocket/ablation

All start from ImageNet's features, take equally many steps on smaller pictures than pocket, and are measured on the
validation pictures by each target's plain name. They run side by side, so their seconds say nothing. ``--page`` writes
docs/results/pocket-ablation.md from what a run left in ``--out``.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pool import Asker, Places, Pool, Question, Record
from torch import Tensor, nn
from train import Config, fit, make_asker, validate

from vesalius.files import write_text
from vesalius.models import build_model
from vesalius.models.encoder import ImageFeatures, TextFeatures
from vesalius.models.layers import FiLM
from vesalius.models.pocket import PocketSegmenter

ARMS = {
    "pocket": "as pocket is trained",
    "no_negatives": "nothing asked that pictures of the same modality could show and lack",
    "decoder_per_phrase": "the phrase steers all stages of the U-Net decoder, run for each phrase, as in pocket 4",
    "half_pictures": "half of the training pictures of each folder",
    "quarter_pictures": "a quarter of them",
}
PAGE = Path(__file__).parents[2] / "docs" / "results" / "pocket-ablation.md"
RESAMPLES = 2000
SHARES = {"half_pictures": 2, "quarter_pictures": 4}
"""One picture in so many is kept."""


class TacitAsker(Asker):
    """Never asks about what a picture's own kind could show and this one does not."""

    def learnt(self, places: Places) -> Places:
        """Those that show their target."""
        return {target: (shown, []) for target, (shown, _) in places.items() if shown}

    def _ask(self, place: int, picture: int, first: int | None) -> list[Question]:
        records = self.pool.records[picture]
        shown = [number for number, each in enumerate(records) if each.mask >= 0 and number != first]
        chosen = ([] if first is None else [first]) + shown[: self.questions - 2]
        asked = [self._about(place, records, number) for number in chosen]
        while len(asked) < self.questions:
            asked.append(self._elsewhere(place, self.pool.folders[picture], records))
        return asked

    def _elsewhere(self, place: int, folder: str, records: Sequence[Record]) -> Question:
        far = self.other[folder]
        if self.random.random() < 0.1 or not len(far):
            vector = self._pick(self.pool.distractors)
            return Question(place, -1, vector, -1, 0.05, vector)
        target = int(far[self.random.integers(len(far))])
        vector = self._pick(self.pool.phrases[target])
        return Question(place, target, vector, -1, 0.1, vector)


class PromptedStages(nn.Module):
    """A U-Net decoder whose every stage is scaled and shifted by the phrase."""

    def __init__(self, taps: tuple[int, ...], widths: tuple[int, ...], condition: int) -> None:
        super().__init__()
        deepest, *skips = reversed(taps)
        inputs = [deepest, *(width + skip for width, skip in zip(widths, skips, strict=False))]
        self.mixes = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
            for channels, width in zip(inputs, widths, strict=True)
        )
        self.films = nn.ModuleList(FiLM(condition, width) for width in widths)
        self.refinements = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            for width in widths
        )
        self.to_logits = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, taps: tuple[Tensor, ...], condition: Tensor) -> Tensor:
        """The trunk's maps, fine to coarse, and [B, E] -> logits [B, 1, H, W] at the finest map's size."""
        deepest, *skips = reversed(taps)
        x = deepest
        for number, (mix, film, refine) in enumerate(zip(self.mixes, self.films, self.refinements, strict=True)):
            if number:
                skip = skips[number - 1]
                larger = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
                x = torch.cat([larger, skip], dim=1)
            x = refine(F.relu(film(mix(x), condition)))
        logits: Tensor = self.to_logits(x).float()
        return logits


class DecodedPerPhrase(nn.Module):
    """Pocket with pocket 4's kind of decoder; trunk and existence score are pocket's."""

    def __init__(self, pocket: PocketSegmenter) -> None:
        super().__init__()
        self.spec, self.trunk, self.projection = pocket.spec, pocket.trunk, pocket.projection
        self.evidence, self.existence, self.to_condition = pocket.evidence, pocket.existence, pocket.to_condition
        self.stages = PromptedStages(self.trunk.channels, (192, 128, 96, 64, 32), 256)

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """The trunk's maps and the evidence."""
        pixels = self.spec.prepare(images).contiguous(memory_format=torch.channels_last)
        taps = self.trunk(pixels)
        return ImageFeatures(images.new_zeros(len(images), 0), (*taps, *self.evidence(taps)))

    def outline_and_judge(self, image: ImageFeatures, text: TextFeatures) -> tuple[Tensor, Tensor, Tensor]:
        """As pocket's; the coarse outline is the fine one at a fourth of its side."""
        *taps, deep, middle, scene = image.taps
        logits = self.stages(tuple(taps), self.to_condition(text.embedding))
        coarse = F.avg_pool2d(logits, 4)
        return logits, coarse, self.existence(deep, middle, scene, coarse, text.embedding)


def keep_part(pool: Pool, keep: int) -> None:
    """Of each folder, forget all training pictures but one in so many."""
    seen: dict[str, int] = {}
    for place, folder in enumerate(pool.folders):
        seen[folder] = seen.get(folder, -1) + 1
        if seen[folder] % keep:
            pool.splits[place] = "left out"


def run_arm(arm: str, args: argparse.Namespace) -> None:
    """Train and measure one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = Config(
        minutes=0, steps=args.steps, batch=args.batch, small_side=args.side, small_share=1.0, warm_up=0.1, ema=0.99
    )
    torch.manual_seed(config.seed)
    pool = Pool(args.train, args.words, device)
    if arm in SHARES:
        keep_part(pool, SHARES[arm])
    model: nn.Module = build_model("pocket")
    assert isinstance(model, PocketSegmenter)
    model.load_state_dict(pool.trunk, strict=False)
    model.sentences = nn.Identity()  # type: ignore[assignment]
    if arm == "decoder_per_phrase":
        model = DecodedPerPhrase(model)
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    asker = make_asker(pool, config, TacitAsker if arm == "no_negatives" else Asker)
    average, facts = fit(model, pool, asker, config, None, time.time())  # type: ignore[arg-type]
    model.load_state_dict({name: value.float() for name, value in average.state().items()}, strict=False)
    judged = Pool(args.val, args.words, device, own_prompts=False)
    facts |= {"arm": arm, "validation": validate(model, judged), "pictures in training": pool.splits.count("train")}  # type: ignore[arg-type]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{arm}.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    print(arm, "done", flush=True)


def by_target(facts: dict[str, Any], kind: str) -> dict[str, float]:
    """Target -> mean of a score over its data sets, each weighing as many pictures as it has."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for name, scores in facts["validation"].items():
        if kind in scores:
            rows.setdefault(name.partition(" | ")[0], []).append((scores[kind], max(1.0, scores["images"])))
    return {name: float(np.average([a for a, _ in own], weights=[b for _, b in own])) for name, own in rows.items()}


def interval(values: Sequence[float], sign: str = "") -> str:
    """Mean, with a 95 % bootstrap interval over targets; ``sign`` "+" for differences."""
    array = np.array(values)
    means = array[np.random.default_rng(1).integers(len(array), size=(RESAMPLES, len(array)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{array.mean():{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def write_page(found: Path) -> None:
    """A row an arm."""
    facts = {arm: json.loads((found / f"{arm}.json").read_text(encoding="utf-8")) for arm in ARMS}
    first, whole = facts["pocket"], by_target(facts["pocket"], "dice")
    config = first["config"]
    lines = [
        "# What the parts of pocket's training are worth",
        "",
        f"Written by `python experiments/pocket/ablation.py … --page`: {len(ARMS)} trainings of {first['steps']} steps "
        f"of {config['batch']} pictures, {config['small_side']} px, from ImageNet's features, on a {first['device']}. "
        "They are short and of one seed each, so differences smaller than their intervals say nothing. "
        "Validation pictures, asked by plain names. Dice is the mean over targets; intervals are 95 % bootstrap "
        "intervals over targets, of the differences paired by target.",
        "",
        "| training | pictures to learn from | Dice where present | difference from the first | found | "
        "absent by a record: unmarked | frames without a polyp unmarked | normal breasts unmarked |",
        "|---|---:|---|---|---:|---:|---:|---:|",
    ]
    for arm, said in ARMS.items():
        own, quiet = by_target(facts[arm], "dice"), facts[arm]["validation"]
        cells = [
            said,
            f"{facts[arm]['pictures in training']:,}",
            interval(list(own.values())),
            "–" if arm == "pocket" else interval([own[name] - whole[name] for name in whole], "+"),
            *(f"{np.mean(list(by_target(facts[arm], kind).values())):.0%}" for kind in ("heard", "quiet")),
            *(f"{quiet[name]['quiet']:.0%}" for name in ("polyp | no_polyp", "breast_tumour | busi")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    write_text(PAGE, "\n".join(lines) + "\n")


def main() -> None:
    """Run all arms side by side, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("train", "val", "words"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--arm", choices=ARMS)
    parser.add_argument("--page", action="store_true", help="train nothing")
    args = parser.parse_args()
    if args.page:
        write_page(args.out)
        return
    if args.arm:
        run_arm(args.arm, args)
        return
    running = [subprocess.Popen([sys.executable, *sys.argv, "--arm", arm]) for arm in ARMS]
    sys.exit(max(each.wait() for each in running))


if __name__ == "__main__":
    main()
