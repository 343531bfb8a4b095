import io
import json

import pytest
from rich.console import Console

from vesalius.console import (
    markdown_table,
    print_json,
    print_path,
    print_table,
    progress_bar,
    say,
    to_html,
    to_link,
    to_markdown,
    to_terminal,
    warn,
)
from vesalius.files import to_json

SHOWN = {
    "t1 [/b] tra": "t1 [/b] tra",
    "[red]": "[red]",
    "\\[": "\\[",
    ":skull:": ":skull:",
    "t1 \x1b[31m tra": r"t1 \x1b[31m tra",
    "a\rb\nc\td\0": r"a\rb\nc\td\x00",
    "\x9b31m": r"\x9b31m",
    "gnp\u202e.dcm": r"gnp\u202e.dcm",
    "a\u2066b\u200bc\u2028d\ufeff": r"a\u2066b\u200bc\u2028d\ufeff",
    "blank\u3164\U000e0100": r"blank\u3164\U000e0100",
    "\udcff.png": r"\udcff.png",
    "Größe 5 µm, 肺": "Größe 5 µm, 肺",
}
"""Texts from outside, and how each looks."""


@pytest.mark.parametrize("text", SHOWN)
def test_outside_text_is_shown_and_not_obeyed_in_tables_and_notices(text, capsys):
    print_table((text, "n"), [(text, 1.0)], title=text)
    say(text)
    warn(text)
    out, err = capsys.readouterr()
    assert out.count(SHOWN[text]) == 3
    assert err == f"{SHOWN[text]}\nwarning: {SHOWN[text]}\n"


@pytest.mark.parametrize("text", SHOWN)
def test_outside_text_is_shown_and_not_obeyed_beside_a_bar(text):
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=200)
    with progress_bar(console) as bar:
        bar.add_task(text, total=1)
    assert SHOWN[text] in console.file.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_text_stops_a_terminal_of_any_encoding(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    for text in SHOWN:
        print_table((text, "– … ×"), [(text, "–")], title=text)
        print_json({"a": text})
        say(text)
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert text.count(r"\udcff.png") == 5
    assert ("- ... x" in text) == (encoding != "utf-8")


def test_a_task_without_a_total_shows_how_long_it_takes():
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=200)
    with progress_bar(console) as bar:
        bar.add_task("Loading", total=None)
        bar.add_task("Reading", total=3, completed=2)
    text = console.file.getvalue()
    assert "0 s" in text
    assert "2/3" in text
    assert "/?" not in text


def test_cells_hold_lines_only_where_we_say_so(capsys):
    print_table(("a", "b"), [(("one", "two"), "three\nfour"), (None, float("nan"))])
    lines = capsys.readouterr().out.splitlines()
    assert sum("one" in line for line in lines) == sum("two" in line for line in lines) == 1
    assert not any("one" in line and "two" in line for line in lines)
    assert any(r"three\nfour" in line for line in lines)
    assert any(line.count("–") == 2 for line in lines)


def test_scripts_get_a_path_as_it_is(capfdbinary):
    print_path("/a/[b]\udcff")
    assert capfdbinary.readouterr().out == b"/a/[b]\xff\n"


def test_html_keeps_text_text_in_bodies_and_attributes():
    assert to_html("<script>\"'&\x1b\u202e") == r"&lt;script&gt;&quot;&#x27;&amp;\x1b\u202e"


def test_markdown_keeps_text_text():
    assert to_markdown("a|b\n*c* <b> [x](y) `d` &lt; ~e~ # \\") == (
        r"a\|b\\n\*c\* &lt;b> [x\](y) \`d\` &amp;lt; \~e\~ \# \\"
    )
    assert to_markdown("0.5 [0.4, 0.6], p < 0.001 & more") == "0.5 [0.4, 0.6], p < 0.001 & more"
    assert to_markdown("_a_ case_001") == r"\_a\_ case_001"
    assert [to_markdown(text) for text in ("- a", "+ a", "1. a", "-0.5", "1.5")] == [
        r"\- a", r"\+ a", r"1\. a", "-0.5", "1.5",
    ]  # fmt: skip


def test_links_keep_file_names_whole():
    assert to_link('a (1)#?%">\udcff.png') == "a%20%281%29%23%3F%25%22%3E%FF.png"


def test_markdown_tables_keep_cells_within_their_cells():
    table = markdown_table(("a|b", "n"), [("c\nd", None)], align="---:")
    assert table.splitlines() == [r"| a\|b | n |", "| --- | ---: |", r"| c\\nd | – |"]


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_json_is_what_every_reader_takes():
    numpy = pytest.importorskip("numpy")
    from pathlib import Path

    content = {
        "nan": float("nan"),
        "inf": [float("inf"), -float("inf"), numpy.float32("nan")],
        "numpy": [numpy.float32(0.5), numpy.int64(3), numpy.bool_(True), numpy.arange(2), numpy.array([numpy.nan])],
        "path": Path("a") / "b\udcff",
        "set": {"b", "a"},
        3: {float("nan"): None, True: "[red]\x1b\u202e"},
    }
    for options in ({}, {"indent": None, "ascii_only": False}):
        text = to_json(content, **options)
        text.encode()
        assert json.loads(text, parse_constant=refuse) == {
            "nan": None,
            "inf": [None, None, None],
            "numpy": [0.5, 3, True, [0, 1], [None]],
            "path": "a/b\udcff",
            "set": ["a", "b"],
            "3": {"null": None, "true": "[red]\x1b\u202e"},
        }
    assert "ß" in to_json(["ß"], ascii_only=False)


def test_the_escapes_are_those_of_python():
    assert to_terminal("\x1b\u202e\U000e0001").encode().decode("unicode_escape") == "\x1b\u202e\U000e0001"
