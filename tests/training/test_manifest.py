import dataclasses
import json
from pathlib import Path

import pytest
import torch

import vesalius
from vesalius.training.config import TrainConfig
from vesalius.training.manifest import describe_run, fingerprint


@pytest.fixture
def described(build_tiny, tiny_dataset, monkeypatch) -> dict[str, object]:
    monkeypatch.setattr("sys.argv", ["/usr/bin/vesalius", "train", "--model", "unet_d", "--data", "my data"])
    return describe_run(build_tiny("unet_d"), [tiny_dataset], TrainConfig(seed=7))


def test_a_run_is_described_so_that_it_can_be_done_again(described, tiny_dataset):
    assert described["command"] == "vesalius train --model unet_d --data 'my data'"
    assert described["model"] == {"name": "unet_d", "options": {"image_size": 32}}
    assert described["config"] == dataclasses.asdict(TrainConfig(seed=7))
    assert described["data"] == {str(tiny_dataset.resolve()): fingerprint(tiny_dataset)}
    assert described["versions"]["vesalius"] == vesalius.__version__
    assert described["versions"]["torch"] == torch.__version__


def test_the_folder_one_stands_in_has_a_name_too(build_tiny, tiny_dataset, monkeypatch):
    monkeypatch.chdir(tiny_dataset)
    assert describe_run(build_tiny("unet_d"), [Path()], TrainConfig())["data"].keys() == {str(tiny_dataset.resolve())}


def test_folders_of_one_name_are_two_data_sets(build_tiny, write_dataset):
    folders = [write_dataset("kvasir"), write_dataset("kvasir", train=5)]
    data = describe_run(build_tiny("unet_d"), folders, TrainConfig())["data"]
    assert data == {str(each.resolve()): fingerprint(each) for each in folders}


def test_a_description_is_json(described):
    assert json.loads(json.dumps(described))["config"]["seed"] == 7


def test_a_fingerprint_is_that_of_the_annotations(write_dataset):
    first, again, other = write_dataset("a"), write_dataset("b"), write_dataset("c", train=5)
    assert fingerprint(first) == fingerprint(again)
    assert fingerprint(first) != fingerprint(other)
    prompts = first / "anns/test.json"
    prompts.write_text(prompts.read_text().replace("pink", "red"))
    assert fingerprint(first) != fingerprint(again)


def test_a_fingerprint_tells_splits_apart(write_dataset):
    first, other = write_dataset("a"), write_dataset("b")
    for source, target in (("val", "test"), ("test", "val")):
        Path(other / f"anns/{target}.json").write_bytes((first / f"anns/{source}.json").read_bytes())
    assert fingerprint(first) != fingerprint(other)
