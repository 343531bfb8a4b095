"""A page of Markdown about naming, several systems side by side, with its figures and its numbers as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vesalius.console import markdown_table, to_markdown
from vesalius.errors import ConfigError
from vesalius.evaluation.anatomy.drawing import write_svg
from vesalius.evaluation.anatomy.evaluate import AnatomyEvaluation
from vesalius.evaluation.anatomy.preference_figure import draw_preferences
from vesalius.evaluation.anatomy.roc_figure import draw_roc
from vesalius.evaluation.anatomy.tables import build_tables
from vesalius.evaluation.anatomy.trust_figure import draw_trust
from vesalius.evaluation.report.content import Table
from vesalius.files import write_json, write_text

PAGE, NUMBERS = "naming.md", "naming.json"


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
    names = [each.name for each in evaluations]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"a page needs systems with different names, got {', '.join(names) or 'none'}.")
    tables, figures = build_tables(evaluations), dict(_figures(evaluations))
    for name, svg in figures.items():
        write_svg(svg, folder / name)
    systems = [each.to_dict() for each in evaluations]
    write_json(folder / NUMBERS, {"title": title, **({"manifest": manifest} if manifest else {}), "systems": systems})
    parts = [f"# {to_markdown(title)}", to_markdown(caption), _scope(evaluations[0])]
    parts += [part for table in tables for part in _section(table)]
    parts += ["## Figures", *(f"![{to_markdown(Path(name).stem)}]({name})" for name in figures)]
    write_text(folder / PAGE, "\n\n".join(part for part in parts if part) + "\n")


def _figures(evaluations: Sequence[AnatomyEvaluation]) -> Iterator[tuple[str, str]]:
    for aspect in evaluations[0].aspects:
        if roc := draw_roc(evaluations, aspect):
            yield f"roc_{aspect}.svg", roc
        yield f"trust_{aspect}.svg", draw_trust(evaluations, aspect)
    if preferences := draw_preferences(evaluations):
        yield "contradictions.svg", preferences


def _scope(evaluation: AnatomyEvaluation) -> str:
    settings, case = evaluation.settings, next(iter(evaluation.aspects.values())).judged.case
    groups = ", ".join(f"{case.groups.count(group)} {group}" for group in sorted(set(case.groups)))
    bootstrap = settings.bootstrap
    drawn = " of the same modality" if settings.stratified else ""
    return (
        f"{len(case.patients)} test slices ({groups}) of {int(case.clusters.max()) + 1} patients. "
        f"{bootstrap.confidence:.0%} intervals: {bootstrap.resamples:,} draws of patients{drawn}, percentiles widened "
        "for few patients; one without width means that nothing varied."
    )


def _section(table: Table) -> Iterator[str]:
    yield f"## {to_markdown(table.title)}"
    yield markdown_table(table.columns, table.rows, align="---:")
    yield to_markdown(table.note)
