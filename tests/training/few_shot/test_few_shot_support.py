import pytest
import torch

from vesalius.errors import DataError
from vesalius.training.few_shot import Support


def test_shapes_have_to_fit():
    yes = torch.ones(3, 2, dtype=torch.bool)
    with pytest.raises(DataError, match=r"present and known \[N, C\], got \(3, 4\), \(3, 2\), \(2, 2\)"):
        Support(torch.zeros(3, 4), yes, yes[:2])
    with pytest.raises(DataError, match="4 images have 3 rows of labels"):
        Support(torch.zeros(4, 4), yes, yes)


def test_what_is_not_known_is_not_present():
    yes = torch.ones(3, 2, dtype=torch.bool)
    with pytest.raises(DataError, match="present where it is not known"):
        Support(torch.zeros(3, 4), yes, ~yes)
