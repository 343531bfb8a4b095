"""The report of one evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from vesalius.evaluation.bootstrap import Bootstrap
from vesalius.evaluation.report.absence import asks_both, describe_absence
from vesalius.evaluation.report.content import Number, Report, to_number
from vesalius.evaluation.report.gallery import GALLERY_NAME, Shown, read_gallery
from vesalius.evaluation.report.manifest import find_group_regex, read_manifest
from vesalius.evaluation.report.score_tables import build_score_tables
from vesalius.evaluation.report.strips import build_strips
from vesalius.evaluation.result import Evaluation
from vesalius.evaluation.score_table import ScoreTable, tabulate
from vesalius.evaluation.stored import StoredEvaluation, read_evaluation

NO_PICTURES = "No pictures: rows hold no masks. `vesalius evaluate --out` draws some while it has the model at hand."
STALE = "The pictures beside these rows are of another evaluation, and left out."
GALLERY = (
    "Images ranked by their mean Dice over all prompts, none picked by hand; of each, the answer nearest to that mean."
)
ALARMS = (
    " False alarms are the images without the target on which most pixels were marked, by the answer that marked most."
)


def read_report(folder: Path, *, group_regex: str | None = None) -> Report:
    """Say all about the evaluation in a folder, with the pictures that lie there.

    Args:
        folder: What ``vesalius evaluate --out`` wrote.
        group_regex: As for ``build_report``.

    Raises:
        ConfigError: If the expression does not fit the names.
        DataError: If the folder or its pictures are damaged.
    """
    evaluation, gallery = read_evaluation(folder), read_gallery(folder / GALLERY_NAME)
    return build_report(evaluation, read_manifest(folder), gallery, group_regex=group_regex)


def build_report(
    evaluation: StoredEvaluation,
    manifest: Mapping[str, object],
    gallery: Sequence[Shown] = (),
    *,
    group_regex: str | None = None,
) -> Report:
    """Say all about one evaluation.

    Args:
        evaluation: What to report.
        manifest: How it was made; may be empty.
        gallery: Pictures of its answers; may be empty.
        group_regex: Names the patient in an image's file name; by default as in the manifest.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    group_regex = group_regex or find_group_regex(manifest)
    result = Evaluation(tuple(evaluation.rows))
    present = asks_both(evaluation.rows)
    everything = tabulate(evaluation.rows, group_regex=group_regex)
    drawn = tabulate(evaluation.rows, present_only=present, group_regex=group_regex)
    name = short_name(evaluation.model)
    absence = describe_absence([replace(evaluation, name=name)], group_regex)
    shown, note = _check_gallery(evaluation, gallery)
    return Report(
        title=f"{name} on {PurePath(evaluation.data).name}, {evaluation.split}",
        facts=describe_facts(evaluation, result, everything),
        headline=_headline(result, group_regex, present_only=present),
        tables=list(build_score_tables(result, group_regex)),
        strips=build_strips([name], [drawn], evaluation.rows),
        strips_note=tell_images(drawn, present_only=present),
        existence=absence.table,
        curves=absence.curves,
        existence_note=absence.note,
        gallery=shown,
        gallery_note=note,
        manifests={evaluation.name: manifest} if manifest else {},
    )


def short_name(model: str) -> str:
    """A model's name, or the end of a path that says which.

    >>> short_name("pocket"), short_name("/data/runs/mine"), short_name("runs/mine/model.safetensors")
    ('pocket', 'mine', 'mine/model.safetensors')
    """
    path = PurePath(model)
    return "/".join(path.parts[-2:]) if path.suffix else path.name


def describe_facts(evaluation: StoredEvaluation, result: Evaluation, table: ScoreTable) -> dict[str, str]:
    """What was asked of what, and how it was measured."""
    empty = result.empty_images()
    images = f"{result.images():,}" + (f", of which {empty:,} show nothing to find" if empty else "")
    return {
        "Model": evaluation.model,
        "Data": evaluation.data,
        "Split": evaluation.split,
        "Images": images,
        **({"Seen in training": evaluation.seen} if evaluation.seen else {}),
        "Answers": f"{len(result.rows):,}, to {len(result.families())} prompt families",
        "Rule": evaluation.rule,
        "Intervals": describe_intervals(len(table.images), table.cluster_count),
    }


def describe_intervals(images: int, clusters: int) -> str:
    """How intervals were drawn."""
    settings = Bootstrap()
    drawn = "images" if clusters == images else f"{clusters} groups of images"
    return f"{settings.confidence:.0%}, bootstrap of {drawn}, {settings.resamples:,} resamples, seed {settings.seed}"


def tell_images(table: ScoreTable, *, present_only: bool) -> str:
    """Which images strips are made of."""
    return f"Dice of {len(table.images):,} images" + (" that show something to find." if present_only else ".")


def _headline(result: Evaluation, group_regex: str | None, *, present_only: bool) -> list[tuple[str, Number]]:
    """Mean Dice with and without images where there is nothing to find, median and NSD."""
    dice = result.summarise("dice", group_regex=group_regex).overall
    assert dice is not None  # every answer has a Dice
    found = [("mean Dice", to_number(dice.mean)), ("median Dice", to_number(dice.median))]
    if present_only:
        there = result.summarise("dice", present_only=True, group_regex=group_regex).overall
        assert there is not None
        found.append(("mean Dice where the target is", to_number(there.mean)))
    if "nsd" in result.metrics:
        nsd = result.summarise("nsd", group_regex=group_regex).overall
        assert nsd is not None
        found.append(("mean NSD", to_number(nsd.mean)))
    return found


def _check_gallery(evaluation: StoredEvaluation, gallery: Sequence[Shown]) -> tuple[Sequence[Shown], str]:
    if not gallery:
        return (), NO_PICTURES
    if not all(each.example.row in evaluation.rows for each in gallery):
        return (), STALE
    alarms = any(each.example.kind == "false alarm" for each in gallery)
    return gallery, GALLERY + (ALARMS if alarms else "")
