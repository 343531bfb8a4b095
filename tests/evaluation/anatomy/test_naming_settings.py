import pytest

from vesalius.errors import ConfigError
from vesalius.evaluation.naming.label_scores import NamingSettings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_patients": 0}, "min_patients: expected 1 or more, got 0"),
        ({"caption_wordings": 0}, "caption_wordings"),
        ({"stations": ("head", "cest")}, "Did you mean 'chest'"),
        ({"stations": ("head",)}, "two or more"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        NamingSettings(**change)
