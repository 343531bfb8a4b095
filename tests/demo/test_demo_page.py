import html as markup
from dataclasses import replace

import pytest

from vesalius.demo.page import (
    AskedPicture,
    DemoSection,
    Findings,
    Judgement,
    NamedPicture,
    PhraseAnswer,
    TargetAnswer,
    TargetEntry,
    TargetRegion,
    percent,
    render_pages,
    summarise_findings,
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


def draw(results, knowledge=Knowledge(), page="index.html"):  # noqa: B008
    return render_pages(results, knowledge, "by <someone>", {"Vesalius": "0 & 1"})[page]


def draw_targets(results, *entries):
    regions = (TargetRegion("Head & <neck>", entries),) if entries else ()
    return draw(replace(results, regions=regions), page="targets.html")


def portrayed(existence=0.93, share=0.05):
    answer = TargetAnswer("MR <of> a head", "pictures/t.jpg", existence, share)
    return TargetEntry(LearntTarget("brain", ("mr", "<us>"), 12), ("cerebrum", "<i>grey"), (answer,))


def test_a_phrase_is_summed_up_over_its_pictures(results):
    rows = {(pictures, asked): outcome for pictures, asked, outcome in summarise_findings(results)}
    assert rows["2 × Heads & <script>", "“brain”"] == "mean Dice 0.800 (lowest 0.700)"
    assert rows["2 × Heads & <script>", "“polyp”"] == "marks 2.5 % of pixels; under 1 % in 1 of 2"


def test_names_are_counted_by_where_they_come_from(results):
    rows = {pictures: (asked, outcome) for pictures, asked, outcome in summarise_findings(results)}
    assert rows["1 × sample, by its header"] == ("modality", "1 of 1 right")
    assert rows["1 × sample, by its pixels"] == ("modality, plane, station", "1 of 3 right, 1 unsure")


def test_no_answer_is_neither_right_nor_wrong():
    verdicts = [Judgement("plane", "axial", said, 0.4, "pixels").verdict for said in ("axial", "x", None)]
    assert verdicts == ["right", "wrong", "unsure"]


def test_a_demo_without_pictures_has_an_empty_summary():
    assert summarise_findings(Findings("m", (), (), ())) == []


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


def test_the_page_tells_what_becomes_of_phrases_that_were_not_learnt(results):
    knowledge = Knowledge([LearntTarget("kidney", ("ct", "<mr>"), 97)])
    html = draw(results, knowledge)
    assert "'kidney stone' is not among what was learnt" in markup.unescape(html)
    assert "is not told apart" in html
    assert "outlined wherever the model finds it likely" in draw(results)


def test_both_pages_are_linked(results):
    assert 'href="targets.html"' in draw(results)
    assert 'href="index.html"' in draw_targets(results)


def test_a_target_tells_what_it_was_learnt_on_its_names_and_the_answer(results):
    html = draw_targets(results, portrayed())
    assert "MR, &lt;us&gt; · 12 training pictures" in html
    assert "“cerebrum”, “&lt;i&gt;grey”" in html
    assert '<img src="pictures/t.jpg"' in html
    assert "existence 0.93, marks 5.0 %" in html
    assert "The pictures are no test." in html


def test_a_target_without_a_picture_is_listed_without(results):
    html = draw_targets(results, TargetEntry(LearntTarget("kidney", ("ct",), 1), ()))
    assert "kidneys" in html
    assert "CT · 1 training picture<" in html
    assert "<img" not in html
    assert "are no test" not in html


def test_a_model_that_judges_no_existence_tells_the_area_alone(results):
    html = draw_targets(results, portrayed(existence=None, share=0.0))
    assert "<b>marks 0 %</b>" in html


def test_a_model_that_does_not_say_what_it_learnt_has_no_list(results):
    assert "does not say what it learnt" in draw_targets(results)


@pytest.mark.parametrize("text", ["Head & <neck>", "MR <of> a head", "<i>grey", "<us>", "my <model>", "by <someone>"])
def test_text_from_outside_is_escaped_on_the_page_of_targets(results, text):
    html = draw_targets(results, portrayed())
    assert text not in html
    assert text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in html


def test_the_page_of_targets_needs_nothing_from_elsewhere(results):
    html = draw_targets(results, portrayed())
    assert "http:" not in html
    assert "https:" not in html
    assert "<script" not in html


def test_answers_scroll_by_themselves_where_a_screen_is_narrow(results):
    assert ".named > div { overflow-x: auto; }" in draw(results)
