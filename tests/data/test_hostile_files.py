"""Every reader of a JSON file that anybody may have written says what is wrong with it, and where."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vesalius.data.check.findings import read_splits as check_rows
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.prepare.splitting import read_existing
from vesalius.data.prepare.volumes import read_label_names
from vesalius.data.slices.table import read_slice_table
from vesalius.errors import ConfigError, DataError
from vesalius.evaluation.stored import read_evaluation
from vesalius.training.config import read_recipe

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "data set": ("anns/train.json", lambda root: SegmentationDataset(root, "train")),
    "given annotations": ("anns/train.json", read_existing),
    "labels": ("labels.json", lambda root: read_label_names(root / "labels.json")),
    "slices": ("slices.jsonl", read_slice_table),
    "evaluation": ("evaluation.json", read_evaluation),
}
CONTENTS = {
    "deep brackets": b"[" * 200_000,
    "not UTF-8": b"\xff\xfe[\x00]\x00",
    "NaN": b'{"a": NaN}',
    "a huge number": b"1" * 5000,
    "another type": b"3",
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", CONTENTS)
def test_a_hostile_file_is_a_data_error_that_names_it(tmp_path, name, content):
    file, read = READERS[name]
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(CONTENTS[content])
    (tmp_path / "rows.parquet").touch()
    with pytest.raises(DataError, match=Path(file).name):
        read(tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_a_folder_in_its_place_is_a_data_error_that_names_it(tmp_path, name):
    file, read = READERS[name]
    (tmp_path / file).mkdir(parents=True)
    with pytest.raises(DataError, match=Path(file).name):
        read(tmp_path)


@pytest.mark.parametrize("content", CONTENTS)
def test_a_check_reports_a_hostile_file_and_goes_on(tmp_path, content):
    for name in ("images", "masks", "anns"):
        (tmp_path / name).mkdir()
    (tmp_path / "anns/train.json").write_bytes(CONTENTS[content])
    (tmp_path / "anns/val.json").mkdir()
    (tmp_path / "anns/test.json").write_text('[{"img_name": "a", "mask_name": "a", "prompts": {"p1": "a"}}]')
    rows, findings = check_rows(tmp_path)
    assert len(rows) == 1
    assert [each.kind for each in findings] == ["unreadable_annotations"] * 2


@pytest.mark.parametrize("content", ["a = " + "[" * 200_000, "a = \xff", "a = 1\na = 2"])
def test_a_hostile_recipe_is_a_config_error(tmp_path, content):
    (tmp_path / "recipe.toml").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"recipe\.toml: is not TOML"):
        read_recipe(tmp_path / "recipe.toml")
    with pytest.raises(ConfigError, match="is a folder; expected a TOML file"):
        read_recipe(tmp_path)
