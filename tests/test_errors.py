import inspect
import math
from types import SimpleNamespace

import pytest

from vesalius import errors
from vesalius.errors import (
    ConfigError,
    MissingPackageError,
    VesaliusError,
    check_at_least,
    check_positive,
    require,
    unknown_name,
)
from vesalius.serve.settings import Limits
from vesalius.training.config import TrainConfig

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Exception) and not issubclass(kind, Warning)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_caught_as_the_one_of_the_package(kind):
    with pytest.raises(VesaliusError, match="what, where"):
        raise kind("what, where")


def test_every_error_is_drawn_in_the_tree_with_a_description():
    drawn = {line.split()[1]: line.split(maxsplit=2)[2:] for line in errors.__doc__.splitlines() if "── " in line}
    assert drawn.keys() == {kind.__name__ for kind in KINDS} - {"VesaliusError"}
    assert all(drawn.values())


class TestRequire:
    def test_an_installed_module_is_returned(self):
        assert require("json.decoder", extra="any") is __import__("json").decoder

    def test_an_absent_one_names_the_command_that_installs_it(self):
        with pytest.raises(MissingPackageError) as caught:
            require("no_such_package", extra="serve")
        assert str(caught.value) == (
            "no_such_package is not installed and is needed here; install it with: pip install 'vesalius[serve]'"
        )
        assert isinstance(caught.value.__cause__, ModuleNotFoundError)


class TestUnknownName:
    def test_the_closest_name_is_suggested_and_all_are_listed_in_order(self):
        message = unknown_name("model", "pokcet", ["pocket", "clipseg"])
        assert message == "No model named 'pokcet'. Did you mean 'pocket'? Available: clipseg, pocket."

    def test_nothing_is_suggested_where_nothing_is_close(self):
        assert unknown_name("model", "xyz", ["pocket"]) == "No model named 'xyz'. Available: pocket."

    def test_names_may_come_from_any_iterable(self):
        assert unknown_name("model", "b", iter({"a": 1})) == "No model named 'b'. Available: a."


class TestNumbers:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1])
    def test_what_is_no_number_above_a_bound_is_refused(self, value):
        settings = SimpleNamespace(size=value)
        with pytest.raises(ConfigError, match=f"size must be .*, got {value}"):
            check_positive(settings, "size")
        with pytest.raises(ConfigError, match=f"size must be .*, got {value}"):
            check_at_least(settings, 0, "size")

    def test_infinity_passes_only_where_it_means_something(self):
        check_positive(SimpleNamespace(size=math.inf), "size", finite=False)
        check_positive(SimpleNamespace(size=10**400), "size")
        assert TrainConfig(gradient_clip_norm=math.inf).gradient_clip_norm == math.inf

    @pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "gradient_clip_norm", "text_noise", "epsilon"])
    def test_training_refuses_what_is_no_number(self, name):
        with pytest.raises(ConfigError, match=f"{name} must be .*, got nan"):
            TrainConfig(**{name: math.nan})

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("name", ["timeout_seconds", "keep_minutes"])
    def test_the_service_refuses_limits_that_are_none(self, name, value):
        with pytest.raises(ConfigError, match=f"{name} must be .*, got {value}"):
            Limits(**{name: value}).check()
