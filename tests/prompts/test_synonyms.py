from itertools import chain

import pytest

from vesalius.prompts import find_target, list_targets
from vesalius.prompts.bank import read_synonyms
from vesalius.prompts.lexicon import join, read_names, to_words
from vesalius.prompts.reading import read_phrase

ALL = frozenset(list_targets())
SYNONYMS = read_synonyms()
NAMED = tuple(
    (target, each) for row in (SYNONYMS.names, SYNONYMS.descriptions) for target in row for each in row[target]
)
NAMES = read_names(ALL)


def test_every_synonym_means_its_target_and_is_read_as_its_plain_name():
    for target, phrase in NAMED:
        found = read_phrase(phrase, ALL)
        assert (found.target, found.settled) == (target, True), phrase
        if join(to_words(phrase)) in NAMES.synonyms:
            assert found.read_as == find_target(target).phrases[0], phrase


def test_no_synonym_is_one_of_two_targets():
    owners: dict[str, str] = {}
    for target, phrase in NAMED:
        assert owners.setdefault(join(to_words(phrase)), target) == target, phrase


def test_no_name_of_what_nobody_taught_is_a_target():
    for phrase in (*SYNONYMS.unlearnt, *SYNONYMS.unlearnt_descriptions):
        if join(to_words(phrase)) not in NAMES.targets:
            found = read_phrase(phrase, ALL)
            assert (found.kind, found.target) == ("unknown", None), phrase


def test_all_rows_are_of_targets():
    assert {*SYNONYMS.names, *SYNONYMS.descriptions, *SYNONYMS.conflicts} <= ALL


def test_synonyms_of_what_a_model_did_not_learn_are_unknown():
    few = ALL - {"kidney_tumour", "pituitary_tumour", "spleen"}
    for phrase in ("RCC", "prolactinoma", "milza", "hypophyseal neoplasm"):
        assert read_phrase(phrase, few).kind == "unknown", phrase
    assert read_phrase("suprasellar extension of the adenoma", few).target is None
    assert read_phrase("milza", ALL).target == "spleen"


@pytest.mark.parametrize(
    ("phrase", "target"),
    [
        ("vesica urinaria", "bladder"),
        ("arteria carotis communis sinistra", "carotid_artery"),
        ("ventriculus sinister", "left_ventricle"),
        ("atrium dextrum cordis", "right_atrium"),
        ("lobus dexter hepatis", "liver"),
        ("carcinoma hepatis", "liver_tumour"),
        ("LA blood pool", "left_atrium"),
        ("the LA on cine", "left_atrium"),
        ("PA on cardiac MR", "pulmonary_artery"),
        ("EDH or SDH", "brain_haemorrhage"),
        ("GTV of the nasopharyngeal carcinoma", "nasopharyngeal_carcinoma"),
        ("GTV of the liver", "liver_tumour"),
        ("neoplasia of the left ovary", "ovarian_tumour"),
        ("LGE area in the septum", "myocardial_infarction"),
        ("die Schilddruese", "thyroid_gland"),
        ("linke Niere", "kidney"),
        ("l'estomac", "stomach"),
        ("el corazon", "heart"),
        ("loops of the large bowel", "colon"),
        ("bladder lumen and wall", "bladder"),
        ("where can I see the renal organs of both sides?", "kidney"),
    ],
)
def test_latin_abbreviations_and_other_languages_are_understood(phrase, target):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target, found.settled) == ("target", target, True)


@pytest.mark.parametrize(
    "phrase",
    [
        "vena cava inferior", "arteria renalis", "carcinoma of the prostate", "nodule of the thyroid",
        "metastasis of the bone", "IVC", "SMA", "Gallenblase", "ventriculus tertius", "caudate nucleus",
    ],
)  # fmt: skip
def test_names_of_what_nobody_taught_are_known_as_such(phrase):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target, found.settled) == ("unknown", None, True)


@pytest.mark.parametrize(
    "phrase", ["XQZ of the trunk", "prolactimona", "Nervus ischiadicus", "os cuneiforme", "zymogen region", "rarity"]
)
def test_abbreviations_and_strange_words_are_not_left_to_vectors(phrase):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.settled) == ("unknown", True)


@pytest.mark.parametrize(
    ("phrase", "barred"),
    [
        ("the dark regions on either side of the heart", {"heart"}),
        ("space between the lungs", {"lungs"}),
        ("muscles next to the spine", {"spine"}),
        ("layer around the kidneys", {"kidney"}),
        ("tissue that lies on top of the urinary bladder", {"bladder"}),
    ],
)
def test_what_only_lies_beside_a_target_is_not_that_target(phrase, barred):
    found = read_phrase(phrase, ALL)
    assert found.target is None
    assert found.located
    assert barred <= found.barred


def test_a_generic_word_that_is_located_is_not_asked_as_it_is_but_a_lesion_is():
    assert read_phrase("bones to the left of the spine", ALL).kind == "unknown"
    assert read_phrase("the lesion behind everything", ALL).kind == "vague"


@pytest.mark.parametrize("phrase", ["wall of the bladder", "thickened bladder wall", "wall of the stomach"])
def test_the_wall_of_an_organ_is_not_the_organ(phrase):
    found = read_phrase(phrase, ALL)
    assert found.target is None
    assert found.barred & {"bladder", "stomach"}


def test_synonyms_are_many_enough_for_all_targets_but_few():
    assert not ALL - SYNONYMS.names.keys()
    assert len(tuple(chain.from_iterable(SYNONYMS.names.values()))) > 1000
