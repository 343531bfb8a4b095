r"""Output for people and programs: tables, notices, progress and JSON; the one place that escapes text from outside.

File names, headers, prompts and the messages of other libraries may hold markup, escape sequences that control the
terminal, and marks that reverse a line. Such text is shown literally, or as a visible escape such as ``\x1b``.
"""

import html
import io
import logging
import math
import os
import re
import sys
import unicodedata
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TextIO
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vesalius.files import iter_json

BLANK = frozenset(
    chr(code)
    for first, last in (
        (0x34F, 0x34F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x2800, 0x2800),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)
"""Characters that Unicode counts as printable although they show nothing."""
ASCII = str.maketrans({"–": "-", "−": "-", "·": "-", "…": "...", "×": "x", "“": '"', "”": '"', "\u00a0": " "})
"""Characters of our own texts -> what replaces them where only ASCII can be shown."""
MARKUP = re.compile(
    r"[\\`*|#~]|<(?=[A-Za-z/!?])|&(?=[\w#])|\](?=[(\[:])|(?<!\w)_|_(?!\w)|^[-+>](?=\s|$)|(?<=^\d)[.)](?=\s|$)"
)
"""Characters with a meaning in Markdown; some only at the edge of a word or at the start of a text."""
ENTITIES = {"<": "&lt;", "&": "&amp;"}
"""Characters that not every Markdown lets a backslash escape."""
LOG = logging.getLogger("vesalius")
"""Log of what is loaded and how long things take; ``--verbose`` shows it."""
_quiet = False


def to_terminal(text: object, encoding: str = "utf-8") -> str:
    r"""A text in one line, in which everything is visible that a terminal would obey or hide.

    Control characters, escape sequences, line breaks, marks of direction, invisible characters and the lone surrogates
    of file names that are not UTF-8 become escapes; so does what the encoding lacks. Brackets and back slashes stay.

    Args:
        text: Any object; its ``str`` is shown.
        encoding: Encoding of the terminal or file.

    >>> to_terminal("t1 [/b]\x1b[31m\n")
    't1 [/b]\\x1b[31m\\n'
    """
    shown = "".join(letter if _is_visible(letter) else _escape(letter) for letter in str(text))
    try:
        shown.encode(encoding)
    except UnicodeEncodeError:
        return shown.translate(ASCII).encode(encoding, "backslashreplace").decode(encoding)
    return shown


def to_html(text: object) -> str:
    """A text for the body or an attribute of HTML, or for SVG.

    >>> to_html('<b title="">')
    '&lt;b title=&quot;&quot;&gt;'
    """
    return html.escape(to_terminal(text))


def html_figure(png: bytes | None, caption: str) -> str:
    """A picture and its caption, for notebooks.

    Args:
        png: Content of the file; None if there is no picture.
        caption: Plain text below it.
    """
    told = to_html(caption)
    image = "" if png is None else f'<img alt="{told}" src="data:image/png;base64,{b64encode(png).decode()}">'
    return f'<figure style="margin: 0">{image}<figcaption>{told}</figcaption></figure>'


def html_table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table in HTML, its cells escaped; None is a dash.

    >>> html_table(["label"], [["<b>"]])
    '<table><thead><tr><th>label</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{to_html(name)}</th>" for name in columns)
    lines = ["".join(f"<td>{'–' if cell is None else to_html(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def to_markdown(text: object) -> str:
    r"""A text for a paragraph, a heading or a cell of Markdown.

    >>> print(to_markdown("a|b [c](d) <e>"))
    a\|b [c\](d) &lt;e>
    """
    return MARKUP.sub(lambda found: ENTITIES.get(found[0], f"\\{found[0]}"), to_terminal(text))


def to_link(path: str | os.PathLike[str]) -> str:
    """A relative path as the target of a link in HTML or Markdown.

    >>> to_link("a b#1.png")
    'a%20b%231.png'
    """
    return quote(os.fsencode(path))


def markdown_table(columns: Sequence[object], rows: Iterable[Sequence[object]], *, align: str = "---") -> str:
    """A table in Markdown, its cells escaped.

    Args:
        columns: Names of the columns.
        rows: Cells; None is a dash.
        align: Alignment of all columns but the first: "---" for left, or "---:" for numbers.
    """
    lines = [tuple(map(to_markdown, columns)), ("---", *[align] * (len(columns) - 1))]
    lines += [tuple("–" if cell is None else to_markdown(cell) for cell in row) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def print_json(content: Mapping[str, object]) -> None:
    """Print one JSON object on stdout."""
    if sys.stdout is not None:
        for part in iter_json(content):
            sys.stdout.write(part)
        sys.stdout.write("\n")


def print_path(path: object) -> None:
    """Print a path on stdout: its bytes for scripts, escaped for terminals."""
    if sys.stdout is None:
        return
    if sys.stdout.isatty():
        sys.stdout.write(to_terminal(path, sys.stdout.encoding) + "\n")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(str(path)) + b"\n")
    sys.stdout.buffer.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table on stdout; wide cells are folded, never cut.

    Args:
        columns: Names of the columns.
        rows: Cells: texts, numbers, None, or a tuple of these for several lines.
        title: Title above the table.
    """
    console = open_console()
    table = Table(title=None if title is None else _text(title, console), title_justify="left")
    for name in columns:
        table.add_column(_text(name, console), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value, console) for value in row))
    console.print(table)


def say(message: object) -> None:
    """Print a line for people on stderr, unless they want quiet."""
    if not _quiet:
        _say(message)


def say_first(lines: Sequence[object], most: int, rest: str) -> None:
    """Print the first of several lines for people, and how many more there are.

    Args:
        lines: All lines.
        most: Lines that are printed.
        rest: Line below them if there are more, such as "… and {} more, which --json lists."
    """
    for line in lines[:most]:
        say(line)
    if len(lines) > most:
        say(rest.replace("{}", f"{len(lines) - most:,}", 1))


def warn(message: object) -> None:
    """Print a warning on stderr, unless people want quiet."""
    if not _quiet:
        _say(message, "warning:", "yellow")


def complain(message: object) -> None:
    """Print an error on stderr."""
    _say(message, "error:", "bold red")


@contextmanager
def keeping_quiet(quiet: bool = True) -> Iterator[None]:
    """While the block lasts, only errors reach stderr: no notices, warnings or progress bars.

    Args:
        quiet: False changes nothing.
    """
    global _quiet
    before, _quiet = _quiet, quiet or _quiet
    try:
        yield
    finally:
        _quiet = before


@contextmanager
def showing_all_as_text() -> Iterator[None]:
    """Escape the warnings and logs of libraries while the block lasts, and let no character stop a command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    make_record = logging.getLogRecordFactory()

    def make_plain_record(*parts: object, **named: object) -> logging.LogRecord:
        record: logging.LogRecord = make_record(*parts, **named)
        with suppress(TypeError, ValueError):  # whoever logs an impossible format is told so by logging
            record.msg, record.args = "\n".join(map(to_terminal, record.getMessage().splitlines())), ()
        return record

    logging.setLogRecordFactory(make_plain_record)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        logging.setLogRecordFactory(make_record)


def is_quiet() -> bool:
    """Whether only errors reach stderr."""
    return _quiet


def open_console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, as they are now."""
    return _Console(stderr=stderr, soft_wrap=stderr, highlight=False)


def progress_bar(console: Console | None = None) -> Progress:
    """A progress bar that disappears when finished, on stderr unless a console is given; hidden outside terminals.

    For a task of unknown total it shows the time that has passed.
    """
    console = console or open_console(stderr=True)
    columns = (_Description(), BarColumn(), _Count(), TimeRemainingColumn())
    return _Bar(*columns, console=console, transient=True, disable=_quiet or not console.is_terminal)


@contextmanager
def watch(name: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr while the block lasts; yields the function that advances it, by one step if not told."""
    with progress_bar() as bar:
        yield partial(bar.advance, bar.add_task(name, total=total))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, whose exit code is the same wherever the reader went away."""
        raise BrokenPipeError


class _Bar(Progress):
    def stop(self) -> None:
        """Remove it, and log how long each task took."""
        super().stop()
        for task in self.tasks:
            count = f"{task.completed:.0f} in " if task.completed else ""
            LOG.info("%s: %s%.2f s", task.description, count, task.elapsed or 0)


class _Description(ProgressColumn):
    """What is being done, as text."""

    def render(self, task: Task) -> Text:
        return Text(to_terminal(task.description))


class _Count(ProgressColumn):
    """How many of how many, or for how long."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            done = f"{task.completed:.0f}, " if task.completed else ""
            return Text(f"{done}{task.elapsed or 0:.0f} s")
        return Text(f"{task.completed:.0f}/{task.total:.0f}")


def _say(message: object, label: str = "", style: str = "") -> None:
    console = open_console(stderr=True)
    console.print(Text.assemble((label, style), " " if label else "", _text(message, console)))


def _text(value: object, console: Console) -> Text:
    return Text(to_terminal(value, console.encoding))


def _cell(value: object, console: Console) -> Text:
    if isinstance(value, tuple):
        return Text("\n").join(_cell(each, console) for each in value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _text("–", console)
    return _text(f"{value:.3f}" if isinstance(value, float) else value, console)


def _is_visible(letter: str) -> bool:
    return (letter.isprintable() and letter not in BLANK) or unicodedata.category(letter) == "Zs"


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning as one line, without the place in the code."""
    warn(message)
