"""The examples in the docstrings of the source run."""

import doctest
import importlib
from pathlib import Path

import pytest

import vesalius

SOURCE = Path(vesalius.__file__).parent


def modules_with_examples() -> list[str]:
    paths = [path for path in SOURCE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    return sorted(".".join(("vesalius", *path.relative_to(SOURCE).with_suffix("").parts)) for path in paths)


@pytest.mark.usefixtures("_published_unet")
@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run_and_give_what_they_show(name):
    result = doctest.testmod(importlib.import_module(name.removesuffix(".__init__")), verbose=False)
    assert result.attempted > 0
    assert result.failed == 0


def test_there_are_examples():
    assert {"vesalius.errors", "vesalius.prompts.captions"} <= set(modules_with_examples())
