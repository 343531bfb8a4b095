import json
import re
import tomllib
from collections import Counter
from pathlib import Path

from vesalius.prompts import read_bank
from vesalius.prompts.bank import DISTRACTORS

RECIPES = Path(__file__).parents[2] / "experiments" / "pocket"
UNSEEN = tomllib.loads((RECIPES / "unseen.toml").read_text(encoding="utf-8"))
FEWEST = {"polyp": 20, "breast_tumour": 20, "lungs": 20, "brain": 20}


LITTLE = {"a", "an", "the", "of", "in", "on", "and"}


def plain(phrase: str) -> frozenset[str]:
    """The words that matter, in whatever order."""
    return frozenset(re.findall(r"\w+", phrase.casefold())) - LITTLE


def test_every_target_has_unseen_wordings():
    assert UNSEEN.keys() == read_bank().keys() - {DISTRACTORS}


def test_there_are_enough_and_none_stands_twice():
    for target, phrases in UNSEEN.items():
        assert len(phrases) >= FEWEST.get(target, 8), target
        assert max(Counter(map(plain, phrases)).values()) == 1, target


def test_none_has_the_words_of_a_phrase_in_the_bank():
    known = {
        plain(phrase)
        for row in read_bank().values()
        for phrase in (*row.phrases, *row.compounds, *row.vague, *row.absences)
    }
    assert {target for target, phrases in UNSEEN.items() if known.intersection(map(plain, phrases))} == set()


def test_none_has_the_words_of_a_prompt_of_the_benchmark(shared):
    known = set()
    for path in (shared / "data/segmentation").glob("*/anns/*.json"):
        for row in json.loads(path.read_text(encoding="utf-8")):
            for wordings in row["prompts"].values():
                known |= {plain(each) for each in ([wordings] if isinstance(wordings, str) else wordings)}
    assert known
    assert not {plain(phrase) for phrases in UNSEEN.values() for phrase in phrases} & known


def test_none_is_written_into_data_that_trains():
    recipes = sorted(RECIPES.glob("prepare_*.py"))
    assert recipes
    for recipe in recipes:
        text = recipe.read_text(encoding="utf-8").casefold()
        written = [phrase for phrases in UNSEEN.values() for phrase in phrases if f'"{phrase.casefold()}"' in text]
        assert written == [], recipe.name
