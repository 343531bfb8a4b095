from collections import Counter
from itertools import chain

import pytest

from vesalius.errors import PromptError
from vesalius.prompts import find_target, foreign_phrases, list_targets, read_bank
from vesalius.prompts.bank import DISTRACTORS, list_regions, read_synonyms, to_bank
from vesalius.prompts.lexicon import join, read_names, to_words
from vesalius.prompts.reading import read_phrase

TARGETS = sorted(read_bank().keys() - {DISTRACTORS})


def words(name: str) -> tuple[str, ...]:
    row = read_bank()[name]
    return (*row.phrases, *row.compounds, *row.absences)


def test_phrases_are_words():
    for name, row in read_bank().items():
        assert row.phrases, name
        assert [phrase for phrase in words(name) if not phrase or phrase != " ".join(phrase.split())] == [], name


def test_no_phrase_stands_twice_whatever_its_case():
    counts = Counter(phrase.casefold() for phrase in chain.from_iterable(map(words, read_bank())))
    assert [phrase for phrase, count in counts.items() if count > 1] == []


def test_every_target_can_be_said_to_be_absent():
    assert [name for name in TARGETS if not find_target(name).absences] == []


def test_foreign_phrases_are_those_of_what_the_images_cannot_show():
    for name in TARGETS:
        denials, names, *others, distractors = foreign_phrases(name)
        shown = {name, DISTRACTORS, *find_target(name).may_show}
        foreign = {other: row for other, row in read_bank().items() if other not in shown}
        assert denials == find_target(name).absences, name
        assert set(names) == {row.phrases[0] for row in foreign.values()}, name
        assert set(others) == {row.phrases + row.compounds for row in foreign.values()}, name
        assert set(distractors) == set(read_bank()[DISTRACTORS].phrases) - shown, name


def test_nothing_an_image_may_show_is_said_to_be_absent():
    for name in TARGETS:
        target, foreign = find_target(name), set(chain.from_iterable(foreign_phrases(name)))
        shown = {
            each for entry in target.may_show for each in (read_bank()[entry].phrases if entry in TARGETS else [entry])
        }
        assert not foreign & {*target.phrases, *shown}, name
        # That another thing is absent is true, and no reason for an empty mask.
        others = chain.from_iterable(read_bank()[other].absences for other in TARGETS if other != name)
        assert not foreign & set(others), name


def test_organs_of_one_slice_show_each_other():
    organs = {"liver", "kidney", "spleen", "bladder", "hip_bone", "femur", "aorta", "spine", "stomach", "colon"}
    for name in organs:
        assert {name, *find_target(name).may_show} >= organs


def test_a_group_stands_for_its_members_but_the_target_itself():
    tables = {
        "disc": {"phrases": ["disc"], "may_show": ["eye", "text", "cup"]},
        "cup": {"phrases": ["cup"], "may_show": ["eye"]},
        "groups": {"eye": ["disc", "cup", "lens"]},
        DISTRACTORS: {"phrases": ["text", "lens"]},
    }
    bank = to_bank(tables)
    assert bank["disc"].may_show == ("cup", "lens", "text")
    assert bank["cup"].may_show == ("disc", "lens")


def test_a_group_has_targets_and_distractors():
    tables = {"cup": {"phrases": ["cup"]}, "groups": {"eye": ["cups"]}, DISTRACTORS: {"phrases": ["text"]}}
    with pytest.raises(PromptError, match=r"\[groups\], eye: No target or distractor named 'cups'. Did you mean 'cup'"):
        to_bank(tables)


def test_every_target_is_in_one_region():
    assert sorted(chain.from_iterable(list_regions().values())) == TARGETS


def test_a_region_has_targets():
    tables = {"cup": {"phrases": ["cup"]}, "regions": {"Eye": ["text"]}, DISTRACTORS: {"phrases": ["text"]}}
    with pytest.raises(PromptError, match=r"\[regions\], Eye: No target named 'text'"):
        to_bank(tables)


def test_what_a_set_of_images_may_show_stands_in_for_what_the_target_s_images_may():
    _, names, *_, distractors = foreign_phrases("breast_tumour", ("lungs", "knee"))
    assert "lungs" not in names
    assert "lungs" in foreign_phrases("breast_tumour")[1]
    assert set(read_bank()[DISTRACTORS].phrases) - set(distractors) == {"knee"}


@pytest.mark.parametrize("entry", ["lung", "polyp", DISTRACTORS])
def test_what_may_be_shown_is_another_target_or_a_distractor(entry):
    tables = {
        "polyp": {"phrases": ["polyp"], "may_show": [entry]},
        "lungs": {"phrases": ["lungs"]},
        DISTRACTORS: {"phrases": ["text"]},
    }
    with pytest.raises(PromptError, match=rf"\[polyp\], may_show: No other target or distractor named '{entry}'"):
        to_bank(tables)


def test_an_unknown_target_is_answered_with_the_closest():
    with pytest.raises(PromptError, match="No target named 'polyps'. Did you mean 'polyp'"):
        find_target("polyps")


def test_distractors_are_no_target():
    with pytest.raises(PromptError, match="No target named 'distractors'"):
        find_target(DISTRACTORS)


def test_compounds_are_every_noun_in_every_place_and_asked_for_in_every_way():
    tables = {
        "polyp": {"phrases": ["polyp"], "nouns": ["polyp", "growth"], "places": ["in the gut"], "vague": ["lesion"]},
        DISTRACTORS: {"phrases": ["text"]},
        "requests": {"phrases": ["mark the {}"]},
    }
    polyp = to_bank(tables)["polyp"]
    assert polyp.compounds == ("polyp in the gut", "growth in the gut", "mark the polyp", "mark the growth")
    assert polyp.wordings == (("polyp",), polyp.compounds, ("lesion",))


def test_vague_words_are_nowhere_said_to_be_absent():
    vague = set(chain.from_iterable(find_target(name).vague for name in TARGETS))
    assert not vague & set(chain.from_iterable(chain.from_iterable(map(foreign_phrases, TARGETS))))


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
        ("linke Lunge", "lungs"),
        ("rein gauche", "kidney"),
        ("ventrículo esquerdo", "left_ventricle"),
        ("os rins", "kidney"),
        ("de lever", "liver"),
        ("heart_ventricle_left", "left_ventricle"),
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
