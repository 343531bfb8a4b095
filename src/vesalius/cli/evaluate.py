"""``vesalius evaluate MODEL --data DIR`` and ``vesalius evaluate-naming MODEL --data DIR``."""

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vesalius.cli.usage import AsJson, GroupRegex, InPrecision, OnDevice, OutPath, Overwrite, Split
from vesalius.console import print_json, print_table, progress_bar, say
from vesalius.folders import Claim
from vesalius.models.choices import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress

    from vesalius.data.datasets import SegmentationDataset
    from vesalius.data.fingerprints import Seen
    from vesalius.evaluation.naming.encoding import EncodedSlices
    from vesalius.evaluation.naming.evaluate import AnatomyEvaluation
    from vesalius.evaluation.naming.label_scores import NamingSettings
    from vesalius.evaluation.segmentation import Evaluation
    from vesalius.evaluation.statistics import Centre
    from vesalius.models import Segmenter
    from vesalius.models.encoder import VisionLanguageEncoder


def evaluate(
    model: str,
    /,
    *,
    data: Path,
    split: Split = "test",
    prompts: str = "all",
    tolerance: float = 2.0,
    group_regex: GroupRegex = None,
    out: OutPath = None,
    pictures: int = 3,
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Score a model on a data set, every image and prompt, at native resolution.

    Says how many of the images the model was trained on, as far as it carries fingerprints of its training images.

    Dice, IoU, precision, recall, the normalised surface distance (NSD) and the 95 % Hausdorff distance (HD95), with
    95 % intervals; with --group-regex they draw patients instead of images.

    Examples:
        vesalius evaluate pocket --data kvasir -o evaluations/pocket
        vesalius evaluate runs/mine --data kvasir --prompts p1,p6

    Documentation:
        docs/evaluation.md, docs/report.md, docs/devices.md

    Args:
        model: A model's name, a checkpoint or a run's folder.
        data: Folder with images/, masks/ and anns/.
        split: Which part of it.
        prompts: "all", or families such as "p1,p6".
        tolerance: How far outlines may lie apart for NSD: mm, or pixels where an image does not say how large they are.
        out: Folder for report.html and report.md, for people, and for rows.parquet (one row an image and wording) and
            evaluation.json, which `vesalius compare` and `vesalius report` read.
        pictures: Images of each kind (worst, median, best, false positive) that the report shows, up to 6; 0 for none.
        as_json: Print one JSON object.
    """
    from vesalius.data.datasets import SegmentationDataset
    from vesalius.evaluation import report, segmentation, stored
    from vesalius.evaluation.report.gallery import GALLERY_NAME, choose_examples
    from vesalius.evaluation.rows import name_clusters
    from vesalius.models.checkpoint_file import find_checkpoint, read_notes
    from vesalius.models.checkpoints import load_segmenter
    from vesalius.models.inference import describe_device, place
    from vesalius.provenance import identify_data, identify_weights

    weights = find_checkpoint(model)
    dataset = SegmentationDataset(data, split)
    name_clusters([record.img_name for record in dataset.records], group_regex)  # complains now, not after the pass
    choose_examples((), pictures)  # so does this
    families = None if prompts == "all" else list(dict.fromkeys(each.strip() for each in prompts.split(",")))
    settings: dict[str, object] = {"prompts": prompts, "tolerance": tolerance, "group_regex": group_regex}
    trained = place(load_segmenter(model), device, precision)
    started = datetime.now(UTC)
    settings |= describe_device(trained.device, precision)
    identity, read = identify_weights(model), {"path": str(data.resolve()), **identify_data(data)}
    origin = {"weights": identity, "data": read, "split": split, "settings": settings}
    claim = Claim(out, "evaluate", origin, (*stored.FILES, GALLERY_NAME, *report.FILES), overwrite)
    claim.check()
    with progress_bar() as bar:
        seen = _find_seen(weights, dataset, bar)
        task = bar.add_task(f"Evaluating {data.name}", total=len(dataset))
        evaluation = segmentation.evaluate(
            trained, dataset, families, tolerance=tolerance, precision=precision, on_image=lambda: bar.advance(task)
        )
        drawing = bar.add_task("Drawing resamples", total=len(evaluation.metrics))
        kept = {"file": weights.name, "sha256": identity["sha256"]}
        manifest = {"settings": settings, **_describe_run(started), "data": read, "weights": kept}
        content = stored.describe_evaluation(
            evaluation,
            dataset,
            model=model,
            manifest={**manifest, "training": read_notes(weights)},
            group_regex=group_regex,
            seen=seen,
            on_metric=lambda: bar.advance(drawing),
        )
        claim.make()
        if out is not None:
            _write(evaluation, content, out, dataset, trained, precision, pictures, bar)
    if as_json:
        print_json(content)
    else:
        _print_evaluation(evaluation, f"{model} on {data.name}, {split}", group_regex, seen)
    if out is not None:
        say(f"{len(evaluation.rows)} rows: {out / stored.ROWS_NAME}; report: {out / report.PAGE_NAME}")


def _write(
    evaluation: "Evaluation",
    content: "Mapping[str, object]",
    out: Path,
    dataset: "SegmentationDataset",
    trained: "Segmenter",
    precision: Precision,
    pictures: int,
    bar: "Progress",
) -> None:
    """Rows, summary and report with its pictures."""
    from vesalius.evaluation.report import write_report
    from vesalius.evaluation.report.builders import build_report
    from vesalius.evaluation.report.gallery import GALLERY_NAME, choose_examples, draw_gallery, write_gallery
    from vesalius.evaluation.stored import write_evaluation

    examples = choose_examples(evaluation.rows, pictures)
    task = bar.add_task("Drawing pictures", total=len(examples))
    shown = draw_gallery(trained, dataset, examples, precision=precision, on_image=lambda: bar.advance(task))
    stored = write_evaluation(evaluation, content, out)
    write_gallery(shown, out / GALLERY_NAME)
    write_report(build_report(stored, shown), out)


def _find_seen(weights: Path, dataset: "SegmentationDataset", bar: "Progress") -> "Seen":
    """Which of the images the model was trained on."""
    from vesalius.data.fingerprints import find_seen, fingerprints_path, read_fingerprints

    names, known = [record.img_name for record in dataset.records], read_fingerprints(fingerprints_path(weights))
    task = bar.add_task("Looking for training images", total=len(set(names)) if known else 0)
    return find_seen(dataset.root, names, known, partial(bar.advance, task))


def _describe_run(started: datetime) -> dict[str, object]:
    """Command, time and machine of an evaluation."""
    from vesalius.provenance import describe_command, describe_machine

    return {
        "command": describe_command(),
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        "machine": describe_machine(),
    }


COLUMNS = ("dice", "precision", "recall", "nsd", "hd95")
"""Metrics of the table; without IoU, which orders images as Dice does, so that it fits a terminal."""


def _print_evaluation(evaluation: "Evaluation", title: str, group_regex: str | None, seen: "Seen") -> None:
    empty, undefined = evaluation.empty_images(), evaluation.undefined()
    images = f"{evaluation.images()} images"
    told = f", {len(seen.names)} of them seen in training" if seen.names else ""
    _print_table(evaluation, f"{title}: {images}{told}", group_regex, present_only=False)
    if empty:
        kept = f"the {evaluation.images() - empty} of {images} that show something"
        _print_table(evaluation, f"{title}: {kept}", group_regex, present_only=True)
    say(f"Means over images with 95 % intervals: {evaluation.rule}.")
    others = evaluation.without(seen.names).mean("dice") if seen.names else None
    unseen = "" if others is None else f"; mean Dice of the others {others:.3f}"
    say(f"Seen in training: {seen}{unseen}.")
    if undefined:
        say(f"HD95 leaves out {undefined} of {len(evaluation.rows)} answers, where just one of the two masks is empty.")
    if evaluation.absent.count:
        unmarked, asked = evaluation.absent.true_negatives, evaluation.absent.count
        say(f"Absent things: {unmarked} of {asked} answers mark less than 1 % of the image; no mean above counts them.")


def _print_table(evaluation: "Evaluation", title: str, group_regex: str | None, *, present_only: bool) -> None:
    from vesalius.evaluation.report.content import name_columns

    names = [name for name in COLUMNS if name in evaluation.metrics]
    found = [evaluation.summarise(name, present_only=present_only, group_regex=group_regex) for name in names]
    rows = [
        (family, *(_cell(each.families.get(family), name) for each, name in zip(found, names, strict=True)))
        for family in evaluation.families()
    ]
    rows.append(("mean", *(_cell(each.overall, name) for each, name in zip(found, names, strict=True))))
    print_table(("prompt", *name_columns(evaluation, names)), rows, title=title)


def _cell(centre: "Centre | None", metric: str) -> tuple[str, ...] | None:
    """The mean, and below it the interval."""
    from vesalius.evaluation.report.content import to_number

    if centre is None:
        return None
    number = to_number(centre.mean, metric)
    return number.value, number.ends or "–"


def evaluate_naming(
    model: str,
    /,
    *,
    data: Path,
    out: OutPath = None,
    baselines: bool = False,
    min_patients: int = 10,
    paper_stations: bool = False,
    device: OnDevice = "auto",
    precision: InPrecision = "32",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
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
        min_patients: Patients who must show a label for it to enter macro means.
        paper_stations: Ask for the paper's five stations, without the upper limb.
        as_json: Print one JSON object.
    """
    from vesalius.data.slices.dataset import AnatomySlices
    from vesalius.evaluation.naming.encoding import encode_slices
    from vesalius.evaluation.naming.label_scores import NamingSettings
    from vesalius.evaluation.naming.page import FILES, PAGE, write_naming_page
    from vesalius.models.inference import describe_device, place
    from vesalius.naming.labeller import load_namer
    from vesalius.prompts.anatomy import PAPER_STATIONS, STATIONS
    from vesalius.provenance import identify_data, identify_weights

    stations = PAPER_STATIONS if paper_stations else STATIONS
    settings = NamingSettings(min_patients=min_patients, stations=stations)
    trained, _ = load_namer(model)
    names = ("train", "val", "test") if baselines else ("val", "test")
    splits = {split: AnatomySlices(data, split) for split in names}
    trained = place(trained.eval(), device, precision)
    computed = describe_device(trained.device, precision)
    read = {"path": str(data.resolve()), **identify_data(data)}
    origin = {"weights": identify_weights(model, "name"), "data": read, **asdict(settings), "baselines": baselines}
    claim = Claim(out, "evaluate-naming", {**origin, **computed}, FILES, overwrite)
    claim.check()
    encoded, name = {}, Path(model).name
    with progress_bar() as bar:
        for split, slices in splits.items():
            task = bar.add_task(f"Encoding {split}", total=len(slices))
            encoded[split] = encode_slices(trained, slices, partial(bar.advance, task), precision)
        found = _measure(trained, encoded, name, settings, bar)
    claim.make()
    if out is not None:
        caption = f"{model} on the test slices of {data.name}."
        write_naming_page(found, out, f"Naming by {name}", caption, computed)
    if as_json:
        print_json({"data": str(data), "manifest": computed, "systems": [each.to_dict() for each in found]})
    else:
        _print_naming(found)
    if out is not None:
        say(f"Report: {out / PAGE}")


def _measure(
    trained: "VisionLanguageEncoder",
    encoded: "Mapping[str, EncodedSlices]",
    name: str,
    settings: "NamingSettings",
    bar: "Progress",
) -> "list[AnatomyEvaluation]":
    """The model, and the baselines where there are train slices."""
    from vesalius.evaluation.naming.evaluate import (
        count_evaluation_steps,
        evaluate_naming,
        evaluate_prevalence,
        evaluate_probe,
    )

    val, test = encoded["val"], encoded["test"]
    task = bar.add_task("Measuring", total=count_evaluation_steps(val, test, settings))
    found = [evaluate_naming(trained, val, test, name, settings, partial(bar.advance, task))]
    if (train := encoded.get("train")) is not None:
        found.append(evaluate_probe(train, val, test, f"linear probe of {name}", settings))
        found.append(evaluate_prevalence(train, val, test, settings))
    return found


def _print_naming(found: "list[AnatomyEvaluation]") -> None:
    from vesalius.evaluation.naming.page import build_tables

    for table in build_tables(found):
        if table.title.lower() in found[0].label_kinds:
            print_table(table.columns, table.rows, title=table.title)
