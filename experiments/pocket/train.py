"""Train pocket on packed pictures and words; made for one GPU, and runs on a CPU, slowly.

    python experiments/pocket/train.py runs/pocket/train.safetensors runs/pocket/words.safetensors \
        --out runs/pocket/trained

The sentence encoder is frozen, so it stays at home: phrases travel as vectors. Weights are saved early and often, in
halves of 16 bits; ``assemble.py`` puts them and the sentence encoder together.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from batch_augment import draw_moves, move, recolour
from pack_images import UNOUTLINED
from pool import Asker, Pool, Question
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vesalius.models import build_model
from vesalius.models.checkpoints import load_segmenter
from vesalius.models.encoder import TextFeatures, joint_logits
from vesalius.models.pocket import PocketSegmenter

SAVE_EVERY = 30
"""Seconds; a machine that is taken away early loses no more."""
UNTRAINED = ("sentences.", "projection.")
"""What stays as it is: the sentence encoder, and the head for naming, which learns later."""


@dataclass(frozen=True)
class Config:
    """Settings; see the README for how they were chosen."""

    minutes: float
    batch: int = 96
    questions: int = 5
    balance: float = 0.6
    learning_rate: float = 2e-3
    trunk_rate: float = 0.5
    """Step size of the trunk, as a share of the others'."""
    weight_decay: float = 0.02
    warm_up: float = 0.06
    text_noise: float = 0.25
    ema: float = 0.999
    gradient_clip_norm: float = 1.0
    small_side: int = 256
    """Side of the first part of the training."""
    small_share: float = 0.5
    coarse_weight: float = 0.3
    existence_weight: float = 0.5
    relax: float = 0.15
    """The last share of the training changes pictures less and less."""
    lacking: float = 0.22
    """Share of a target's pictures that lack it, where some do."""
    wordless: float = 0.1
    """Share of questions about a picture's first target that are asked without any words."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of all pictures, by folder, that are drawn from it alone."""
    still: str = ""
    """What stays as it is: "trunk", or "maps", the trunk and the pixel decoder, so that only what phrases steer learns.

    With "trunk" the decoder's weights learn, by the statistics that its norms had."""
    steps: int | None = None
    """Where given, the training takes so many steps instead of minutes."""
    seed: int = 1


class Average:
    """Exponential moving average of weights and statistics."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.count = decay, 0
        self.kept = {name: value.detach().clone().float() for name, value in trained(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model as it is now."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        now = trained(model)
        moving = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.kept[name] for name in moving], [now[name].float() for name in moving], 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """In half precision, on the CPU."""
        return {name: value.half().cpu().contiguous() for name, value in self.kept.items()}


def trained(model: nn.Module) -> dict[str, Tensor]:
    """All but the sentence encoder and the head for naming."""
    return {
        name: value
        for name, value in model.state_dict().items()
        if not name.startswith(UNTRAINED) and value.is_floating_point()
    }


def make_asker(pool: Pool, config: Config, kind: type[Asker] = Asker) -> Asker:
    """What draws pictures and questions."""
    return kind(
        pool,
        balance=config.balance,
        questions=config.questions,
        lacking=config.lacking,
        wordless=config.wordless,
        seed=config.seed,
        shares=config.shares,
    )


def batches(asker: Asker, count: int) -> Iterator[tuple[list[int], list[Question]]]:
    """Questions, drawn while the device works."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(asker.draw, count)
        while True:
            ready = coming.result()
            coming = thread.submit(asker.draw, count)
            yield ready


@dataclass(frozen=True)
class Batch:
    """Changed pictures and what is asked about them."""

    images: Tensor
    """[B, 3, S, S] in [0, 1]."""
    places: Tensor
    """Which picture each of Q questions is about."""
    vectors: Tensor
    """[Q, E]."""
    masks: Tensor
    """[Q, 1, S / 2, S / 2], shares of pixels."""
    weights: Tensor
    """Of the outlines, [Q]."""
    there: Tensor
    """1, 0, or NaN where too little is left to tell, [Q]."""


def prepare(
    pool: Pool, pictures: list[int], asked: list[Question], config: Config, side: int, strength: float
) -> Batch:
    """Change pictures and masks alike, and pick the wordings that still fit."""
    device = pool.images.device
    kinds = [pool.freedom[each] for each in pictures]
    moves = draw_moves(kinds, side, strength, device)
    rows = [each for each in asked if each.mask >= 0]
    which = torch.tensor([each.place for each in rows], device=device)
    images = pool.images[torch.tensor(pictures, device=device)].float() / 255
    outlines = pool.masks[torch.tensor([each.mask for each in rows], device=device)].float() / 255
    images, moved = move(images, outlines, which, moves)
    images = recolour(images, kinds, strength)
    masks = torch.zeros(len(asked), 1, side // 2, side // 2, device=device)
    shown = torch.tensor([each.mask >= 0 for each in asked], device=device)
    masks[shown] = F.avg_pool2d(moved, 2)
    area = masks.mean(dim=(1, 2, 3))
    there = torch.where(area > 1e-3, 1.0, torch.where(area > 0, torch.nan, 0.0))
    small = shown & (outlines_small(outlines, shown) & (area > 0))
    unoutlined = torch.tensor([each.mask == UNOUTLINED for each in asked], device=device)
    there = torch.where(small | unoutlined, torch.ones_like(there), there)
    places = torch.tensor([each.place for each in asked], device=device)
    own = torch.tensor([each.vector for each in asked], device=device)
    plain = torch.tensor([each.plain for each in asked], device=device)
    vectors = pool.vectors[torch.where(moves.unlike[places], plain, own)]
    noise = torch.randn_like(vectors) * config.text_noise * strength / vectors.shape[1] ** 0.5
    weights = torch.tensor([each.weight for each in asked], device=device)
    return Batch(images, places, vectors + noise, masks, weights, there)


def outlines_small(outlines: Tensor, shown: Tensor) -> Tensor:
    """Questions about things that were tiny before anything was changed, [Q]."""
    tiny = torch.zeros_like(shown)
    tiny[shown] = outlines.mean(dim=(1, 2, 3)) < 3e-3
    return tiny


def loss_of(model: PocketSegmenter, batch: Batch, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Outlines where there is something, silence where not, and whether there is."""
    features = model.encode_image(batch.images)
    logits, coarse, existence = model.outline_and_judge(
        features.index_select(batch.places), TextFeatures(batch.vectors)
    )
    present = batch.masks.sum(dim=(1, 2, 3)) > 0
    fine = outline_loss(logits, batch.masks, present, batch.weights)
    rough = outline_loss(
        coarse, F.adaptive_avg_pool2d(batch.masks, (coarse.shape[-2], coarse.shape[-1])), present, batch.weights
    )
    told = ~batch.there.isnan()
    sure = F.binary_cross_entropy_with_logits(existence[told], batch.there[told], reduction="none")
    judged = ((1 - torch.exp(-sure.detach())) * sure).mean() + 0.25 * sure.mean()
    total = fine + config.coarse_weight * rough + config.existence_weight * judged
    return total, {"outline": fine.detach(), "existence": sure.mean().detach()}


def outline_loss(logits: Tensor, masks: Tensor, present: Tensor, weights: Tensor) -> Tensor:
    """Soft Dice and cross-entropy of what is there; cross-entropy of what is not."""
    cross = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(dim=(1, 2, 3))
    found = logits.sigmoid()
    overlap = (found * masks).sum(dim=(1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (found.sum(dim=(1, 2, 3)) + masks.sum(dim=(1, 2, 3)) + 1)
    # Cross-entropy of a small object is small wherever it is; its share of the loss follows its size a little only.
    share = masks.mean(dim=(1, 2, 3)).clamp(min=0.01, max=0.5)
    each = torch.where(present, dice + cross * (0.25 / share).sqrt(), 2 * cross)
    return (each * weights).sum() / weights.sum().clamp(min=1)


@torch.no_grad()
def validate(model: PocketSegmenter, pool: Pool) -> dict[str, dict[str, float]]:
    """Dice where there is something, and right judgements, of each target on validation pictures as they are."""
    model.eval()
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for picture, records in enumerate(pool.records):
        if pool.splits[picture] != "val" or not records:
            continue
        features = model.encode_image(pool.images[picture : picture + 1].float() / 255)
        vectors = pool.vectors[[pool.phrases[each.target][0] for each in records]]
        taken = features.index_select(torch.zeros(len(records), dtype=torch.long, device=vectors.device))
        logits, _, existence = model.outline_and_judge(taken, TextFeatures(vectors))
        joint = F.interpolate(joint_logits(logits, existence), size=pool.masks.shape[-2:], mode="bilinear")
        for row, record in enumerate(records):
            scores = found[f"{pool.targets[record.target]} | {pool.folders[picture]}"]
            marked = joint[row, 0] > 0
            if not record.shown:
                scores["quiet"].append(float(marked.float().mean() < 0.01))
                continue
            scores["heard"].append(float(existence[row] > 0))
            if record.mask < 0:
                continue
            truth = pool.masks[record.mask, 0] > 127
            both = (marked & truth).sum()
            scores["dice"].append((2 * both / (marked.sum() + truth.sum()).clamp(min=1)).item())
    return {
        name: {kind: float(np.mean(each)) for kind, each in scores.items()} | {"images": len(scores["dice"])}
        for name, scores in sorted(found.items())
    }


def save(out: Path, state: dict[str, Tensor], facts: dict[str, object]) -> None:
    """The trunk and the rest in a file each."""
    out.mkdir(parents=True, exist_ok=True)
    trunk = {name: value for name, value in state.items() if name.startswith("trunk.")}
    rest = {name: value for name, value in state.items() if name not in trunk}
    save_file(trunk, out / "trunk.safetensors")
    save_file(rest, out / "rest.safetensors")
    (out / "training.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read_trained(paths: Sequence[Path]) -> dict[str, Tensor]:
    """What ``save`` wrote into a folder, or the same of a checkpoint.

    Of several trainings that went on from one another it is the mean (Wortsman et al., 2022).
    """
    each = [
        {
            name: value.float()
            for part in ("trunk", "rest")
            for name, value in load_file(path / f"{part}.safetensors").items()
        }
        if path.is_dir()
        else trained(load_segmenter(path))
        for path in paths
    ]
    return {name: torch.stack([own[name] for own in each]).mean(0) for name in each[0]}


def main() -> None:
    """Train for so many minutes, save, validate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument(
        "--start",
        type=Path,
        nargs="+",
        help="folders or checkpoints of earlier trainings, from whose mean another goes on",
    )
    told = "train all but the trunk, or only what phrases steer, as where nothing follows"
    parser.add_argument("--still", choices=("trunk", "maps"), nargs="?", const="maps", default="", help=told)
    numbers = ("batch", "questions", "balance", "learning_rate", "ema", "small_share", "relax", "lacking", "wordless")
    for name in numbers:
        default = getattr(Config, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument(
        "--shares",
        type=json.loads,
        default={},
        help='share of all pictures that are drawn from a folder alone: {"abdomens_mr": 0.15}',
    )
    args = parser.parse_args()
    began = time.time()
    config = Config(
        **{key: value for key, value in vars(args).items() if key not in ("images", "words", "out", "start")}
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(config.seed)
    pool = Pool(args.images, args.words, device)
    model = build_model("pocket")
    assert isinstance(model, PocketSegmenter)
    model.load_state_dict(pool.trunk if args.start is None else read_trained(args.start), strict=False)
    model.sentences = nn.Identity()  # type: ignore[assignment]
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    print(
        f"{len(pool.images)} pictures, {len(pool.masks)} masks on {device} after {time.time() - began:.0f} s",
        flush=True,
    )
    before = [
        json.loads((each / "training.json").read_text(encoding="utf-8")) for each in args.start or () if each.is_dir()
    ]
    asker = make_asker(pool, config)
    average, facts = fit(model, pool, asker, config, args.out, began)
    if before:
        facts["before"] = [{key: each[key] for key in ("config", "steps")} for each in before]
    best = average.state()
    save(args.out, best, facts)
    model.load_state_dict({name: value.float() for name, value in best.items()}, strict=False)
    facts["validation"] = found = validate(model, pool)
    save(args.out, best, facts)
    for name, scores in found.items():
        print(name, {kind: round(value, 3) for kind, value in scores.items()})


def fit(
    model: PocketSegmenter, pool: Pool, asker: Asker, config: Config, out: Path | None, began: float
) -> tuple[Average, dict[str, object]]:
    """Train until the time is over."""
    model.train()
    drawing = (model.decoder, model.to_coarse, model.to_middle)
    for part in (model.trunk, *drawing) if config.still else ():
        part.eval().requires_grad_(config.still == "trunk" and part in drawing)
    learning = {name: each for name, each in model.named_parameters() if each.requires_grad}
    others = [each for name, each in learning.items() if not name.startswith(("trunk.", "projection."))]
    groups = [
        {"params": [each for name, each in learning.items() if name.startswith("trunk.")], "scale": config.trunk_rate},
        {"params": others, "scale": 1.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)
    average = Average(model, config.ema)
    device, budget = pool.images.device, 60 * config.minutes
    losses: list[dict[str, float]] = []
    start, saved, step = time.time(), time.time(), 0
    total = max(1e-6, budget - (start - began))
    for pictures, asked in batches(asker, config.batch):
        done = min(1.0, step / config.steps if config.steps else (time.time() - start) / total)
        if done == 1 and step:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * group["scale"] * pace(done, config.warm_up)
        side = config.small_side if done < config.small_share else pool.images.shape[-1]
        strength = min(1.0, (1 - done) / config.relax * 0.7 + 0.3)
        batch = prepare(pool, pictures, asked, config, side, strength)
        model.spec = type(model.spec)(side, context_length=model.spec.context_length)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss, parts = loss_of(model, batch, config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip_norm)
        optimizer.step()
        average.update(model)
        step += 1
        if step == 1 or step % 100 == 0:
            losses.append({"step": step, "done": done} | {name: value.item() for name, value in parts.items()})
            print({name: round(value, 4) for name, value in losses[-1].items()}, flush=True)
        if out is not None and time.time() - saved > SAVE_EVERY:
            save(out, average.state(), {"config": asdict(config), "losses": losses, "steps": step})
            saved = time.time()
    facts: dict[str, object] = {
        "config": asdict(config),
        "steps": step,
        "pictures": step * config.batch,
        "seconds": time.time() - start,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "losses": losses,
    }
    return average, facts


def pace(done: float, warm_up: float) -> float:
    """One cycle: up in a line, down in a half cosine."""
    if done < warm_up:
        return max(0.02, done / warm_up)
    return 0.005 + 0.995 * 0.5 * (1 + float(np.cos(np.pi * (done - warm_up) / (1 - warm_up))))


if __name__ == "__main__":
    main()
