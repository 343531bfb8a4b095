"""``vesalius evaluate-naming MODEL --data DIR``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.evaluation.anatomy.evaluate import AnatomyEvaluation


def evaluate_naming(
    model: str,
    /,
    *,
    data: Path,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    baselines: bool = False,
    least_patients: int = 10,
    paper_stations: bool = False,
    device: str = "auto",
    precision: Literal["32", "16-mixed", "bf16-mixed"] = "32",
    overwrite: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Measure how well a model names the test slices of a folder, with thresholds and calibration from its val slices.

    Organs and stations: top-1 in set (the paper's accuracy), mAP, AUROC, set F1, exact match, calibration, abstention,
    sensitivity to wording, and true captions against contradictions of them, with 95 % intervals over patients.

    Examples:
        vesalius evaluate-naming pocket --data slices -o evaluations/names

    Documentation:
        docs/anatomy-evaluation.md, docs/devices.md

    Args:
        model: "pocket", a checkpoint, a run's folder, or a name of `vesalius weights list`.
        data: Folder of slices as `vesalius data slices` writes it.
        out: Folder for naming.md with figures, for people, and naming.json.
        baselines: Measure a linear probe of the same vectors, and guessing by frequency, too; both need train slices.
        least_patients: Patients who must show a label for it to enter macro means.
        paper_stations: Ask for the paper's five stations, without the upper limb.
        device: "cpu", "cuda", "cuda:1" or "mps"; "auto" takes a GPU where there is one.
        precision: Of computation; "mixed" halves the bits of numbers where that is safe, for GPUs.
        overwrite: Replace what this command made there from something else.
        as_json: Print one JSON object.
    """
    from dataclasses import asdict
    from functools import partial

    from vesalius.console import print_json, progress_bar, say
    from vesalius.data.anatomy.dataset import AnatomySlices
    from vesalius.evaluation.anatomy.encoding import EncodedSlices, encode_slices
    from vesalius.evaluation.anatomy.evaluate import (
        count_steps,
        evaluate_prevalence,
        evaluate_probe,
    )
    from vesalius.evaluation.anatomy.evaluate import evaluate_naming as evaluate
    from vesalius.evaluation.anatomy.page import NUMBERS, PAGE, write_naming_page
    from vesalius.evaluation.anatomy.settings import NamingSettings
    from vesalius.folders import Claim
    from vesalius.models.devices import describe_device, place
    from vesalius.naming.loading import load_namer
    from vesalius.prompts.anatomy import PAPER_STATIONS, STATIONS
    from vesalius.training.manifest import fingerprint

    stations = PAPER_STATIONS if paper_stations else STATIONS
    settings = NamingSettings(least_patients=least_patients, stations=stations)
    names = ("train", "val", "test") if baselines else ("val", "test")
    splits = {split: AnatomySlices(data, split) for split in names}
    trained, _ = load_namer(model)
    trained = place(trained.eval(), device, precision)
    computed = describe_device(trained.device, precision)
    origin = {"model": _name(model), "data": str(data.resolve()), "table": fingerprint(data), **asdict(settings)}
    origin |= {"baselines": baselines, **computed}
    claim = out and Claim(out, "evaluate-naming", origin, [PAGE, NUMBERS], overwrite)
    if claim:
        claim.check()
    encoded: dict[str, EncodedSlices] = {}
    with progress_bar() as bar:
        for split, slices in splits.items():
            task = bar.add_task(f"Encoding {split}", total=len(slices))
            encoded[split] = encode_slices(trained, slices, partial(bar.advance, task), precision)
        train, val, test = (encoded.get(split) for split in ("train", "val", "test"))
        assert val is not None
        assert test is not None
        task = bar.add_task("Measuring", total=count_steps(val, test, settings))
        name = Path(model).name
        found = [evaluate(trained, val, test, name, settings, partial(bar.advance, task))]
        if train is not None:
            found.append(evaluate_probe(train, val, test, f"linear probe of {name}", settings))
            found.append(evaluate_prevalence(train, val, test, settings))
    if claim:
        claim.make()
        caption = f"{model} on the test slices of {data.name}."
        write_naming_page(found, claim.folder, f"Naming by {name}", caption, computed)
    if as_json:
        print_json({"data": str(data), "manifest": computed, "systems": [each.to_dict() for each in found]})
    else:
        _print(found)
    if out is not None:
        say(f"Report: {out / PAGE}")


def _name(model: str) -> str:
    """A path in full, or a name."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def _print(found: "list[AnatomyEvaluation]") -> None:
    from vesalius.console import print_table
    from vesalius.evaluation.anatomy.tables import build_tables

    for table in build_tables(found):
        if table.title.lower() in found[0].aspects:
            print_table(table.columns, table.rows, title=table.title)
