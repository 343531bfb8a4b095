import pytest

from vesalius.prompts import list_targets
from vesalius.prompts.lexicon import join, to_words
from vesalius.prompts.phrase_vectors import list_phrases
from vesalius.prompts.targets import Resolution


@pytest.fixture(scope="module")
def script(import_script):
    return import_script("experiments/benchmarks", "known_phrases")


@pytest.mark.parametrize(("split", "fewest"), [("val", 80), ("test", 30), ("late", 30)])
def test_there_are_as_many_learnt_as_unlearnt_phrases_and_no_learnt_one_is_a_name(script, split, fewest):
    cases = list(script.read_cases(split))
    names = {phrase.casefold() for owner, phrase in list_phrases() if owner}
    for kind in ("target", "unknown"):
        assert sum(case.kind == kind for case in cases) >= fewest
    assert {case.target for case in cases} <= {*list_targets(), None}
    assert [case.phrase for case in cases if case.kind == "target" and case.phrase.casefold() in names] == []
    assert len({case.phrase for case in cases}) == len(cases)


def test_no_two_files_share_a_phrase(script):
    keys = [join(to_words(case.phrase)) for split in script.SPLITS for case in script.read_cases(split)]
    assert len(set(keys)) == len(keys)


def test_all_targets_of_the_folders_are_learnt_with_their_kinds_of_pictures(script):
    known = {target.name: target.modalities for target in script.read_known()}
    assert known.keys() == set(list_targets())
    assert known["left_ventricle"] == {"mr"}
    assert known["lungs"] == {"ct", "xray"}


def test_a_wrong_target_counts_as_known(script):
    case = script.Case("bile maker", "target", "liver")
    right, wrong = Resolution("bile maker", "target", "liver"), Resolution("bile maker", "target", "spleen")
    lines = list(script.tabulate("val", [(case, right), (case, wrong)]))
    assert lines[0] == "| val | learnt | 2 | 100.0% | 50.0% |"
