import json
import tomllib
from pathlib import Path

import pytest

from vesalius.prompts import find_target, list_targets, read_bank
from vesalius.prompts.bank import DISTRACTORS, list_groups

RECIPES = Path(__file__).parents[2] / "experiments" / "pocket"
FOLDERS = tomllib.loads((RECIPES / "targets.toml").read_text(encoding="utf-8"))
MODALITIES = {"ct", "mr", "us", "xray", "endoscopy", "fundus", "dermoscopy", "microscopy", "photo"}


def shown(folder: str) -> set[str]:
    """What its pictures may show, groups spread out, with what they mark."""
    row = FOLDERS[folder]
    return {*row["targets"].values()}.union(*(list_groups().get(entry, (entry,)) for entry in row["shows"]))


def test_a_folder_marks_and_shows_what_the_bank_has():
    known = {*list_targets(), *read_bank()[DISTRACTORS].phrases}
    for folder, row in FOLDERS.items():
        assert row["modality"] in MODALITIES, folder
        assert row["region"], folder
        assert set(row["targets"].values()) <= set(list_targets()), folder
        assert shown(folder) <= known, folder


def test_every_target_of_the_bank_has_pictures():
    assert {target for row in FOLDERS.values() for target in row["targets"].values()} == set(list_targets())


def test_what_a_folder_shows_may_be_shown_by_its_targets():
    # These reach beyond the part of the body that shows their target.
    elsewhere = {"breastdm-dce-mri", "brain_absent", "people_ct", "people_mr", "trunk_ct"}
    for folder in FOLDERS.keys() - elsewhere:
        for target in FOLDERS[folder]["targets"].values():
            assert shown(folder) <= {target, *find_target(target).may_show}, f"{folder}: {target}"


def test_every_target_of_every_record_has_a_row(shared):
    root = shared / "data/targets"
    if not root.is_dir():
        pytest.skip("shared/data/targets is not there.")
    found = {
        (path.parts[-3], record["target"])
        for path in sorted(root.glob("*/anns/*.json"))
        for record in json.loads(path.read_text(encoding="utf-8"))
    }
    assert found
    assert found <= {(folder, name) for folder, row in FOLDERS.items() for name in row["targets"]}
