import pytest

from vesalius.prompts.denials import find_all_else, find_bounded, find_denial


@pytest.mark.parametrize(
    ("phrase", "found"),
    [
        ("No polyps.", ("", "polyps")),
        ("there is no sign of a polyp", ("", "polyp")),
        ("without any tumour", ("", "tumour")),
        ("bowel with no polyps", ("bowel", "polyps")),
        ("a colon free of polyps", ("a colon", "polyps")),
        ("polyp-free", ("", "polyp")),
        ("tumour-free liver", ("liver", "tumour")),
        ("not the liver", ("", "liver")),
        ("negative for haemorrhage", ("", "haemorrhage")),
        ("absent kidney", ("", "kidney")),
        ("I do not see a polyp", ("", "polyp")),
        ("The image does not show any polyps", ("", "polyps")),
        ("there seem to be no polyps", ("", "polyps")),
        ("the scan fails to show a polyp", ("", "polyp")),
        ("no polyps were found", ("", "polyps")),
        ("polyp: none", ("", "polyp")),
        ("polyp is absent", ("", "polyp")),
        ("polyp can not be seen", ("", "polyp")),
        ("polyps have been ruled out", ("", "polyps")),
        ("spleen not included in the scan", ("", "spleen")),
        ("polyp-negative", ("", "polyp")),
        ("patient denies polyps", ("", "polyps")),
        ("brain negative for haemorrhage", ("", "haemorrhage")),
        ("liver - no lesion", ("liver", "lesion")),
        ("liver devoid of lesions", ("liver", "lesions")),
        ("colon shows no polyps", ("colon", "polyps")),
        ("polyp", None),
        ("nodule", None),
        ("normal colon", None),
    ],
)
def test_a_denial_is_split_into_what_it_speaks_of_and_what_is_absent(phrase, found):
    assert find_denial(phrase) == found


@pytest.mark.parametrize(
    ("phrase", "whole"),
    [
        ("liver excluding the tumour", "liver"),
        ("Lungs, but not the heart", "lungs"),
        ("brain except for the tumour.", "brain"),
        ("liver and its tumour", "liver"),
        ("everything but the liver", None),
        ("liver and spleen", None),
        ("liver", None),
    ],
)
def test_what_leaves_out_a_piece_is_split_off(phrase, whole):
    assert find_bounded(phrase) == whole


@pytest.mark.parametrize(
    ("phrase", "others"),
    [
        ("everything but the liver", "the liver"),
        ("all except for the heart", "the heart"),
        ("outside of the brain", "the brain"),
        ("non-lung tissue", "lung"),
        ("non-contrast CT of the liver", None),
        ("all polyps", None),
    ],
)
def test_all_else_is_told_by_what_it_leaves_out(phrase, others):
    assert find_all_else(phrase) == others
