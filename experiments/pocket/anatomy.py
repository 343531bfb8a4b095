"""Train pocket's naming on top of its segmentation trunk, and say how well it does on patients never seen.

python experiments/pocket/anatomy.py runs/pocket/polished ../shared/data runs/pocket/named.safetensors

The people of the series are held out in five parts, like with like, and what is chosen is chosen without them; then the
head is trained on all but MedNIST's and the pictures' test parts, calibrated by what the held-out people gave, and
saved, with the five heads beside it (named.folds.safetensors). Writes docs/results/pocket-naming.md.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from anatomy_data import SIZE, read_all
from anatomy_figures import calibrate, find_worst, measure
from anatomy_head import CHOICES, CrossValidation, Head, cross_validate, learn_curve
from anatomy_page import HeaderProtocols, Page, write_page
from anatomy_scores import SeriesScore, score_series
from anatomy_views import encode
from ct_as_mr import read_painted
from labelled_slice import LabelledSlice
from legs import read_legs
from numpy.typing import NDArray
from other_sequences import repaint
from people import read_across, read_patients
from safetensors.torch import save_file
from torch import Tensor

from vesalius.console import progress_bar
from vesalius.files import write_json
from vesalius.imaging.mr_protocol import find_protocol
from vesalius.models.calibration import PlattScaling
from vesalius.models.checkpoint_file import find_checkpoint, read_notes
from vesalius.models.checkpoints import load_segmenter, save_model
from vesalius.models.encoder import resize
from vesalius.models.pocket import PocketSegmenter

PAGE = Path(__file__).parents[2] / "docs" / "results" / "pocket-naming.md"
WORST = 10
CURVE = (10, 20, 40)
"""People to learn from, beside all that are not held out."""


def main() -> None:
    """Read, hold out, train, calibrate, save, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("segmentation", type=Path)
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--before", type=Path, help="a pocket of the same trunk that learnt from other people's series")
    args = parser.parse_args()
    model = _load(args.segmentation)
    slices = _read(args.shared)
    slices += repaint(slices, partial(outline_brain, model))
    for read in (read_across, read_painted):
        slices += read(args.shared / "anatomy", SIZE)
    slices += read_legs(SIZE)
    head = Head(model, slices, encode)
    strangers = read_patients() & set(head.patients)
    before = head.ask(head.held_out(strangers), _load(args.before).projection) if args.before else None
    with progress_bar() as bar:
        steps = len(head.folds()) * (len(CHOICES) + 1 + len(CURVE) + 1) + 1
        task = bar.add_task("Training without some of the people", total=steps)
        held = cross_validate(head, lambda: bar.advance(task))
        curve = learn_curve(head, held, CURVE, lambda: bar.advance(task))
        final = held.best()
        losses = head.train(final)
        bar.advance(task)
    labels = head.labels
    tested = head.ask([place for place, each in enumerate(slices) if each.test])
    scores = score_series(slices, {**held.odds, **tested}, labels)
    scalings = calibrate(slices, held.odds, labels)
    saved = {name: scaling.to_dict() for name, scaling in scalings.items()}
    notes = {"calibration": saved, "config": asdict(final), "held_out": [asdict(each) for each in scores]}
    save_model(model, args.out, read_notes(find_checkpoint(args.segmentation)) | {"naming": notes})
    write_json(args.out.with_suffix(".json"), {"loss": losses, "views": len(head.views.places), **notes})
    save_folds(args.out.with_suffix(".folds.safetensors"), head, held)
    page = Page(
        slices=len(slices),
        views=len(head.views.places),
        people=len(head.patients),
        scores=scores,
        figures={kind: measure(slices, held.odds, held.folds, labels, kind) for kind in ("stations", "organs")},
        held=held,
        across=score_series(slices, held.across, labels),
        final=final,
        curve=curve,
        worst=find_worst(slices, held.odds, labels["stations"], scalings["stations"], WORST),
        headers=ask_headers(args.shared / "anatomy" / "series" / "series.json", scores),
        before=compare(slices, before, held, labels) if before else None,
    )
    write_page(PAGE, page)


def _load(path: Path) -> PocketSegmenter:
    model = load_segmenter(path)
    if not isinstance(model, PocketSegmenter):
        sys.exit(f"{path}: expected a pocket checkpoint")
    return model.eval()


def _read(shared: Path) -> list[LabelledSlice]:
    with progress_bar() as bar:
        bar.add_task("Reading slices", total=None)
        # Of the shared chest CT only every fifth slice is there, and the series do not say their units.
        warnings.filterwarnings("ignore", message=".*slice distances differ")
        warnings.filterwarnings("ignore", message=".*units guessed to be HU")
        return list(read_all(shared))


@torch.inference_mode()
def outline_brain(model: PocketSegmenter, rgb: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What pocket takes for the brain of a picture [S, S, 3] in [0, 1], a mask [S, S]."""
    picture = resize(torch.from_numpy(rgb).permute(2, 0, 1)[None], (model.spec.image_size,) * 2)
    logits, *_ = model.outline_and_judge(model.encode_image(picture), model.encode_text(["brain"]))
    return (resize(logits, rgb.shape[:2])[0, 0] > 0).numpy()


def save_folds(path: Path, head: Head, held: CrossValidation) -> None:
    """The heads that never saw a part of the people, for whatever else is to be measured on strangers.

    A head's calibration comes from the other parts, too.
    """
    notes = []
    for patients in held.folds:
        others = {place: odds for place, odds in held.odds.items() if head.slices[place].patient not in patients}
        scalings: Mapping[str, PlattScaling] = calibrate(head.slices, others, head.labels)
        notes.append({"patients": patients, "calibration": {name: each.to_dict() for name, each in scalings.items()}})
    state = {f"{part}.{name}": value for part, each in enumerate(held.heads) for name, value in each.items()}
    save_file(state, path, {"folds": json.dumps(notes)})


def ask_headers(table: Path, scores: Sequence[SeriesScore]) -> HeaderProtocols:
    """How often the protocol of MR series is right when headers may speak first.

    Args:
        table: series.json.
        scores: Of these series, from pixels.
    """
    headers = {row["file"].removesuffix(".nii.gz"): row["header"] for row in json.loads(table.read_text())}
    found = HeaderProtocols({}, {})
    for each in scores:
        if "protocol" not in each.right or each.series not in headers:
            continue
        said = find_protocol(headers[each.series])
        silent = said == find_protocol({})
        right = (each.named["protocol"] if silent else said.label) == each.shown["protocol"]
        found.named.setdefault(each.held_out, []).append(right)
        if not silent:
            found.told.setdefault(each.held_out, []).append(right)
    return found


def compare(
    slices: Sequence[LabelledSlice],
    before: Mapping[int, Mapping[str, Tensor]],
    held: CrossValidation,
    labels: Mapping[str, tuple[str, ...]],
) -> tuple[list[SeriesScore], list[SeriesScore]]:
    """Series of the people whom neither head learnt from."""
    after = {place: held.odds[place] for place in before}
    return score_series(slices, before, labels), score_series(slices, after, labels)


if __name__ == "__main__":
    main()
