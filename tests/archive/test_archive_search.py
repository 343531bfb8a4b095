"""What is found in an index, how a search is read, and the page of it."""

import json
import re

import numpy as np
import pytest

from vesalius.archive.encoding import SliceEncoder
from vesalius.archive.index import ArchiveIndex
from vesalius.archive.query import Where, read_search_phrase, read_where
from vesalius.archive.search import ArchiveSearch, SearchRequest, best_first, cosine_similarities, encode_picture
from vesalius.archive.sheet import _Pictures, write_sheet
from vesalius.errors import ConfigError, ImageError, OutputError
from vesalius.knowledge import Knowledge, LearntTarget

HEADER_WORDS = {"cartilage", "routine", "tse"}
TARGETS = ["polyp", "liver_tumour", "optic_disc"]


@pytest.mark.parametrize(
    ("phrase", "labels"),
    [
        ("sagittal knee T2", [("modality", "MR"), ("plane", "sagittal"), ("organs", "knee"), ("protocol", "T2")]),
        ("hand X-rays", [("organs", "hand"), ("modality", "X-ray")]),
        ("plain film of the thorax", [("modality", "X-ray"), ("stations", "chest")]),
        ("MRI of the lower limb", [("modality", "MR"), ("stations", "lower body")]),
        ("transverse T1w brain", [("modality", "MR"), ("plane", "axial"), ("protocol", "T1"), ("organs", "brain")]),
        ("cardiac ultrasound", [("organs", "heart"), ("modality", "ultrasound")]),
        ("abdominal CT, pelvic CT", [("stations", "abdomen"), ("modality", "CT"), ("stations", "pelvis")]),
        ("liver tumour", [("organs", "liver")]),
        ("fundus photographs", [("modality", "fundus")]),
        ("optic disc in a fundus photograph", [("modality", "fundus")]),
        ("retina", [("modality", "fundus")]),
        ("photo of a foot", [("modality", "photograph"), ("organs", "foot")]),
        ("zebra", []),
    ],
)
def test_words_for_labels_are_understood(phrase, labels):
    assert list(read_search_phrase(phrase, HEADER_WORDS, TARGETS).labels) == labels


@pytest.mark.parametrize(
    ("phrase", "header", "targets", "unknown", "vector"),
    [
        ("sagittal knee T2 with effusion", [], [], ["effusion"], "sagittal knee t2 with"),
        ("knee cartilage", ["cartilage"], [], [], "knee"),
        ("cartilage", ["cartilage"], [], [], ""),
        ("polyp", [], ["polyp"], [], "polyp"),
        ("purple zebra", [], [], ["purple", "zebra"], "purple zebra"),
        ("knee without cartilage", [], [], ["without", "cartilage"], "knee"),
    ],
)
def test_other_words_go_to_headers_to_the_vector_or_are_not_understood(phrase, header, targets, unknown, vector):
    reading = read_search_phrase(phrase, HEADER_WORDS, TARGETS)
    assert (reading.words("header"), reading.words("target")) == (header, targets)
    assert (reading.words("unknown"), reading.vector_phrase) == (unknown, vector)


def test_the_reading_is_told_in_words():
    lines = read_search_phrase("knee MR with cartilage and effusion", HEADER_WORDS, TARGETS).tell()
    assert lines == [
        "Read as knee: organ knee, mr: modality MR.",
        "Looked for in descriptions of series: cartilage.",
        "Not understood: effusion; no label, no description's word, nothing the model learnt.",
    ]
    assert "so the order of what follows is a guess" in read_search_phrase("zebra", (), ()).tell()[0]


@pytest.mark.parametrize(
    ("condition", "where"),
    [
        ("modality=MR", Where(labels=(("modality", "MR"),))),
        ("modality = mri", Where(labels=(("modality", "MR"),))),
        ("organ=lungs", Where(labels=(("organs", "lungs"),))),
        ("body-part-examined=KNEE", Where(fields=(("BodyPartExamined", "KNEE"),))),
        ("path=2024/*", Where(fields=(("path", "2024/*"),))),
    ],
)
def test_conditions_are_read(condition, where):
    assert read_where([condition]) == where


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("modality", "expected FIELD=VALUE"),
        ("modality=", "expected FIELD=VALUE"),
        ("modalty=MR", "No field named 'modalty'. Did you mean 'modality'?"),
        ("modality=PET", "No label named 'PET'. Available: CT, MR"),
        ("organ=chest", "No label named 'chest'."),
        ("PatientName=Doe", "No field named 'PatientName'."),
    ],
)
def test_impossible_conditions_are_refused(condition, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_where([condition])


@pytest.fixture
def search(filled, encoder):
    """Search the small archive, and get the paths of what is found."""
    learnt = Knowledge([LearntTarget("polyp", ("endoscopy",), 9), LearntTarget("optic_disc", ("fundus",), 9)])

    def run(phrase="", **options) -> list[str]:
        _, answers = ArchiveSearch(filled, encoder, learnt).search(SearchRequest(phrase, **options))
        return [each.places[0].place.file for each in answers]

    return run


@pytest.mark.parametrize(
    ("phrase", "first"),
    [
        ("hand X-ray", {"hand.png"}),
        ("chest CT", {"ct/chest.png"}),
        ("CT of the liver", {"ct/liver-a.png", "ct/liver-b.png"}),
        ("sagittal knee T2", {"knee/1.dcm", "knee/2.dcm", "knee/3.dcm"}),
        ("cartilage", {"knee/1.dcm", "knee/2.dcm", "knee/3.dcm"}),
    ],
)
def test_a_phrase_finds_what_it_names(search, phrase, first):
    assert set(search(phrase, limit=len(first))) == first


def test_targets_are_looked_for_on_the_pictures_on_which_they_were_learnt(search, write_picture, reindex):
    write_picture("scope.png", 245)
    write_picture("retina.png", 225)
    reindex()
    assert search("polyp")[0] == "scope.png"
    assert search("optic disc")[0] == "retina.png"


def test_conditions_exclude_everything_else(search):
    livers = {"ct/liver-a.png", "ct/liver-b.png"}
    assert set(search("hand", where=read_where(["modality=CT"]))) == {"ct/chest.png", *livers}
    assert set(search(where=read_where(["organ=liver"]))) == livers
    assert set(search(where=read_where(["path=ct/l*"]))) == livers
    assert len(search(where=read_where(["SeriesDescription=t2w"]))) == 3
    assert search("knee", where=read_where(["modality=MR", "path=ct/*"])) == []


def test_a_picture_finds_itself_and_its_like(search, archive, encoder):
    vector = encode_picture(encoder, archive / "ct" / "liver-b.png")
    assert search(like=vector, limit=2) == ["ct/liver-b.png", "ct/liver-a.png"]
    middle = encode_picture(encoder, archive / "knee")
    assert search(like=middle, limit=1) == ["knee/2.dcm"]
    assert search(like=encode_picture(encoder, archive / "knee", 1), limit=1) == ["knee/3.dcm"]


def test_headers_are_read_once_for_all_answers(filled, encoder, monkeypatch):
    searcher = ArchiveSearch(filled, encoder, Knowledge())
    texts = []
    monkeypatch.setattr("vesalius.archive.search.to_words", lambda text: texts.append(text) or ("cartilage",))
    for _ in range(2):
        searcher.search(SearchRequest("cartilage", where=read_where(["path=knee/*"])))
    assert texts
    assert sorted(texts) == sorted(set(texts))


def test_of_each_series_the_best_slice_alone(search):
    assert sum(path.startswith("knee/") for path in search("knee", per_series=True)) == 1
    assert sum(path.startswith("knee/") for path in search("knee")) == 3


def test_what_left_the_archive_is_not_found(search, archive, filled, encoder, reindex):
    (archive / "hand.png").unlink()
    reindex()
    assert "hand.png" not in search("hand X-ray")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Nothing to search for"),
        ({"phrase": "hand", "limit": 0}, "--limit 0: expected 1 or more"),
        ({"where": Where(fields=(("StudyDate", "2024"),))}, "this index keeps no dates"),
    ],
)
def test_impossible_searches_are_refused(search, options, message):
    with pytest.raises(ConfigError, match=message):
        search(**options)


def test_pictures_that_are_not_there_are_refused(archive, filled, encoder):
    with pytest.raises(ConfigError, match=r"--slice 4: .* has slices 1 to 3"):
        encode_picture(encoder, archive / "knee", 4)
    with pytest.raises(ImageError, match="holds 3 series"):
        encode_picture(encoder, archive / "ct")


def test_nothing_is_like_a_slice_that_shows_nothing(search, archive, encoder, write_picture, reindex):
    write_picture("blank.png", 80, blank=True)
    reindex()
    with pytest.raises(ImageError, match="slice 1 holds one value throughout"):
        encode_picture(encoder, archive / "blank.png")
    vector = encode_picture(encoder, archive / "ct" / "liver-b.png")
    assert len(search(like=vector, limit=100)) == len(search(limit=100, where=read_where(["path=*"]))) - 1


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_search_is_exact(share, monkeypatch):
    monkeypatch.setattr("vesalius.archive.search.ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((100, 16)).astype(np.float16)
    vector = rng.standard_normal(16).astype(np.float32)
    rows = np.flatnonzero(rng.random(100) <= share)
    np.testing.assert_allclose(
        cosine_similarities(vectors, vector, rows), vectors[rows].astype(np.float32) @ vector, rtol=1e-5
    )


@pytest.mark.parametrize("at_once", [3, 10, 100])
def test_the_best_come_first_and_equal_ones_in_order(at_once, monkeypatch):
    monkeypatch.setattr("vesalius.archive.search.SORTED_AT_ONCE", at_once)
    scores = np.random.default_rng(0).integers(0, 6, 40).astype(np.float32)
    assert list(best_first(scores)) == np.argsort(-scores, kind="stable").tolist()


def test_searches_go_on_while_the_archive_is_indexed(filled, encoder, write_picture, reindex, archive):
    searcher = ArchiveSearch(filled, encoder, Knowledge())
    everything = SearchRequest(where=read_where(["path=*"]), limit=99)
    assert len(searcher.search(everything)[1]) == 7
    write_picture("new/foot.png", 200)
    (archive / "hand.png").unlink()
    reindex()
    _, found = searcher.search(everything)
    assert len(found) == 7
    assert {each.places[0].place.file for each in found} >= {"new/foot.png"}
    write_picture("new/words.png", 20)
    reindex()
    assert searcher.read("cartilage").words("header") == ["cartilage"]


def test_nothing_is_written_in_the_middle_of_a_search(filled, encoder, write_picture, reindex, monkeypatch):
    monkeypatch.setattr("vesalius.archive.index.BUSY_S", 0.01)
    write_picture("foot.png", 200)
    holes, refused = filled.holes, []

    def write():
        with pytest.raises(OutputError, match="database is locked"):
            reindex()
        refused.append(True)
        return holes()

    monkeypatch.setattr(filled, "holes", write)
    _, found = ArchiveSearch(filled, encoder, Knowledge()).search(SearchRequest(where=read_where(["modality=MR"])))
    assert (len(found), refused) == (3, [True])
    assert reindex().slices == 8


def test_the_page_says_that_a_picture_was_indexed_anew(filled, encoder, write_picture, reindex, tmp_path):
    _, answers = ArchiveSearch(filled, encoder, Knowledge()).search(SearchRequest("hand X-ray", limit=1))
    write_picture("hand.png", 80)
    reindex()
    (lost,) = write_sheet(tmp_path / "found.html", "hand", None, answers, filled)
    assert "hand.png: was indexed anew since the search; search again" in lost


def test_the_page_shows_pictures_and_escapes_what_comes_from_outside(filled, archive, encoder, tmp_path):
    searcher = ArchiveSearch(filled, encoder, Knowledge())
    reading, answers = searcher.search(SearchRequest("hand <script> X-ray", limit=2))
    page = tmp_path / "found.html"
    assert write_sheet(page, "hand <script>", reading, answers, filled) == []
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert "<script" not in text
    assert "Not understood: script" in text
    assert ">1. hand.png<" in text
    assert str(archive) not in text


def test_the_page_says_why_a_picture_is_missing(filled, archive, encoder, tmp_path):
    _, answers = ArchiveSearch(filled, encoder, Knowledge()).search(SearchRequest("hand X-ray", limit=1))
    (archive / "hand.png").unlink()
    lost = write_sheet(tmp_path / "found.html", "hand", None, answers, filled)
    assert len(lost) == 1
    assert "hand.png: no such file" in lost[0]
    assert "no such file" in (tmp_path / "found.html").read_text(encoding="utf-8")


def test_the_page_draws_the_slice_that_was_found(write_mr, reindex, folder, encoder, tmp_path, archive):
    for number, level in enumerate((40, 120, 200), start=1):
        write_mr(f"knee/{number}.dcm", level, number)
    reindex()
    with ArchiveIndex.open(folder) as index:
        _, answers = ArchiveSearch(index, encoder, Knowledge()).search(SearchRequest("knee", limit=3))
        pictures = _Pictures(index, archive)
        assert len({pictures.draw(each)[0] for each in answers}) == 3


@pytest.fixture
def fake_model(monkeypatch, encoder):
    monkeypatch.setattr(SliceEncoder, "open", classmethod(lambda cls, model, **options: encoder))
    monkeypatch.setattr("vesalius.cli.archive_search._learnt", lambda model: Knowledge())


@pytest.mark.usefixtures("fake_model")
def test_the_commands_index_and_search(run, write_picture, archive, tmp_path):
    write_picture("hand.png", 40)
    write_picture("chest.png", 80)
    code, out, _ = run("archive", "index", archive, "--out", "index", "--json")
    assert code == 0
    assert json.loads(out)["slices"] == 2
    code, out, _ = run("archive", "search", "index", "hand X-ray with effusion", "--limit", "1", "--json")
    found = json.loads(out)
    assert code == 0
    assert [each["path"] for each in found["answers"]] == ["hand.png"]
    assert found["reading"]["not_understood"] == ["effusion"]
    code, out, err = run("archive", "search", "index", "--like", archive / "chest.png", "--sheet", "found.html")
    assert code == 0
    assert "chest.png" in out
    assert "Written: found.html" in err
    assert (tmp_path / "found.html").is_file()
    code, _, err = run("archive", "search", "index", "hand", "--sheet", "found.html")
    assert code == 2
    assert "there already" in err


@pytest.mark.usefixtures("fake_model")
def test_what_cannot_be_read_is_listed_with_exit_code_2(run, write_picture, archive):
    write_picture("hand.png", 40)
    (archive / "broken.png").write_bytes(b"\x89PNG and no more")
    code, out, err = run("archive", "index", archive, "-o", "index", "--quiet")
    assert code == 2
    assert "slices" in out
    assert "1 series, files or folders cannot be read, which the same command tries again" in err
    assert "broken.png" in err


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "nowhere", "hand"], "holds no index"),
        (["search", "nowhere", "hand", "--sheet", "found.pdf"], "expected a name that ends in .html"),
        (["search", "nowhere", "hand", "--slice", "2"], "--slice chooses a slice of --like"),
        (["search", "nowhere", "hand", "--archive", "."], "--archive: goes with --sheet"),
        (["search", "nowhere", "hand", "--overwrite"], "--overwrite: goes with --sheet"),
        (["search", "nowhere", "hand", "--sheet", "x.html", "--archive", "none"], "--archive none: no such folder"),
        (["search", "nowhere", "--where", "modality=PET"], "No label named 'PET'"),
        (["index", "nowhere", "--out", "index"], "no such folder"),
        (["index", __file__, "--out", "index"], "is a file; name the folder of an archive"),
    ],
)
def test_mistakes_are_told_in_one_line(run, arguments, message):
    code, out, err = run("archive", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
