import dataclasses
import json
from pathlib import Path

import pytest
import torch

import vesalius
from vesalius.training.config import TrainConfig
from vesalius.training.manifest import describe_run, fingerprint, identify


@pytest.fixture
def described(build_tiny, tiny_dataset, monkeypatch) -> dict[str, object]:
    monkeypatch.setattr("sys.argv", ["/usr/bin/vesalius", "train", "--model", "unet_d", "--out", "my run"])
    return describe_run(build_tiny("unet_d"), [tiny_dataset], TrainConfig(seed=7))


def test_a_run_is_described_so_that_it_can_be_done_again(described, tiny_dataset):
    assert described["command"] == "vesalius train --model unet_d --out 'my run'"
    assert described["model"] == {"name": "unet_d", "options": {"image_size": 32}}
    assert described["config"] == dataclasses.asdict(TrainConfig(seed=7))
    assert described["data"] == {str(tiny_dataset): identify(tiny_dataset)}
    assert described["versions"]["vesalius"] == vesalius.__version__
    assert described["versions"]["torch"] == torch.__version__


def test_the_folder_one_stands_in_has_a_name_too(build_tiny, tiny_dataset, monkeypatch):
    monkeypatch.chdir(tiny_dataset)
    assert describe_run(build_tiny("unet_d"), [Path()], TrainConfig())["data"].keys() == {str(tiny_dataset)}


def test_data_sets_of_one_name_are_two_entries(build_tiny, write_dataset):
    first, other = write_dataset("kvasir"), write_dataset("kvasir")
    (other / "images" / "test_0.png").write_bytes(b"another picture")
    data = describe_run(build_tiny("unet_d"), [first, other], TrainConfig())["data"]
    assert list(data) == [str(first), str(other)]
    one, two = data.values()
    assert one["annotations_sha256"] == two["annotations_sha256"] == fingerprint(first)
    assert one["files"] == two["files"] == 16
    assert one["files_sha256"] != two["files_sha256"]


def test_a_data_set_that_moved_is_the_same(write_dataset):
    assert identify(write_dataset("a")) == identify(write_dataset("b"))


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
