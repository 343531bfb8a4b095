import pytest

from vesalius.errors import ConfigError
from vesalius.training.runtime_options import RuntimeOptions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"devices": 0}, "devices must be at least 1, got 0"),
        ({"nodes": 0}, "nodes must be at least 1, got 0"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"save_minutes": 0}, "save_minutes must be above 0, got 0"),
        ({"loggers": ("mlflow", "mlflow")}, "loggers are named twice: mlflow, mlflow"),
    ],
)
def test_a_wrong_value_is_named(given, message):
    with pytest.raises(ConfigError, match=message):
        RuntimeOptions(**given)
