"""The report of one evaluation, and of several of the same data side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from vesalius.evaluation.compare import COMPARISON_NAME, Comparison, Difference, compare, tell_p
from vesalius.evaluation.pairing import agree_on_groups, pair
from vesalius.evaluation.report.content import (
    ALL,
    Cell,
    Number,
    Report,
    Table,
    asks_both,
    build_score_tables,
    build_strips,
    describe_absence,
    to_number,
)
from vesalius.evaluation.report.gallery import GALLERY_NAME, Shown, read_gallery
from vesalius.evaluation.rows import ScoreTable, tabulate
from vesalius.evaluation.segmentation import Evaluation
from vesalius.evaluation.statistics import USUAL_DRAWS, find_centres
from vesalius.evaluation.stored import StoredEvaluation, read_evaluation

NO_PICTURES = "No pictures: rows hold no masks. `vesalius evaluate --out` draws some while it has the model at hand."
STALE = "The pictures beside these rows are of another evaluation, and left out."
GALLERY = (
    "Images ranked by their mean Dice over all prompts, none picked by hand; of each, the answer nearest to that mean."
)
FALSE_POSITIVES = " False positives are the images without the target whose masks are largest, by the largest of each."
PICTURES_ELSEWHERE = "Pictures are in the report of each evaluation."


def read_report(folder: Path, *, group_regex: str | None = None) -> Report:
    """Say all about the evaluation in a folder, with the pictures that lie there.

    Args:
        folder: What ``vesalius evaluate --out`` wrote.
        group_regex: As for ``build_report``.

    Raises:
        ConfigError: If the expression does not fit the names.
        DataError: If the folder or its pictures are damaged.
    """
    return build_report(read_evaluation(folder), read_gallery(folder / GALLERY_NAME), group_regex=group_regex)


def build_report(
    evaluation: StoredEvaluation, gallery: Sequence[Shown] = (), *, group_regex: str | None = None
) -> Report:
    """Say all about one evaluation.

    Args:
        evaluation: What to report.
        gallery: Pictures of its answers; may be empty.
        group_regex: Names the patient in an image's file name; by default as the evaluation was made.

    Raises:
        ConfigError: If the expression does not fit the names.
    """
    group_regex = group_regex or evaluation.group_regex
    result, present = evaluation.evaluation, asks_both(evaluation.rows)
    drawn = tabulate(evaluation.rows, present_only=present, group_regex=group_regex)
    dice = result.summarise("dice", present_only=present, group_regex=group_regex)
    name = short_name(evaluation.model)
    absence = describe_absence([replace(evaluation, name=name)], group_regex)
    shown, note = _check_gallery(evaluation, gallery)
    return Report(
        title=f"{name} on {PurePath(evaluation.data).name}, {evaluation.split}",
        facts=_describe_facts(evaluation, group_regex),
        headline=_headline(result, group_regex, present_only=present),
        tables=list(build_score_tables(result, group_regex)),
        strips=build_strips([name], [drawn], [dice.centres], evaluation.rows),
        strips_note=tell_images(drawn, present_only=present),
        existence=absence.table,
        curves=absence.curves,
        existence_note=absence.note,
        gallery=shown,
        gallery_note=note,
        manifests=_name_manifests([evaluation]),
    )


def short_name(model: str) -> str:
    """A model's name, or the end of a path that says which.

    >>> short_name("pocket"), short_name("/data/runs/mine"), short_name("runs/mine/model.safetensors")
    ('pocket', 'mine', 'mine/model.safetensors')
    """
    path = PurePath(model)
    return "/".join(path.parts[-2:]) if path.suffix else path.name


def _name_manifests(evaluations: Sequence[StoredEvaluation]) -> dict[str, Mapping[str, object]]:
    return {each.name: each.manifest for each in evaluations if each.manifest}


def _describe_facts(evaluation: StoredEvaluation, group_regex: str | None) -> dict[str, str]:
    """Model, data, and how scores were measured."""
    result = evaluation.evaluation
    dice, empty = result.summarise("dice", group_regex=group_regex), result.empty_images()
    images = f"{result.images():,}" + (f", of which {empty:,} show nothing to find" if empty else "")
    return {
        "Model": evaluation.model,
        "Data": evaluation.data,
        "Split": evaluation.split,
        "Images": images,
        **({"Seen in training": evaluation.seen} if evaluation.seen else {}),
        "Answers": f"{len(result.rows):,}, to {len(result.families())} prompt families",
        "Rule": evaluation.rule,
        "Intervals": describe_intervals(dice.images, dice.clusters),
    }


def describe_intervals(images: int, clusters: int) -> str:
    """How intervals were drawn."""
    settings = USUAL_DRAWS
    drawn = "images" if clusters == images else f"{clusters} groups of images"
    return f"{settings.confidence:.0%}, bootstrap of {drawn}, {settings.resamples:,} resamples, seed {settings.seed}"


def tell_images(table: ScoreTable, *, present_only: bool) -> str:
    """The images that strips show."""
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
    marked = any(each.example.kind == "false positive" for each in gallery)
    return gallery, GALLERY + (FALSE_POSITIVES if marked else "")


def build_comparison_report(
    evaluations: Sequence[StoredEvaluation], *, group_regex: str | None = None
) -> tuple[Report, Comparison]:
    """Compare evaluations by their Dice, and say all about it.

    Args:
        evaluations: Two or more.
        group_regex: As for ``compare``.

    Raises:
        ConfigError: If there are fewer than two, or the expression does not fit the names or is not agreed on.
        DataError: If they cannot be compared.
    """
    present = asks_both(evaluations[0].rows)
    found = compare(evaluations, group_regex=group_regex)
    tables = pair(evaluations, present_only=present, group_regex=group_regex).tables
    absence = describe_absence(evaluations, agree_on_groups(evaluations, group_regex))
    names, centres = [each.name for each in evaluations], [find_centres(table, USUAL_DRAWS) for table in tables]
    report = Report(
        title=f"{len(evaluations)} evaluations on {PurePath(found.data).name}, {found.split}",
        facts=_describe_compared(found, evaluations, describe_intervals(found.images, found.clusters)),
        headline=[(f"{standing.name}, mean Dice", to_number(standing.overall.mean)) for standing in found.standings],
        tables=[_rank(found), _tabulate_differences(found)],
        strips=build_strips(names, tables, centres, evaluations[0].rows),
        strips_note=tell_images(tables[0], present_only=present),
        existence=absence.table,
        curves=absence.curves,
        existence_note=absence.note,
        gallery=(),
        gallery_note=PICTURES_ELSEWHERE,
        manifests=_name_manifests(evaluations),
    )
    return report, found


def _describe_compared(found: Comparison, evaluations: Sequence[StoredEvaluation], intervals: str) -> dict[str, str]:
    empty = f", of which {found.empty_truth:,} show nothing to find" if found.empty_truth else ""
    return {
        **{each.name: each.model for each in evaluations},
        "Data": found.data,
        "Split": found.split,
        "Images": f"{found.images:,} that all have{empty}",
        "Rule": found.rule,
        "Intervals": intervals,
    }


def _rank(found: Comparison) -> Table:
    rows: list[list[Cell]] = [
        [each.name, to_number(each.overall.mean), to_number(each.overall.median), f"{each.first:.1%}"]
        for each in found.standings
    ]
    held = (
        f"First: share of resamples in which it has the best mean. This order holds in {found.order_holds:.1%} of them."
    )
    return Table("Ranking by Dice", ("evaluation", "mean", "median", "first"), rows, " ".join([held, *found.notes]))


def _tabulate_differences(found: Comparison) -> Table:
    columns = ("difference in Dice", "prompt", "mean", "median", "effect", "p", "p (Holm)")
    note = (
        "First minus second, image by image. Effect: rank-biserial, −1 to 1. p: Wilcoxon's signed-rank test; Holm's "
        "correction is for all pairs, of single prompts for all pairs and prompts."
    )
    shown = found.differences
    if len(found.standings) > 2:
        shown = tuple(each for each in shown if each.family is None)
        note += f" Single prompts are in {COMPARISON_NAME}."
    return Table("Differences", columns, [_difference(each) for each in shown], note)


def _difference(each: Difference) -> list[Cell]:
    centre = each.centre
    return [
        f"{each.first} − {each.second}",
        each.family or ALL,
        _signed(to_number(centre.mean)),
        _signed(to_number(centre.median)),
        f"{each.rank_biserial:+.2f}".replace("-", "−"),
        tell_p(each.p),
        tell_p(each.p_holm),
    ]


def _signed(number: Number) -> Number:
    """A typographic minus, and "to" between ends that may have one."""
    ends = number.ends and number.ends.replace("-", "−").replace("–", " to ")
    return Number(number.value.replace("-", "−"), ends)
