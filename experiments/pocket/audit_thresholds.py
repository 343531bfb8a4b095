"""Measure from which margin a model may judge Body Part Examined, and put that into its notes.

python experiments/pocket/audit_thresholds.py runs/pocket/named.safetensors ../shared/data/anatomy/series

Every series is named by the head that anatomy.py trained without its patient (named.folds.safetensors), and audited
with its right term and with wrong ones. Thresholds are the mildest with at most 5 % wrong answers of either kind, each
person counting the same. What is written as their error rates comes from thresholds that were chosen without the person
they judge.
"""

import argparse
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file

from vesalius.console import progress_bar
from vesalius.files import writing
from vesalius.imaging import read_image
from vesalius.models.checkpoint_file import find_checkpoint, read_notes
from vesalius.models.checkpoints import load_segmenter, save_model
from vesalius.models.pocket import PocketSegmenter
from vesalius.naming import AnatomyLabeller, AuditRule, SeriesName, audit_series
from vesalius.naming.audit import KEYWORD, margin_of
from vesalius.prompts.codes import stations_of_body_part

TABLE = Path(__file__).with_name("body_parts.toml")
ALLOWED = 0.05
"""Share of wrong answers of either kind."""
STEPS = np.linspace(0, 1, 101).round(2)
"""Candidates for both thresholds, with either sign."""


@dataclass(frozen=True)
class Example:
    """One header beside one series."""

    patient: str
    series: SeriesName
    right: bool
    """Whether the header is."""
    weight: float
    """So that every patient counts 1 among the right headers, and 1 among the wrong ones."""

    @property
    def margin(self) -> float:
        """Of the header's stations."""
        return margin_of(self.series, stations_of_body_part(self.series.header[KEYWORD]))


def make_examples(named: Sequence[tuple[str, SeriesName]], table: Mapping[str, object]) -> list[Example]:
    """Put right and wrong headers beside each series.

    Args:
        named: Patient and series; no patient that the model was trained on.
        table: As in body_parts.toml.
    """
    counts, examples = Counter(patient for patient, _ in named), []
    patients, wrong = table["patients"], table["wrong"]
    assert isinstance(patients, Mapping)
    assert isinstance(wrong, Sequence)
    for patient, series in named:
        told = stations_of_body_part(patients[patient])
        others = [term for term in wrong if told.isdisjoint(stations_of_body_part(term))]
        for term, share in [(patients[patient], 1.0), *((term, 1 / len(others)) for term in others)]:
            header = {**series.header, KEYWORD: term}
            right = term == patients[patient]
            examples.append(Example(patient, replace(series, header=header), right, share / counts[patient]))
    return examples


def choose_rule(examples: Sequence[Example], least_slices: int) -> AuditRule:
    """Thresholds from all patients; error rates from those chosen without the patient they judge.

    Args:
        examples: Of two patients or more.
        least_slices: Of the shortest series.
    """
    patients = sorted({each.patient for each in examples})
    verdicts: list[tuple[Example, str]] = []
    for patient in patients:
        rule = _draft([each for each in examples if each.patient != patient], least_slices, len(patients))
        own = [each for each in examples if each.patient == patient]
        verdicts += [(each, audit_series(each.series, rule).verdict) for each in own]

    def share(right: bool, verdict: str) -> float:
        rows = [(each.weight, found == verdict) for each, found in verdicts if each.right == right]
        return round(sum(weight for weight, hit in rows if hit) / sum(weight for weight, _ in rows), 3)

    return replace(
        _draft(examples, least_slices, len(patients)),
        wrongly_agrees=share(False, "agrees"),
        wrongly_contradicts=share(True, "contradicts"),
        found_right=share(True, "agrees"),
        found_wrong=share(False, "contradicts"),
    )


def _draft(examples: Sequence[Example], least_slices: int, patients: int) -> AuditRule:
    agrees = _mildest([each for each in examples if not each.right], lambda each: each.margin)
    contradicts = -_mildest([each for each in examples if each.right], lambda each: -each.margin)
    return AuditRule(agrees, contradicts, least_slices, patients, 0.0, 0.0, 0.0, 0.0)


def _mildest(examples: Sequence[Example], score: Callable[[Example], float]) -> float:
    """The smallest threshold that few enough examples reach; 1, which none reaches in practice, where there is none."""
    values, weights = np.array([score(each) for each in examples]), np.array([each.weight for each in examples])
    few = [step for step in STEPS if weights[values >= step].sum() <= ALLOWED * weights.sum()]
    return float(few[0]) if few else 1.0


def write_notes(path: Path, notes: Mapping[str, object]) -> None:
    """Change what a checkpoint remembers, and none of its weights."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() | {"notes": json.dumps(dict(notes), sort_keys=True)}
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    with writing(path) as unfinished:
        unfinished.touch()
        usual = unfinished.stat().st_mode
        save_file(state, unfinished, header)
        unfinished.chmod(usual)


def name_strangers(
    model: PocketSegmenter, folds: Path, folder: Path, advance: Callable[[], None]
) -> list[tuple[str, SeriesName]]:
    """Patient and name of every series, named by the head that never saw the patient.

    Args:
        model: Whose trunk the heads sit on; its own head is exchanged.
        folds: What anatomy.py writes beside a model.
        folder: Of series.json.
        advance: Called after each series.
    """
    rows = json.loads((folder / "series.json").read_text())
    named = []
    with safe_open(folds, framework="pt") as file, TemporaryDirectory() as temporary:
        parts = json.loads(file.metadata()["folds"])
        for number, part in enumerate(parts):
            start, checkpoint = f"{number}.", Path(temporary) / f"{number}.safetensors"
            state = {key.removeprefix(start): file.get_tensor(key) for key in file.keys() if key.startswith(start)}  # noqa: SIM118
            model.projection.load_state_dict(state)
            # As a file it is named by ONNX Runtime, which draws no masks and is several times as fast.
            save_model(model, checkpoint, {"naming": {"calibration": part["calibration"]}})
            labeller = AnatomyLabeller(checkpoint)
            for row in rows:
                if row["patient"] in part["patients"]:
                    named.append((row["patient"], labeller.label(read_image(folder / row["file"]))))
                    advance()
    if missed := len(rows) - len(named):
        raise SystemExit(f"{folds}: no part held out the people of {missed} series; run anatomy.py anew.")
    return named


def main() -> None:
    """Name, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a checkpoint; its notes are changed")
    parser.add_argument("series", type=Path, help="folder with series.json")
    args = parser.parse_args()
    path, table = find_checkpoint(args.model), tomllib.loads(TABLE.read_text(encoding="utf-8"))
    model, notes = load_segmenter(path), read_notes(path)
    assert isinstance(model, PocketSegmenter)
    naming = notes["naming"]
    assert isinstance(naming, dict)
    with progress_bar() as bar:
        task = bar.add_task("Naming", total=None)
        named = name_strangers(
            model.eval(), path.with_suffix(".folds.safetensors"), args.series, lambda: bar.advance(task)
        )
    rule = choose_rule(make_examples(named, table), table["least_slices"])
    print(json.dumps(asdict(rule), indent=2))
    write_notes(path, notes | {"naming": naming | {"audit": asdict(rule)}})


if __name__ == "__main__":
    main()
