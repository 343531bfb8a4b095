"""A report people can read, print and pass on: one HTML page without anything outside it, and Markdown."""

from pathlib import Path

from vesalius.evaluation.report.content import Report
from vesalius.evaluation.report.page import render_html, render_markdown
from vesalius.files import write_text

PAGE_NAME = "report.html"
TEXT_NAME = "report.md"

FILES = (PAGE_NAME, TEXT_NAME)

__all__ = ["FILES", "PAGE_NAME", "TEXT_NAME", "write_report"]


def write_report(report: Report, folder: Path) -> None:
    """Write ``report.html`` and ``report.md``.

    Raises:
        OutputError: If they cannot be written.
    """
    for name, text in ((PAGE_NAME, render_html(report)), (TEXT_NAME, render_markdown(report))):
        write_text(folder / name, text)
