import pytest
from pydicom.sr._concepts_dict import concepts

from vesalius.prompts.anatomy import phrases_of
from vesalius.prompts.modalities import UNTOLD, find_modality, modalities


def test_every_modality_that_naming_tells_is_a_kind_of_pictures():
    assert {row.label for row in modalities().values()} == set(phrases_of("modality"))


def test_codes_of_modalities_are_dicoms_and_of_one_kind_each():
    codes = [code for row in modalities().values() for code in row.dicom]
    assert len(codes) == len(set(codes))
    assert set(codes) - {"DR"} <= {code for row in concepts["DCM"].values() for code in row}
    assert not UNTOLD & set(codes)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("dr", "xray"), ("X-ray", "xray"), ("MRI", "mr"), ("us", "us"), ("DMS", "dermoscopy"), ("PT", None)],
)
def test_kinds_are_known_by_code_label_and_name(text, kind):
    assert find_modality(text) == kind
