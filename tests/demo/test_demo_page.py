import html as markup

import pytest

from vesalius.demo.page import (
    AskedPicture,
    DemoSection,
    Findings,
    Judgement,
    NamedPicture,
    PhraseAnswer,
    percent,
    render,
    summarise,
)
from vesalius.knowledge import Knowledge, LearntTarget


@pytest.fixture
def results():
    answer, judgement = PhraseAnswer, Judgement
    pictures = (
        AskedPicture(
            "first <slice>",
            "pictures/a.jpg",
            (answer("brain", 0.3, 0.9, "pictures/a-0.jpg"), answer("polyp", 0.0, None, "pictures/a-1.jpg")),
        ),
        AskedPicture(
            "second",
            "pictures/b.jpg",
            (answer("brain", 0.2, 0.7, "pictures/b-0.jpg"), answer("polyp", 0.05, None, "pictures/b-1.jpg")),
        ),
    )
    part = DemoSection("Heads & <script>", 'With "quotes".', pictures)
    judgements = (
        judgement("modality", "CT", "CT", None, "header"),
        judgement("modality", "CT", "MR", 0.7, "pixels"),
        judgement("plane", "axial", "axial", 0.9, "pixels"),
        judgement("station", "head", None, 0.4, "pixels"),
    )
    named = NamedPicture("a.dcm", "<b>a head</b>", "pictures/named-a.jpg", judgements)
    return Findings("my <model>", (part,), (named,), ("b.dcm: not <there>",))


def draw(results, knowledge=Knowledge()):  # noqa: B008
    return render(results, knowledge, "by <someone>", {"Vesalius": "0 & 1"})


def test_a_phrase_is_summed_up_over_its_pictures(results):
    rows = {(pictures, asked): outcome for pictures, asked, outcome in summarise(results)}
    assert rows["2 × Heads & <script>", "“brain”"] == "mean Dice 0.800 (lowest 0.700)"
    assert rows["2 × Heads & <script>", "“polyp”"] == "marks 2.5 % of pixels; under 1 % in 1 of 2"


def test_names_are_counted_by_where_they_come_from(results):
    rows = {pictures: (asked, outcome) for pictures, asked, outcome in summarise(results)}
    assert rows["1 × sample, by its header"] == ("modality", "1 of 1 right")
    assert rows["1 × sample, by its pixels"] == ("modality, plane, station", "1 of 3 right, 1 unsure")


def test_no_answer_is_neither_right_nor_wrong():
    verdicts = [Judgement("plane", "axial", said, 0.4, "pixels").verdict for said in ("axial", "x", None)]
    assert verdicts == ["right", "wrong", "unsure"]


def test_a_demo_without_pictures_has_an_empty_summary():
    assert summarise(Findings("m", (), (), ())) == []


@pytest.mark.parametrize(
    "text",
    [
        "Heads & <script>",
        "first <slice>",
        'With "quotes".',
        "<b>a head</b>",
        "my <model>",
        "not <there>",
        "by <someone>",
    ],
)
def test_text_from_outside_is_escaped(results, text):
    html = draw(results)
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")
    assert text not in html
    assert escaped in html


def test_the_page_shows_every_picture_and_every_number(results):
    html = draw(results)
    for name in ("a", "a-0", "a-1", "b", "b-0", "b-1", "named-a"):
        assert f'<img src="pictures/{name}.jpg"' in html
    for text in (
        "Dice 0.900",
        "Dice 0.700",
        "marks 0 %",
        "marks 5.0 %",
        "✓ right",
        "✗ is CT",
        "? is head",
        "0 &amp; 1",
    ):
        assert text in html


def test_the_page_needs_nothing_from_elsewhere(results):
    html = draw(results)
    assert "$" not in html
    assert "http:" not in html
    assert "https:" not in html
    assert "For research, not for diagnosis" in html


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1e-6, "< 0.1 %"), (0.001, "0.1 %"), (0.127, "12.7 %"), (1, "100.0 %")]
)
def test_a_small_share_is_not_rounded_to_nothing(share, text):
    assert percent(share) == text


def test_the_page_tells_what_was_learnt_and_what_becomes_of_other_phrases(results):
    knowledge = Knowledge([LearntTarget("kidney", ("ct", "<mr>"), 97)])
    html = draw(results, knowledge)
    assert "<td>kidneys</td><td>CT, &lt;mr&gt;</td><td>97</td>" in html
    assert "'kidney stone' is not among what was learnt" in markup.unescape(html)
    assert "is not told apart" in html
    assert "outlined wherever the model finds it likely" in draw(results)
