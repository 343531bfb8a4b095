"""Train pocket's naming on top of its segmentation trunk, and say how well it does on patients never seen.

python experiments/pocket/anatomy.py runs/pocket/polished ../shared/data runs/pocket/named.safetensors

The people of the series are held out in five parts, like with like; then the head is trained on all but MedNIST's and
the pictures' test parts, calibrated by what the held-out people gave, and saved. Writes docs/results/pocket-naming.md.
"""

import argparse
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from anatomy_data import read_all
from anatomy_page import score_series, write_page
from anatomy_views import encode
from labelled_slice import LabelledSlice
from torch import Tensor

from vesalius.console import progress_bar
from vesalius.evaluation.naming.fitting import fit_temperature
from vesalius.evaluation.naming.label_scores import LabelScores, truth_of
from vesalius.files import write_json
from vesalius.models.checkpoint_file import find_checkpoint, read_notes
from vesalius.models.checkpoints import load_segmenter, save_model
from vesalius.models.inference import TextCache
from vesalius.models.pocket import PocketSegmenter
from vesalius.naming.phrasebook import NamingCalibration, Phrasebook
from vesalius.prompts.anatomy import ORGANS, STATIONS, LabelKind
from vesalius.runtime.torch import TorchRuntime
from vesalius.training.naming import NamingConfig, fit_naming

PAGE = Path(__file__).parents[2] / "docs" / "results" / "pocket-naming.md"
RARE_FIRST = 0.5
"""A series of n views is drawn in proportion to n to this power, so that a long one does not drown the others."""
FOLDS = 5
MOST_OF_A_SERIES = 40
"""Slices of a held-out series that calibration looks at, spread evenly."""
CONFIG = NamingConfig()


class Head:
    """Pocket with features of all slices, whose projection is trained anew for every fold.

    Args:
        model: With a trained trunk.
        slices: All of them.
    """

    def __init__(self, model: PocketSegmenter, slices: Sequence[LabelledSlice]) -> None:
        self.model, self.slices, self.texts = model, slices, TextCache(model)
        own_tests = {each.patient for each in slices if each.test}
        self.patients = sorted({each.patient for each in slices} - own_tests)
        tested = [place for place, each in enumerate(slices) if each.test or shows(each, self.patients)]
        self.views = encode(model, slices, tested)
        self.rows = {place: row for row, place in enumerate(tested)}
        self.phrases = Phrasebook(TorchRuntime(model), NamingCalibration({}))

    def folds(self) -> list[list[str]]:
        """The people in ``FOLDS`` parts, each with its share of every part of the body."""
        kinds = {name: Counter[str]() for name in self.patients}
        for each in self.slices:
            if each.patient in kinds:
                kinds[each.patient].update([*sorted(each.label.stations), each.label.modality or ""])
        order = sorted(self.patients, key=lambda name: (str(kinds[name].most_common(2)), name))
        return [order[part::FOLDS] for part in range(FOLDS)]

    def train(self, held_out: Collection[str] = ()) -> list[float]:
        """Train without some patients and without what is for testing; the loss of every epoch."""
        shown = [self.slices[each] for each in self.views.places]
        seen = [not each.test and each.patient not in held_out for each in shown]
        counts = Counter(each.series for each, used in zip(shown, seen, strict=True) if used)
        weights = [
            counts[each.series] ** (RARE_FIRST - 1) if used else 0.0 for each, used in zip(shown, seen, strict=True)
        ]
        torch.manual_seed(CONFIG.seed)
        for layer in self.model.projection.layers:
            if isinstance(layer, torch.nn.Linear):
                layer.reset_parameters()
        labels = [each.label for each in shown]
        return fit_naming(self.model, self.views.pooled, labels, CONFIG, torch.tensor(weights), self.texts)

    @torch.no_grad()
    def ask(self, places: Sequence[int]) -> dict[int, dict[str, Tensor]]:
        """Slice -> question -> log-odds of its labels, [L]."""
        rows = [self.rows[place] for place in places]
        asked = self.phrases.odds(self.model.projection(self.views.pooled[rows]).numpy())
        return {
            place: {name: torch.from_numpy(values[row]) for name, values in asked.items()}
            for row, place in enumerate(places)
        }


def main() -> None:
    """Read, hold out, train, calibrate, save, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("segmentation", type=Path)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    model = load_segmenter(args.segmentation)
    if not isinstance(model, PocketSegmenter):
        sys.exit("expected a pocket checkpoint")
    with progress_bar() as bar:
        bar.add_task("Reading slices", total=None)
        # Of the shared chest CT only every fifth slice is there.
        warnings.filterwarnings("ignore", message=".*mm apart, so positions")
        slices = list(read_all(args.shared))
    head = Head(model, slices)
    odds: dict[int, dict[str, Tensor]] = {}
    with progress_bar() as bar:
        task = bar.add_task("Training without a fifth of the people", total=FOLDS + 1)
        for patients in head.folds():
            head.train(patients)
            odds |= head.ask([place for place, each in enumerate(slices) if shows(each, patients)])
            bar.advance(task)
        losses = head.train()
        odds |= head.ask([place for place, each in enumerate(slices) if each.test])
        bar.advance(task)
    scores = score_series(slices, odds, head.phrases.labels)
    calibration = calibrate(slices, odds, head.phrases.labels)
    notes = {"calibration": calibration, "config": asdict(CONFIG), "held_out": [asdict(each) for each in scores]}
    save_model(model, args.out, read_notes(find_checkpoint(args.segmentation)) | {"naming": notes})
    write_json(args.out.with_suffix(".json"), {"loss": losses, "views": len(head.views.places), **notes})
    write_page(PAGE, scores, len(slices), len(head.views.places))


def shows(each: LabelledSlice, patients: Collection[str]) -> bool:
    """Whether a slice is one of these patients', as `name` would see it."""
    return each.patient in patients and each.native


def calibrate(
    slices: Sequence[LabelledSlice], odds: dict[int, dict[str, Tensor]], labels: dict[str, tuple[str, ...]]
) -> dict[str, object]:
    """Scaling of stations, and of organs that training has shown.

    One slope and offset for all labels: held out, most labels come from one or two people, too few for their own.
    """
    trained = {organ for each in slices if not each.test for organ in each.label.organs}
    found: dict[str, object] = {}
    for kind, known in (("stations", STATIONS), ("organs", tuple(each for each in ORGANS if each in trained))):
        case = collect(slices, odds, kind, known, [labels[kind].index(each) for each in known])
        found[kind] = fit_temperature(case).to_dict()
    return found


def collect(
    slices: Sequence[LabelledSlice],
    odds: dict[int, dict[str, Tensor]],
    kind: LabelKind,
    labels: tuple[str, ...],
    columns: list[int],
) -> LabelScores:
    """Held-out scores, as many of a long series as of a short one."""
    series: dict[str, list[int]] = defaultdict(list)
    for row in odds:
        series[slices[row].series].append(row)
    rows = [row for own in series.values() for row in own[:: -(-len(own) // MOST_OF_A_SERIES)]]
    scores = torch.stack([odds[row][kind][columns] for row in rows]).double().numpy()
    shown = [slices[row].label for row in rows]
    patients = tuple(slices[row].patient for row in rows)
    return LabelScores(labels, scores, truth_of(shown, kind, labels), patients, ("all",) * len(rows))


if __name__ == "__main__":
    main()
