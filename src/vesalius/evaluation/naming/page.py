"""Naming of several systems side by side: tables, and a page of Markdown with figures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from vesalius.console import to_markdown
from vesalius.errors import ConfigError
from vesalius.evaluation.naming.contradictions import TITLES
from vesalius.evaluation.naming.encoding import Spread
from vesalius.evaluation.naming.evaluate import LABEL_KINDS, AnatomyEvaluation
from vesalius.evaluation.naming.label_kind import compare_naming
from vesalius.evaluation.naming.measures import MEASURES
from vesalius.evaluation.report.content import Cell, Number, Table, to_number
from vesalius.evaluation.statistics import Interval
from vesalius.files import write_json, write_text
from vesalius.prompts.anatomy import LabelKind

SPREADS = (", mean ± SD", ", range")
CONTRADICTION_NOTE = (
    "Win rate: the true caption scores higher. AUC: true captions of all slices against false ones of all. Preference: "
    "softmax probability of the true caption against one false. Slices count once, with the mean over their pairs."
)
MAIN = ("top1", "macro_ap", "macro_auroc", "micro_ap", "set_f1", "exact_match")


def build_tables(evaluations: Sequence[AnatomyEvaluation]) -> list[Table]:
    """All tables, organs first.

    Args:
        evaluations: Of the same test slices, with the same settings.

    Raises:
        DataError: If test slices differ.
    """
    tables = []
    for kind in evaluations[0].label_kinds:
        tables += [
            _overall(evaluations, kind),
            *_groups(evaluations, kind),
            _labels(evaluations, kind),
            _counts(evaluations, kind),
            _trust(evaluations, kind),
            *_differences(evaluations, kind),
            *_sensitivity(evaluations, kind),
        ]
    return [*tables, *_contradictions(evaluations)]


def _overall(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Table:
    rows = [[each.name, *(_cell(each.label_kinds[kind].overall[name]) for name in MAIN)] for each in evaluations]
    return Table(
        kind.capitalize(), ["system", *(MEASURES[name] for name in MAIN)], rows, _explain(evaluations[0], kind)
    )


def _explain(evaluation: AnatomyEvaluation, kind: LabelKind) -> str:
    result, least = evaluation.label_kinds[kind], evaluation.settings.min_patients
    chance = "" if result.chance is None else f"Naming at random is right in {result.chance:.1%}. "
    left_out = [each for each in result.labels if not each.counted]
    never = ", ".join(each.label for each in left_out if not each.images) or "none"
    rare = ", ".join(f"{each.label} ({each.patients})" for each in left_out if each.images) or "none"
    return (
        f"{chance}Top-1: the label with the highest score shows (the paper's accuracy). Macro means are over labels "
        f"that at least {least} {'patient' if least == 1 else 'patients'} show, but not every slice. Left out, with "
        f"their patients: {rare}; shown by no slice: {never}. Set F1 and exact match: thresholds fixed on validation "
        "slices. Uncertain labels count nowhere."
    )


def _groups(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Iterator[Table]:
    groups = list(evaluations[0].label_kinds[kind].groups)
    if groups:
        rows = [
            [each.name, *(_cell(each.label_kinds[kind].groups[group]["top1"]) for group in groups)]
            for each in evaluations
        ]
        yield Table(f"{kind.capitalize()}: top-1 in set by modality", ["system", *groups], rows)


def _labels(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Table:
    columns = ["label", "show it", "do not", "patients"]
    columns += [f"{name}, {each.name}" for each in evaluations for name in ("AUROC", "AP")]
    rows: list[list[Cell]] = []
    for several in zip(*(each.label_kinds[kind].labels for each in evaluations), strict=True):
        label = several[0]
        if not label.images:
            continue
        name = label.label if label.counted else f"{label.label} †"
        areas = [_cell(area) for each in several for area in (each.auroc, each.ap)]
        rows.append([name, str(label.images), str(label.absent), str(label.patients), *areas])
    return Table(
        f"{kind.capitalize()}, one by one",
        columns,
        rows,
        "† not in macro means. Labels that no slice shows are left out.",
    )


def _counts(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Table:
    """Errors at thresholds, summed over labels; JSON has each label's."""
    columns = ["system", "true positives", "false negatives", "false positives", "true negatives"]
    rows: list[list[Cell]] = []
    for each in evaluations:
        errors = [astuple(label.errors) for label in each.label_kinds[kind].labels]
        rows.append([each.name, *(f"{sum(column):,}" for column in zip(*errors, strict=True))])
    return Table(f"{kind.capitalize()}: labels of slices at thresholds", columns, rows)


def _trust(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Table:
    columns = [
        "system",
        "ECE",
        "Brier",
        "ECE, one temperature",
        "Brier, one temperature",
        "AURC",
        "AURC, perfect order",
    ]
    rows: list[list[Cell]] = []
    for each in evaluations:
        result = each.label_kinds[kind]
        warm = [f"{result.temperature_errors[name]:.3f}" for name in ("ece", "brier")]
        silence: list[Cell] = [None, None]
        if result.abstention:
            silence = [to_number(result.abstention.aurc), f"{result.abstention.best:.3f}"]
        rows.append([each.name, *(_cell(result.overall[name]) for name in ("ece", "brier")), *warm, *silence])
    note = (
        "Probabilities by Platt scaling of each label, or one temperature and offset for all, fitted on validation "
        "slices; 15 bins of equal mass. ECE of few slices is above 0 by chance alone, that of draws more so: its "
        "interval may lie above the value. AURC: mean share of wrong top-1 labels when the least sure slices are left "
        "unnamed."
    )
    return Table(f"{kind.capitalize()}: can probabilities be trusted?", columns, rows, note)


def _differences(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Iterator[Table]:
    """Every system against the first."""
    first = evaluations[0]
    rows: list[list[Cell]] = []
    for each in evaluations[1:]:
        found = compare_naming(each.label_kinds[kind].judged, first.label_kinds[kind].judged, first.settings)
        differences = {one.measure: one for one in found}
        rows.append(
            [each.name, *(_signed(differences[name].difference) if name in differences else None for name in MAIN)]
        )
    if rows:
        columns = ["system", *(MEASURES[name] for name in MAIN)]
        yield Table(f"{kind.capitalize()}: difference from {first.name}", columns, rows, "Paired, by the same draws.")


def _sensitivity(evaluations: Sequence[AnatomyEvaluation], kind: LabelKind) -> Iterator[Table]:
    columns = ["system", "wordings", *(f"{name}{what}" for name in ("top-1", "AUROC") for what in SPREADS)]
    rows: list[list[Cell]] = []
    for each in evaluations:
        if found := each.sensitivity.get(kind):
            spreads = [_describe(found.spread[name]) for name in ("top1", "auroc")]
            rows.append([each.name, str(len(found.wordings)), *spreads[0], *spreads[1]])
    if rows:
        yield Table(f"{kind.capitalize()}: one wording at a time", columns, rows)


def _contradictions(evaluations: Sequence[AnatomyEvaluation]) -> Iterator[Table]:
    for kind, title in TITLES.items():
        rows: list[list[Cell]] = []
        results = {each.name: result for each in evaluations if (result := each.contradictions.get(kind))}
        counts = sorted({count for each in results.values() for count in each.by_count})
        for name, each in results.items():
            main = [to_number(value) for value in (each.win_rate, each.auc, each.margin, each.preference)]
            own = [_cell(each.by_count.get(count)) for count in counts]
            rows.append([name, str(each.images), f"{each.pairs:,}", *main, *own])
        if rows:
            columns = ["system", "slices", "pairs", "win rate", "AUC", "margin, log-odds", "preference"]
            several = [f"win rate, {count} {kind if count > 1 else kind[:-1]}" for count in counts]
            yield Table(f"True captions against false: {title}", [*columns, *several], rows, CONTRADICTION_NOTE)


def _describe(spread: Spread | None) -> tuple[Cell, Cell]:
    if spread is None:
        return None, None
    return f"{spread.mean:.3f} ± {spread.sd:.3f}", f"{spread.lowest:.3f}–{spread.highest:.3f}"


def _signed(interval: Interval) -> Number:
    """A difference; ends may be negative, so a dash between them would mislead."""
    value, *ends = (
        f"{round(end, 3) + 0.0:+.3f}" for end in (interval.value, interval.low, interval.high) if end is not None
    )
    return Number(value, " to ".join(ends) or None)


def _cell(interval: Interval | None) -> Number | None:
    return None if interval is None else to_number(interval)


PAGE, NUMBERS = "naming.md", "naming.json"
FIGURES = [f"{figure}_{kind}.svg" for kind in LABEL_KINDS for figure in ("roc", "trust")]
FILES = (PAGE, NUMBERS, *FIGURES, "contradictions.svg")


def write_naming_page(
    evaluations: Sequence[AnatomyEvaluation],
    folder: Path,
    title: str,
    caption: str,
    manifest: Mapping[str, object] | None = None,
) -> None:
    """Write ``naming.md``, ``naming.json`` and the figures ``*.svg``.

    Args:
        evaluations: One or more of the same test slices; others are compared with the first.
        folder: Where to write.
        title: Of the page.
        caption: What was trained and tested on what, for readers who see nothing else.
        manifest: How the numbers were made; JSON.

    Raises:
        ConfigError: If there is none, or two have the same name.
        DataError: If test slices differ.
        OutputError: If a file cannot be written.
    """
    from vesalius.evaluation.naming.figures import draw_figures  # matplotlib; tables alone need none

    names = [each.name for each in evaluations]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"a page needs systems with different names, got {', '.join(names) or 'none'}.")
    tables, figures = build_tables(evaluations), dict(draw_figures(evaluations))
    for name, svg in figures.items():
        write_text(folder / name, svg)
    systems = [each.to_dict() for each in evaluations]
    write_json(folder / NUMBERS, {"title": title, **({"manifest": manifest} if manifest else {}), "systems": systems})
    parts = [f"# {to_markdown(title)}", to_markdown(caption), _scope(evaluations[0])]
    parts += [part for table in tables for part in table.sections(align="---:")]
    parts += ["## Figures", *(f"![{to_markdown(Path(name).stem)}]({name})" for name in figures)]
    write_text(folder / PAGE, "\n\n".join(part for part in parts if part) + "\n")


def _scope(evaluation: AnatomyEvaluation) -> str:
    settings, case = evaluation.settings, next(iter(evaluation.label_kinds.values())).judged.case
    groups = ", ".join(f"{case.groups.count(group)} {group}" for group in sorted(set(case.groups)))
    bootstrap = settings.bootstrap
    drawn = " of the same modality" if settings.stratified else ""
    return (
        f"{len(case.patients)} test slices ({groups}) of {int(case.clusters.max()) + 1} patients. "
        f"{bootstrap.confidence:.0%} intervals: {bootstrap.resamples:,} draws of patients{drawn}, percentiles widened "
        "for few patients; one without width means that nothing varied."
    )
