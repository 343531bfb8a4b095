import pytest

from vesalius.prompts.lexicon import join, split_phrase, strip_request, to_words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tumours", "tumor"),
        ("brain haemorrhage", "Brain Hemorrhages"),
        ("foetal head", "fetal heads"),
        ("optic disc", "optic disks"),
        ("leucocytes", "leukocyte"),
        ("vertebrae", "vertebra"),
        ("cell nuclei", "cell nucleus"),
        ("hepatic tumour", "liver tumor"),
        ("the patient's liver", "patient liver"),
        ("wind pipe", "windpipe"),
        ("LV", "left ventricle"),
        ("biopsies", "biopsy"),
    ],
)
def test_one_name_has_one_key_in_every_spelling_and_number(one, other):
    assert join(to_words(one)) == join(to_words(other))


@pytest.mark.parametrize("word", ["pancreas", "plexus", "pelvis", "abscess", "uterus"])
def test_an_s_that_is_no_plural_stays(word):
    assert to_words(word) == (word,)


@pytest.mark.parametrize(
    "phrase",
    [
        "segment the liver",
        "where is the liver?",
        "Which pixels belong to the liver?",
        "Could you please outline the liver in this image?",
        "contour of the liver",
        "liver mask, please",
        "the liver, if there is one",
        "I would like to see the liver",
        "does this image show the liver?",
    ],
)
def test_asking_is_no_part_of_a_name(phrase):
    assert strip_request(to_words(phrase)) == ("liver",)


def test_a_word_is_left_at_least():
    assert strip_request(to_words("segment")) == ("segment",)
    assert strip_request(to_words("please outline")) == ("outline",)
    assert strip_request(()) == ()


@pytest.mark.parametrize(
    ("phrase", "head", "complement"),
    [
        ("small polyp at the top left", "small polyp", "top left"),
        ("tumour bulging from the left kidney", "tumor", "left kidney"),
        ("filled bladder in a woman", "filled bladder", "woman"),
        ("stomach filled with food", "stomach", "food"),
        ("ascending, transverse and descending colon", "ascending , transverse and descending colon", ""),
        ("liver, then nothing", "liver", "then nothing"),
        ("in the liver", "liver", ""),
    ],
)
def test_a_name_ends_where_its_place_begins(phrase, head, complement):
    split = split_phrase(to_words(phrase))
    assert (" ".join(split.head), " ".join(split.complement)) == (head, complement)


def test_signs_that_nobody_sees_are_no_part_of_a_word():
    assert to_words("lu\u00adngs") == to_words("lungs")
