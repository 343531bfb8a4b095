import numpy as np
import pytest

from vesalius.errors import PromptError
from vesalius.models.checkpoint_file import PHRASES
from vesalius.prompts import list_targets
from vesalius.prompts.bank import KnownTarget
from vesalius.prompts.phrase_vectors import (
    UNLEARNT,
    PhraseClassifier,
    PhraseIndex,
    list_phrases,
    to_unit,
    write_phrase_vectors,
)
from vesalius.prompts.targets import Resolution, resolve

KNOWN = [KnownTarget("liver", frozenset({"ct", "mr"})), KnownTarget("spleen"), KnownTarget("liver_tumour")]
AXES = {"liver": 0, "spleen": 1, "liver_tumour": 2}


def unit(owner: str) -> np.ndarray:
    return np.eye(4, dtype=np.float32)[AXES.get(owner, 3)]


OWNERS = (*list_targets(), UNLEARNT)
UNDECIDED = PhraseClassifier(OWNERS, np.zeros((len(OWNERS), 4), np.float32), np.zeros(len(OWNERS), np.float32))
INDEX = PhraseIndex(
    tuple(owner for owner, _ in list_phrases()), np.stack([unit(owner) for owner, _ in list_phrases()]), UNDECIDED
)


def towards(*weights: float):
    return lambda _: np.array(weights, np.float32)


def refuse(phrase: str) -> np.ndarray:
    raise AssertionError(f"'{phrase}' needs no vector.")


class TestResolve:
    def test_words_that_settle_it_need_no_vector(self):
        found = resolve("left liver", KNOWN, INDEX, refuse)
        assert (found.known, found.kind, found.target) == (True, "target", "liver")
        assert found.remark == "'left liver': liver: learnt as a whole, 'left' is not told apart."

    def test_a_paraphrase_means_what_it_lies_near(self):
        found = resolve("the thing behind the ribs", KNOWN, INDEX, towards(0.2, 1, 0, 0.3))
        assert (found.known, found.target, found.nearest[0]) == (True, "spleen", "spleen")

    def test_what_sentences_or_strange_words_tell_is_read_as_the_plain_name(self):
        assert resolve("the thing behind the ribs", KNOWN, INDEX, towards(0.2, 1, 0, 0.3)).read_as == "spleen"
        strange = resolve("cirrhotic liver in a portal phase ct", KNOWN, INDEX, refuse)
        assert (strange.target, strange.read_as) == ("liver", "liver")
        assert strange.remark == "'cirrhotic liver in a portal phase ct': read as 'liver'."

    @pytest.mark.parametrize("phrase", ["left liver", "please outline the liver", "small round liver tumour"])
    def test_but_words_of_its_training_phrases_and_descriptions_of_a_lesion_are_not(self, phrase):
        assert resolve(phrase, KNOWN, INDEX, refuse).read_as == ""

    def test_but_not_if_something_unlearnt_lies_nearer(self):
        found = resolve("the thing behind the ribs", KNOWN, INDEX, towards(0.2, 1, 0, 1.1))
        assert (found.known, found.kind, found.target) == (False, "unknown", None)
        assert found.nearest == ("spleen", "liver", "liver_tumour")
        assert found.remark == (
            "'the thing behind the ribs' is not among what was learnt; nearest: spleen, liver, liver tumour."
        )

    def test_nor_if_nothing_lies_near(self):
        index = PhraseIndex(INDEX.owners, INDEX.vectors * 0.4, UNDECIDED)
        assert not resolve("gibberish", KNOWN, index, towards(0, 1, 0, 0)).known

    def test_a_target_that_a_phrase_is_not_about_is_not_meant_however_near(self):
        assert resolve("liver enzymes", KNOWN, INDEX, towards(1, 0, 0, 0)).kind == "unknown"
        assert resolve("mass in the spleen", KNOWN, INDEX, towards(0, 0, 1, 0)).kind == "unknown"

    def test_nor_if_another_target_lies_about_as_near(self):
        assert resolve("the thing that breaks down cells", KNOWN, INDEX, towards(0.98, 1, 0, 0)).target is None
        assert resolve("the thing that breaks down cells", KNOWN, INDEX, towards(0.8, 1, 0, 0)).target == "spleen"

    def test_nor_if_a_word_of_it_contradicts_the_target_though_that_leaves_the_other_without_a_rival(self):
        assert resolve("the large thing of the right side", KNOWN, INDEX, towards(0.9, 1, 0, 0)).target is None
        assert resolve("the large thing of the right side", KNOWN, INDEX, towards(1, 0.98, 0, 0)).target == "liver"

    def test_what_is_told_by_its_place_must_lie_much_nearer(self):
        assert resolve("the thing behind the door", KNOWN, INDEX, towards(0.95, 1, 0, 0)).target is None
        assert resolve("the thing behind the door", KNOWN, INDEX, towards(0.5, 1, 0, 0)).target == "spleen"
        assert resolve("the thing beside the spleen", KNOWN, INDEX, towards(0, 1, 0, 0)).target is None

    @pytest.mark.parametrize("phrase", ["XQZ of the trunk", "prolactimona", "zymogen region"])
    def test_strange_words_and_abbreviations_are_unknown_however_near(self, phrase):
        assert resolve(phrase, KNOWN, INDEX, towards(1, 0, 0, 0)).kind == "unknown"

    def test_a_whole_description_far_from_all_else_counts_more_than_one_word_that_nobody_taught(self):
        phrase = "what stores glycogen and feeds a child at night"
        assert resolve("a child", KNOWN, INDEX, towards(1, 0, 0, 0)).kind == "unknown"
        assert resolve(phrase, KNOWN, INDEX, towards(1, 0.8, 0, 0.7)).target == "liver"

    @pytest.mark.parametrize(
        ("phrase", "weights"),
        [
            ("what stores glycogen and feeds a child at night", (1, 0.95, 0, 0.7)),
            ("what stores glycogen and feeds a child at night", (1, 0.7, 0, 0.95)),
            ("what XQZ shows of a small child that is ill", (1, 0, 0, 0)),
            ("enzymes of a child that the liver makes at night", (1, 0, 0, 0)),
        ],
        ids=["near another target", "near what is unlearnt", "an abbreviation", "named, but not meant"],
    )
    def test_but_not_if_it_is_not_far_or_its_words_say_that_something_else_is_meant(self, phrase, weights):
        assert resolve(phrase, KNOWN, INDEX, towards(*weights)).kind == "unknown"

    def test_no_sentence_decides_on_a_phrase_in_another_language(self):
        assert resolve("cáncer de estómago", KNOWN, INDEX, towards(0, 0, 1, 0)).target is None
        assert resolve("Entzündung der Leber bei Nacht", KNOWN, INDEX, towards(1, 0, 0, 0)).target is None

    def test_shorthand_that_seems_to_deny_is_asked_by_the_plain_name(self):
        assert resolve("liver tumour not excluded", KNOWN, INDEX, refuse).read_as == "liver tumour"

    def test_a_synonym_is_said_to_be_read_as_the_plain_name(self):
        found = resolve("hepar", KNOWN, INDEX, refuse)
        assert (found.target, found.remark) == ("liver", "'hepar': read as 'liver'.")

    def test_a_name_among_strange_words_is_less_doubtful(self):
        assert resolve("hydatid spleen", KNOWN, INDEX, towards(0, 1, 0, 0.99)).target == "spleen"
        assert resolve("hydatid thing", KNOWN, INDEX, towards(0, 1, 0, 0.99)).target is None

    def test_vague_denied_several(self):
        assert resolve("the lesion", KNOWN, INDEX, refuse).kind == "vague"
        denied = resolve("no liver tumour", KNOWN, INDEX, refuse)
        assert (denied.kind, denied.target, denied.known) == ("denial", "liver_tumour", True)
        several = resolve("liver and spleen", KNOWN, INDEX, refuse)
        assert (several.kind, several.known, several.nearest) == ("several", False, ("liver", "spleen"))
        assert several.remark.endswith("names several targets (liver, spleen); ask for one at a time.")
        one = Resolution("tumour and liver", "several", nearest=("liver",))
        assert one.remark == "'tumour and liver' names liver and more; ask for one at a time."

    def test_a_misspelt_name_is_said_to_be_read_so(self):
        assert resolve("spleeen", KNOWN, INDEX, refuse).remark == "'spleeen': read as 'spleen'."

    def test_without_vectors_words_decide(self):
        assert resolve("hydatid spleen", KNOWN).target == "spleen"
        unknown = resolve("the fist-sized thing near the liver edge", KNOWN)
        assert (unknown.known, unknown.nearest[0]) == (False, "liver")

    def test_nothing_learnt_means_nothing_known(self):
        assert not resolve("liver", [], INDEX, refuse).known
        assert resolve("liver", []).remark == "'liver' is not among what was learnt; nearest: nothing."

    def test_a_target_that_the_bank_lacks_is_named(self):
        with pytest.raises(PromptError, match="No target named 'livers'"):
            resolve("liver", [KnownTarget("livers")])


@pytest.mark.parametrize(
    ("modality", "expected"), [("CT", True), ("mri", True), ("US", False), ("DX", False), ("PT", False), (None, True)]
)
def test_a_target_is_expected_where_it_was_learnt(modality, expected):
    assert KNOWN[0].is_expected(modality) == expected
    assert KNOWN[1].is_expected(modality)


class TestIndex:
    @staticmethod
    def write(path, phrases):
        vectors = {each: np.random.default_rng(len(each)).normal(size=5).astype(np.float32) for each in phrases}
        count = write_phrase_vectors(
            path, phrases, lambda texts: np.stack([vectors[each] for each in texts]), TestIndex.learn
        )
        assert count == len(set(phrases))
        return vectors

    @staticmethod
    def learn(vectors):
        """Weights that lie column by column in memory, as scikit-learn's do."""
        assert all(each.shape == (5,) for each in vectors.values())
        weights = np.asfortranarray(np.arange(5 * len(OWNERS), dtype=np.float32).reshape(-1, 5))
        return PhraseClassifier(OWNERS, weights, np.arange(len(OWNERS), dtype=np.float32))

    def test_it_is_read_as_it_was_written_but_for_length(self, tmp_path):
        owners, phrases = zip(*list_phrases(), strict=True)
        vectors = self.write(tmp_path / "phrases.safetensors", [*phrases, "something else"])
        read = PhraseIndex.read(tmp_path / "phrases.safetensors")
        assert read.owners == owners
        assert np.allclose(np.linalg.norm(read.vectors, axis=1), 1)
        assert np.allclose(read.vectors[7], vectors[phrases[7]] / np.linalg.norm(vectors[phrases[7]]))
        learnt = self.learn(vectors)
        assert read.classifier.owners == OWNERS
        assert np.array_equal(read.classifier.weights, learnt.weights)
        assert np.array_equal(read.classifier.offsets, learnt.offsets)

    def test_one_that_lacks_a_phrase_is_refused(self, tmp_path):
        lacking = list_phrases()[3][1]
        self.write(tmp_path / "phrases.safetensors", [each for _, each in list_phrases() if each != lacking])
        with pytest.raises(PromptError, match=rf"phrases of the prompt bank are missing, the first '{lacking}'"):
            PhraseIndex.read(tmp_path / "phrases.safetensors")

    def test_a_file_that_is_missing_or_broken_is_named(self, tmp_path):
        with pytest.raises(PromptError, match=r"none\.safetensors: no vectors of phrases can be read .*; install V"):
            PhraseIndex.read(tmp_path / "none.safetensors")
        (tmp_path / "broken.safetensors").write_bytes(b"nothing")
        with pytest.raises(PromptError, match="can be read"):
            PhraseIndex.read(tmp_path / "broken.safetensors")

    def test_phrases_are_the_names_of_all_targets_and_what_nobody_taught(self):
        owners = {owner for owner, _ in list_phrases()}
        assert owners == {*list_targets(), UNLEARNT}
        assert len(set(list_phrases())) == len(list_phrases())

    @pytest.mark.slow
    def test_the_package_s_is_of_the_phrases_there_are(self):
        """If not, experiments/pocket/phrases.py is to be run."""
        index = PhraseIndex.read(PHRASES)
        assert index.vectors.shape == (len(list_phrases()), 384)

    def test_the_package_s_knows_neighbours(self):
        index = PhraseIndex.read(PHRASES)
        row = [phrase for _, phrase in list_phrases()].index("the fist-sized organ behind the stomach")
        near = index.compare(index.vectors[row], list_targets())
        assert next(iter(near.targets)) == "spleen"
        assert near.means("spleen", 0.05)

    def test_the_package_s_classifier_tells_most_names(self):
        index = PhraseIndex.read(PHRASES)
        odds = index.vectors @ index.classifier.weights.T + index.classifier.offsets
        guessed = [index.classifier.owners[place] for place in odds.argmax(1)]
        assert np.mean([one == two for one, two in zip(guessed, index.owners, strict=True)]) > 0.95
        assert sum(index.classifier.shares(index.vectors[0]).values()) == pytest.approx(1)

    def test_the_classifier_decides_between_names_that_lie_alike(self):
        weights = UNDECIDED.weights.copy()
        weights[OWNERS.index("spleen"), :2] = 4
        index = PhraseIndex(INDEX.owners, INDEX.vectors, PhraseClassifier(OWNERS, weights, UNDECIDED.offsets))
        vector = to_unit(np.array([1, 1, 0, 0.2], np.float32))
        assert INDEX.compare(vector, ["liver", "spleen"]).targets["liver"] == pytest.approx(0.7, abs=0.01)
        near = index.compare(vector, ["liver", "spleen"])
        assert near.targets["spleen"] > near.targets["liver"] + 0.1
        assert near.means("spleen", 0.1)

    def test_what_the_classifier_takes_for_a_target_that_is_not_known_counts_as_unlearnt(self):
        weights = UNDECIDED.weights.copy()
        weights[OWNERS.index("spleen"), :2] = 4
        index = PhraseIndex(INDEX.owners, INDEX.vectors, PhraseClassifier(OWNERS, weights, UNDECIDED.offsets))
        near = index.compare(np.array([1, 0, 0, 0], np.float32), ["liver"])
        assert near.other == pytest.approx(
            index.compare(np.array([1, 0, 0, 0], np.float32), ["spleen"]).targets["spleen"]
        )
