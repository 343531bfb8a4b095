from itertools import chain

import pytest

from vesalius.prompts import find_target, list_targets
from vesalius.prompts.bank import DISTRACTORS, read_bank
from vesalius.prompts.foreign import translate
from vesalius.prompts.lexicon import read_names, read_unlearnt, strip_request, to_words
from vesalius.prompts.reading import read_phrase
from vesalius.prompts.spelling import correct_request

ALL = frozenset(list_targets())


def test_every_name_means_its_target():
    for name in list_targets():
        for phrase in (*find_target(name).phrases, *find_target(name).nouns):
            found = read_phrase(phrase, ALL)
            assert (found.kind, found.target, found.settled) == ("target", name, True), phrase


def test_every_denial_denies_its_target():
    for name in list_targets():
        for phrase in find_target(name).absences:
            found = read_phrase(phrase, ALL)
            assert (found.kind, found.target) == ("denial", name), phrase


def test_no_placed_or_asked_name_means_another_target():
    for name in list_targets():
        for phrase in find_target(name).compounds[::7]:
            found = read_phrase(phrase, ALL)
            assert found.target in (name, None), phrase
            assert found.target or not found.settled, phrase


def test_vague_words_mean_no_single_target():
    for phrase in chain.from_iterable(find_target(name).vague for name in list_targets()):
        assert read_phrase(phrase, ALL).target is None, phrase


def test_nothing_that_nobody_taught_is_a_target():
    terms = chain.from_iterable(terms for kind, terms in read_unlearnt().items() if kind != "changing")
    for phrase in (*terms, *read_bank()[DISTRACTORS].phrases):
        found = read_phrase(phrase, ALL)
        assert found.kind in ("unknown", "vague"), phrase
        assert found.target is None, phrase


@pytest.mark.parametrize(
    ("phrase", "target"),
    [
        ("small polyp at the top left", "polyp"),
        ("liver in a CT", "liver"),
        ("outline of the liver", "liver"),
        ("transverse view of the thyroid", "thyroid_gland"),
        ("tumour of the right kidney", "kidney_tumour"),
        ("adenoma of the pituitary gland", "pituitary_tumour"),
        ("atrium of the left heart", "left_atrium"),
        ("lung tissue", "lungs"),
        ("liver of a child", "liver"),
        ("brain without the skull", "brain"),
    ],
)
def test_what_a_phrase_is_about_is_its_target(phrase, target):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target, found.settled) == ("target", target, True)


@pytest.mark.parametrize(
    "phrase",
    [
        "kidney stone", "stone in the left kidney", "liver abscess", "lung nodule", "heart valve", "valve of the heart",
        "spleen rupture", "polyp forceps", "brain stem", "femoral artery", "pneumonia", "ribs", "rib fracture",
        "pneumonia of the left lung", "fetal spine", "spine of a book", "a dog's liver", "pancreatitis",
        "bladder tumour", "tumour of the pancreas", "everything but the liver", "non-lung tissue", "except the heart",
        "outside the brain", "around the liver", "left ventricle of the brain", "...", "\U0001f600",
    ],
)  # fmt: skip
def test_what_only_has_the_name_of_a_target_in_it_is_none(phrase):
    found = read_phrase(phrase, ALL)
    assert found.kind == "unknown"
    assert found.target is None


@pytest.mark.parametrize(
    ("phrase", "target", "qualifier"),
    [
        ("left lung", "lungs", "left"),
        ("kidney right", "kidney", "right"),
        ("upper pole of the left kidney", "kidney", "upper pole left"),
        ("femoral neck", "femur", "neck"),
        ("L4 vertebra", "spine", "l4"),
        ("vertebrae T12", "spine", "t12"),
        ("kidneys, left", "kidney", "left"),
        ("kidney on the right", "kidney", "right"),
        ("liver, left lobe", "liver", "left lobe"),
        ("rt. lung", "lungs", "rt"),
        ("left ventricle", "left_ventricle", ""),
        ("lungs, left and right", "lungs", ""),
        ("two polyps", "polyp", ""),
        ("liver but not the tumour", "liver", "but not the tumour"),
        ("tumour-free liver", "liver", "tumour-free"),
        ("skull without the brain", "skull", "without the brain"),
    ],
)
def test_sides_and_pieces_are_told(phrase, target, qualifier):
    found = read_phrase(phrase, ALL)
    assert (found.target, found.qualifier) == (target, qualifier)


@pytest.mark.parametrize(
    ("phrase", "target", "read_as"),
    [("kidny", "kidney", "kidney"), ("brain tumer", "brain_tumour", "tumor"), ("the spleeen", "spleen", "spleen")],
)
def test_misspelt_names_are_read(phrase, target, read_as):
    found = read_phrase(phrase, ALL)
    assert (found.target, found.read_as) == (target, read_as)


@pytest.mark.parametrize(
    ("phrase", "target"),
    [
        ("whre is the polyp", "polyp"),
        ("pleas mark the polyp", "polyp"),
        ("outlne the liver", "liver"),
        ("segmnt the lungs", "lungs"),
        ("Could you plaese shwo me the spleen?", "spleen"),
        ("contor of the liver", "liver"),
        ("bladder plesae", "bladder"),
        ("whre is the livr", "liver"),
    ],
)
def test_misspelt_words_for_asking_say_nothing(phrase, target):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target, found.settled) == ("target", target, True)
    assert found.read_as


@pytest.mark.parametrize(
    ("phrase", "targets"),
    [
        ("liver & spleen", ("liver", "spleen")),
        ("lungs/heart", ("lungs", "heart")),
        ("LV+RV", ("left_ventricle", "right_ventricle")),
        ("either liver or spleen", ("liver", "spleen")),
        ("liver as well as the spleen", ("liver", "spleen")),
        ("left and right ventricle", ("left_ventricle", "right_ventricle")),
        ("optic disc & cup", ("optic_disc", "optic_cup")),
        ("left kidney and spleen", ("kidney", "spleen")),
        ("enlarged liver and a small spleen", ("liver", "spleen")),
        ("right kidney/liver", ("kidney", "liver")),
        ("lungs, left kidney", ("lungs", "kidney")),
        ("liver (left lobe), spleen", ("liver", "spleen")),
        ("upper lobe of the right lung and liver", ("lungs", "liver")),
        ("tumour of the kidney and liver", ("kidney_tumour", "liver")),
        ("not only the liver but also the spleen", ("liver", "spleen")),
        ("tumour and liver", ("liver",)),
        ("liver. spleen.", ("liver", "spleen")),
        ("liver|spleen", ("liver", "spleen")),
        ("liver -> spleen", ("liver", "spleen")),
        ("heart lungs", ("heart", "lungs")),
        ("LA RA LV RV", ("left_atrium", "right_atrium", "left_ventricle", "right_ventricle")),
        ("aorta left lung", ("aorta", "lungs")),
        ("liver gallbladder spleen", ("liver", "spleen")),
        ("Leber und linke Niere", ("liver", "kidney")),
        ("pulmón izquierdo y corazón", ("lungs", "heart")),
        ("le foie et la rate", ("liver", "spleen")),
    ],
)
def test_several_targets_are_told(phrase, targets):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.several) == ("several", targets)


@pytest.mark.parametrize(
    ("phrase", "target"),
    [
        ("left and right lung", "lungs"),
        ("SDH or EDH", "brain_haemorrhage"),
        ("heart left ventricle", "left_ventricle"),
        ("polyp in stomach and colon", "polyp"),
        ("upper and lower lobe of the left lung", "lungs"),
        ("lungs, PA view", "lungs"),
        ("enlarged thyroid, entire gland", "thyroid_gland"),
        ("nuclei in colon glands", "cell_nuclei"),
        ("cranio-caudal liver", "liver"),
        ("linke und rechte Niere", "kidney"),
    ],
)
def test_one_target_by_two_names_is_one(phrase, target):
    assert read_phrase(phrase, ALL).target == target


@pytest.mark.parametrize(
    ("phrase", "target"),
    [
        ("there's no polyp", "polyp"),
        ("I can't find a polyp", "polyp"),
        ("w/o polyp", "polyp"),
        ("polyp (-)", "polyp"),
        ("neither polyp nor ulcer", None),
        ("breast w/o mass", None),
        ("haemorrhage: none", None),
        ("kein Polyp", "polyp"),
        ("il n'y a pas de polype", "polyp"),
        ("no hay pólipo", "polyp"),
        ("nessuna lesione del fegato", "liver_tumour"),
        ("geen levertumor", "liver_tumour"),
        ("sem pólipo", "polyp"),
        ("ohne Tumor", None),
    ],
)
def test_what_is_denied_is_not_asked(phrase, target):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target) == ("denial", target)


@pytest.mark.parametrize(
    ("phrase", "target"),
    [
        ("liver w/o tumour", "liver"),
        ("liver no tumour", "liver"),
        ("liver incl. tumour", "liver"),
        ("not only the liver", "liver"),
        ("r/o ICH", "brain_haemorrhage"),
        ("polyp not excluded", "polyp"),
        ("isn't there a polyp?", "polyp"),
        ("Leber ohne Tumor", "liver"),
        ("foie sans tumeur", "liver"),
    ],
)
def test_what_denies_something_else_or_nothing_is_asked(phrase, target):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target, found.settled) == ("target", target, True)


@pytest.mark.parametrize(
    "phrase",
    [
        "polyp 5mm", "large polyp >10 mm", "a polyp 1.5 cm in diameter", "polyp, approx. 5 x 7 mm", "polyp removed",
        "two polyps, 3 mm and 5 mm", "polyp (0,5 cm)", "polyp of about 8 mm with bleeding", "polyp ≥ 6mm, pedunculated",
    ],
)  # fmt: skip
def test_a_size_says_no_more(phrase):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target, found.settled) == ("target", "polyp", True)


@pytest.mark.parametrize(
    ("phrase", "target", "qualifier"),
    [
        ("Tumor der Leber", "liver_tumour", ""),
        ("CT der Milz", "spleen", ""),
        ("IRM du cerveau", "brain", ""),
        ("cáncer de hígado", "liver_tumour", ""),
        ("tumore al fegato", "liver_tumour", ""),
        ("tumor in de lever", "liver_tumour", ""),
        ("cancer de l'ovaire", "ovarian_tumour", ""),
        ("Nierenkarzinom", "kidney_tumour", ""),
        ("carcinome du sein droit", "breast_tumour", "right"),
        ("tumor in de long", "lung_tumour", ""),
        ("Polyp im Colon", "polyp", ""),
        ("Niere links", "kidney", "left"),
        ("li. Niere", "kidney", "left"),
        ("lobe droit du foie", "liver", "lobe right"),
        ("Wo ist die Leber?", "liver", ""),
        ("¿dónde está el hígado?", "liver", ""),
    ],
)
def test_phrases_in_other_languages_are_read_word_by_word(phrase, target, qualifier):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target, found.settled) == ("target", target, True)
    assert found.qualifier == qualifier
    assert found.read_as == find_target(target).phrases[0]


@pytest.mark.parametrize(
    ("phrase", "target"),
    [
        ("mama's liver", "liver"),
        ("de Quervain thyroid", "thyroid_gland"),
        ("peau d'orange breast tumour", "breast_tumour"),
        ("mamma sin tumor", "breast_tumour"),
        ("SAN right atrium", "right_atrium"),
    ],
)
def test_a_word_of_another_language_makes_no_english_or_latin_phrase_foreign(phrase, target):
    found = read_phrase(phrase, ALL)
    assert found.kind != "denial"
    assert not found.strange
    assert found.target in (target, None)


@pytest.mark.parametrize(
    "phrase",
    [
        "cáncer de estómago", "cáncer de colon", "câncer de próstata", "tumore alla prostata", "Prostatakrebs",
        "Magenkrebs", "Tumor der Bauchspeicheldrüse", "tumeur de la vessie", "prostaatkanker", "Leberzyste",
        "quiste hepático", "Wand der Blase", "fracture du fémur", "inflamación del hígado", "tumor no fígado",
    ],
)  # fmt: skip
def test_no_sentence_decides_what_such_phrases_leave_open(phrase):
    found = read_phrase(phrase, ALL)
    assert (found.kind, found.target, found.settled) == ("unknown", None, True)


@pytest.mark.parametrize(
    "phrase", ["circle of Willis", "ligament of Treitz", "cor pulmonale", "vena hepatica thrombosis", "hart beats"]
)
def test_english_and_latin_phrases_are_not_foreign(phrase):
    assert translate(phrase) is None


def test_several_and_families_are_told_beside_misspelt_words_for_asking():
    assert read_phrase("whre are the liver and spleen", ALL).several == ("liver", "spleen")
    assert read_phrase("whre is the small tumour", ALL).family == "tumour"


@pytest.mark.parametrize(
    "phrase",
    [
        "whre is the gall bladder",
        "outlne the fracture",
        "segmnt the apendix",
        "pleas mark the kidney stone",
        "cirlce of Willis",
    ],
)
def test_what_nobody_taught_stays_so_beside_misspelt_words_for_asking(phrase):
    found = read_phrase(phrase, ALL)
    assert found.kind == "unknown"
    assert found.target is None


@pytest.mark.parametrize("phrase", ["chek polyp", "numbr polyp", "faint liver"])
def test_a_strange_word_that_may_be_another_is_no_misspelt_word_for_asking(phrase):
    assert not read_phrase(phrase, ALL).settled


def test_no_misspelt_term_that_nobody_taught_is_stripped_of_a_word():
    names = read_names(ALL)
    for term in chain.from_iterable(terms for kind, terms in read_unlearnt().items() if kind != "changing"):
        words = strip_request(to_words(term))
        misspelt = tuple(word[:2] + word[3:] if len(word) > 4 else word for word in words)
        assert correct_request(misspelt, names) == misspelt, term


@pytest.mark.parametrize("word", ["lever", "skill", "never", "color", "heat", "grand"])
def test_ordinary_words_are_no_misspelt_names(word):
    assert read_phrase(word, ALL).target is None


def test_two_targets_at_once_are_several():
    found = read_phrase("liver and spleen", ALL)
    assert (found.kind, found.several) == ("several", ("liver", "spleen"))
    assert read_phrase("left and right lung", ALL).kind == "target"


@pytest.mark.parametrize("phrase", ["", "the lesion", "please mark the tumour", "what is abnormal here"])
def test_what_means_whatever_is_learnt_is_vague(phrase):
    assert read_phrase(phrase, ALL).kind == "vague"


def test_what_a_model_did_not_learn_is_unknown_though_the_bank_has_it():
    few = frozenset({"polyp", "liver"})
    assert read_phrase("kidney", few).kind == "unknown"
    assert read_phrase("tumour of the liver", few).target is None
    assert read_phrase("no kidneys", few).kind == "unknown"
    assert read_phrase("liver", few).target == "liver"
