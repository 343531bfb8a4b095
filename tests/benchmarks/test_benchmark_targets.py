import pytest


@pytest.fixture(scope="module")
def causes(import_script):
    return import_script("experiments/benchmarks", "target_causes")


@pytest.fixture
def make(causes):
    def make(name="liver", pictures=100, dice=0.6, share=0.1, folders=(("one", 0.6, True),)):
        return causes.TargetScore(name, pictures, dice, dice - 0.1, dice + 0.1, share, folders)

    return make


def test_each_cause_is_told_by_its_number(make):
    assert make().causes == []
    assert make(pictures=29).causes == ["few training pictures (29)"]
    assert make(share=0.004).causes == ["small objects (median 0.40 % of the picture)"]
    unlike = (("one", 0.9, True), ("two", 0.5, True))
    assert make(folders=unlike).causes == ["unlike data sets (one 0.90, two 0.50)"]
    assert make(folders=(("one", 0.9, False),)).causes == ["data sets that training lacked (one)"]


def test_low_targets_are_explained_the_lowest_first(causes, make):
    told = causes.explain([make("a", dice=0.65), make("b", dice=0.7), make("c", dice=0.2, pictures=5)])
    assert told == [
        "- **c**, 0.20: few training pictures (5).",
        "- **a**, 0.65: neither few pictures, nor small objects, nor unlike data sets.",
    ]


def test_correlations_are_over_targets(causes, make):
    scores = [make(str(n), pictures=n, dice=n / 10, share=1 / n) for n in range(1, 6)]
    (told,) = causes.correlate(scores)
    assert "over 5 targets" in told
    assert "pictures ρ = 1.00" in told
    assert "share of the picture ρ = -1.00" in told
    assert causes.correlate(scores[:2]) == []


def test_the_figure_names_every_target_and_labels_keep_apart(causes, make, tmp_path):
    scores = [make("liver", 100, 0.8), make("spleen", 101, 0.8), make("polyp", 2000, 0.9)]
    causes.draw(scores, tmp_path / "curve.svg")
    drawn = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    assert all(each.name in drawn for each in scores)
    liver, spleen, polyp = causes._spread_labels(scores)
    assert abs(liver - spleen) >= 0.025
    assert polyp == 0.9


def test_what_only_labels_tell_of_is_counted_by_folder(import_script):
    targets = import_script("experiments/benchmarks", "targets")
    found = [
        targets.Answer(folder, "optic_disc", str(n), True, True, 0.0, 0.2, existence, outlined=False)
        for n, (folder, existence) in enumerate((("b", 0.9), ("a", 0.6), ("a", 0.2)))
    ]
    assert targets.by_label(found)[2:] == ["| a | optic disc | 50 % of 2 |", "| b | optic disc | 100 % of 1 |"]


def test_targets_are_scored_where_they_are_shown(import_script):
    targets = import_script("experiments/benchmarks", "targets")
    shown = [
        targets.Answer("one", "liver", str(n), True, True, dice, 0.2, 0.9, 0.3) for n, dice in enumerate((0.4, 0.8))
    ]
    absent = targets.Answer("two", "liver", "x", True, False, 0.0, 0.2, 0.9)
    (liver,) = targets.score([*shown, absent], {"liver": 7, "colon": 3}, {("one", "liver")})
    assert (liver.name, liver.pictures, liver.share) == ("liver", 7, 0.3)
    assert liver.dice == pytest.approx(0.6)
    assert liver.folders == (("one", pytest.approx(0.6), True),)
