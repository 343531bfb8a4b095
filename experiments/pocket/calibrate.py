"""Calibrate pocket's existence score on the validation splits, target by target.

    python experiments/pocket/calibrate.py runs/pocket/outlined.safetensors runs/pocket/val.safetensors \
        runs/pocket/val_words.safetensors runs/pocket/calibrated.safetensors

One slope for all, and a shift that is linear in the sentence's vector, so that names of one target move together and a
target with few pictures moves little. Pictures that show a target and pictures that lack it weigh by the square roots
of their numbers, but those that show it never less than three tenths, so that the one of MS lesions counts beside some
hundreds of healthy heads. The score's last layers take both over, so nothing else has to know.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pool import FOREIGN_ALIKE, Pool
from scipy.optimize import minimize

from vesalius.console import progress_bar
from vesalius.models.checkpoint_file import find_checkpoint, read_notes
from vesalius.models.checkpoints import load_segmenter, save_model
from vesalius.models.encoder import TextFeatures
from vesalius.models.pocket import PocketSegmenter

WORDINGS = 4
"""Of each target, asked of each picture."""
LACKING = 3
"""Targets asked of each picture that its folder surely lacks, in turns."""
LEAST_THERE = 0.3
"""Least weight of the pictures that show a target, where others lack it."""
RIDGE = 0.1
"""Penalty on the shift's squared length, a question's worth; keeps targets with few pictures where they were."""


@dataclass(frozen=True)
class Heard:
    """Answers about validation pictures."""

    odds: NDArray[np.float64]
    vectors: NDArray[np.float64]
    there: NDArray[np.bool_]
    targets: NDArray[np.intp]

    def weights(self) -> NDArray[np.float64]:
        """Targets, and within a target present and absent, by the square root of their questions; mean 1."""
        weights = np.zeros(len(self.odds))
        for target in np.unique(self.targets):
            own = self.targets == target
            there, away = own & self.there, own & ~self.there
            roots = there.sum() ** 0.5, away.sum() ** 0.5
            share = max(roots[0] / sum(roots), LEAST_THERE) if all(roots) else float(there.any())
            for part, its_share in ((there, share), (away, 1 - share)):
                weights[part] = own.sum() ** 0.5 * its_share / max(1, part.sum())
        return np.asarray(weights / weights.mean())


@torch.inference_mode()
def listen(model: PocketSegmenter, pool: Pool) -> Heard:
    """Ask each picture about what its records tell of, and about what it surely lacks."""
    rows: list[tuple[float, NDArray[np.float64], bool, int]] = []
    with progress_bar() as bar:
        for picture in bar.track(range(len(pool.records)), description="Asking"):
            asked = list(questions(pool, picture))
            if not asked:
                continue
            features = model.encode_image(pool.images[picture : picture + 1].float() / 255)
            vectors = pool.vectors[[vector for vector, *_ in asked]]
            taken = features.index_select(torch.zeros(len(asked), dtype=torch.long))
            *_, existence = model.outline_and_judge(taken, TextFeatures(vectors))
            for (_, target, there), odds, vector in zip(
                asked, existence.tolist(), vectors.double().numpy(), strict=True
            ):
                rows.append((odds, vector, there, target))
    return Heard(*(np.array(column) for column in zip(*rows, strict=True)))


def questions(pool: Pool, picture: int) -> Iterator[tuple[int, int, bool]]:
    """Vector, target and truth of each."""
    records = pool.records[picture]
    for record in records:
        for vector in spread(pool.phrases[record.target]):
            yield vector, record.target, record.shown
    alike = np.flatnonzero(pool.foreign[pool.folders[picture]] == FOREIGN_ALIKE)
    for turn in range(min(LACKING, len(alike)) if records else 0):
        target = int(alike[(picture * LACKING + turn) % len(alike)])
        yield pool.phrases[target][0], target, False


def spread(phrases: list[int]) -> list[int]:
    """The plain name and some others."""
    return [phrases[0], *phrases[1 :: max(1, len(phrases) // WORDINGS)]][:WORDINGS]


def fit(heard: Heard) -> tuple[float, float, NDArray[np.float64]]:
    """Slope, offset and shift [E] that explain the answers best."""
    weights, truth = heard.weights(), heard.there.astype(np.float64)
    size = heard.vectors.shape[1]

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = values[0] * heard.odds + values[1] + heard.vectors @ values[2:]
        each = np.logaddexp(0, scaled) - truth * scaled
        slope = weights * (1 / (1 + np.exp(-scaled)) - truth)
        gradient = np.concatenate([[slope @ heard.odds, slope.sum()], heard.vectors.T @ slope + 2 * RIDGE * values[2:]])
        return float(weights @ each + RIDGE * values[2:] @ values[2:]), gradient

    start = np.concatenate([[1.0, 0.0], np.zeros(size)])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(0.05, 3.0), (None, None), *[(None, None)] * size]
    )
    return float(found.x[0]), float(found.x[1]), found.x[2:]


def rates(heard: Heard, odds: NDArray[np.float64], targets: list[str]) -> Iterator[str]:
    """How often each target is found and left alone."""
    for target in np.unique(heard.targets):
        own = heard.targets == target
        yes, no = odds[own & heard.there] > 0, odds[own & ~heard.there] <= 0
        parts = [f"found {yes.mean():.1%} of {len(yes)}"] if len(yes) else []
        parts += [f"left alone {no.mean():.1%} of {len(no)}"] if len(no) else []
        yield f"{targets[target]}: {', '.join(parts)}"


@torch.no_grad()
def take_over(model: PocketSegmenter, slope: float, offset: float, shift: NDArray[np.float64]) -> None:
    """Put the calibration into the score's last layers."""
    last = model.existence.judge[-1]
    assert isinstance(last, torch.nn.Linear)
    last.weight.mul_(slope)
    last.bias.mul_(slope).add_(offset)
    model.existence.prior.weight.mul_(slope).add_(torch.from_numpy(shift)[None].float())


def main() -> None:
    """Ask, fit, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    model = load_segmenter(args.model).eval()
    assert isinstance(model, PocketSegmenter)
    pool = Pool(args.images, args.words, torch.device("cpu"))
    heard = listen(model, pool)
    slope, offset, shift = fit(heard)
    after = slope * heard.odds + offset + heard.vectors @ shift
    print(f"slope {slope:.2f}, offset {offset:+.2f}; before, then after:")
    for before, now in zip(rates(heard, heard.odds, pool.targets), rates(heard, after, pool.targets), strict=True):
        print(f"  {before}  ->  {now.partition(': ')[2]}")
    take_over(model, slope, offset, shift)
    notes = read_notes(find_checkpoint(args.model))
    save_model(model, args.out, notes | {"existence": {"slope": slope, "questions": len(heard.odds)}})


if __name__ == "__main__":
    main()
