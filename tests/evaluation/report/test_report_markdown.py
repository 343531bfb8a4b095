from dataclasses import replace

from vesalius.evaluation.report.content import Number, Table
from vesalius.evaluation.report.page import render_markdown


def test_tables_have_a_line_for_each_row(report):
    lines = render_markdown(report).splitlines()
    assert lines[0] == "# model of one on kvasir, test"
    assert "| prompt | Dice | IoU | Precision | Recall | NSD | HD95 (px) |" in lines
    assert sum(line.startswith("| p0 |") for line in lines) == 3
    assert "- **command**: vesalius evaluate" in lines
    assert "- **machine**: threads 2" in lines


def test_numbers_have_their_intervals_and_gaps_a_dash(report):
    table = Table("T", ("a", "b"), [["x", Number("0.5", "0.4–0.6")], ["y", Number("0.5")], ["z", None]])
    text = render_markdown(replace(report, tables=[table]))
    assert "| x | 0.5 (0.4–0.6) |\n| y | 0.5 |\n| z | – |" in text


def test_words_cannot_change_the_text_around_them(report):
    text = render_markdown(replace(report, title="a|b <script> *c* [d](e)\n# f"))
    assert text.splitlines()[0] == r"# a\|b &lt;script> \*c\* [d\](e)\\n\# f"
