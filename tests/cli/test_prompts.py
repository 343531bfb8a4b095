import json
import re
import shutil
from pathlib import Path

import pytest

from vesalius.data.annotations import read_annotations

DOCS = Path(__file__).parents[2] / "docs" / "prompts.md"


@pytest.fixture
def data(write_dataset) -> Path:
    return write_dataset("mine", prompts={"p0": ""})


def test_generate_prints_a_row_for_each_file(run, data):
    code, out, err = run("prompts", "generate", data, "--class", "polyp")
    assert code == 0
    assert "plain rules" in err
    assert all(f"{split}.json" in out for split in ("train", "val", "test"))
    for record in read_annotations(data / "anns" / "test.json"):
        assert list(record.prompts) == [f"p{number}" for number in range(10)]


def test_generate_answers_in_one_json_object(run, data, tmp_path):
    code, out, _ = run(
        "prompts", "generate", data, "--class", "polyp", "--split", "val", "--out", tmp_path / "o", "--json"
    )
    assert code == 0
    answer = json.loads(out)
    assert (answer["class"], answer["rules"]) == ("polyp", "plain")
    assert [(each["file"], each["written"]) for each in answer["files"]] == [("anns/val.json", 2)]
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["val.json"]
    assert set(read_annotations(data / "anns" / "val.json")[0].prompts) == {"p0"}


def test_files_in_out_are_replaced_only_when_asked(run, data, tmp_path):
    (tmp_path / "val.json").write_text("precious")
    arguments = ["prompts", "generate", data, "--class", "polyp", "--out", tmp_path]
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "val.json: there already; choose another name, or replace with --overwrite" in err
    assert (tmp_path / "val.json").read_text() == "precious"
    assert not (tmp_path / "train.json").exists()
    assert run(*arguments, "--overwrite")[0] == 0
    assert len(read_annotations(tmp_path / "val.json")) == 2


def test_a_folder_that_the_catalog_knows_needs_no_class_and_keeps_its_language(run, write_dataset):
    folder = write_dataset("kvasir_polyp", prompts={"p0": ""})
    code, out, _ = run("prompts", "generate", folder, "--json")
    assert code == 0
    assert (json.loads(out)["class"], json.loads(out)["rules"]) == ("polyp", "benchmark")
    assert read_annotations(folder / "anns" / "test.json")[0].prompts["p1"] == "polyp"


def test_bad_records_are_named_and_make_the_exit_code_1(run, data):
    record = read_annotations(data / "anns" / "train.json")[1]
    (data / "masks" / record.mask_name).unlink()
    code, _, err = run("prompts", "generate", data, "--class", "polyp")
    assert code == 1
    assert f"anns/train.json, record 1: {data}/masks/{record.mask_name}: no such file" in err
    assert "p6" in read_annotations(data / "anns" / "train.json")[0].prompts


def test_many_problems_are_summed_up(run, write_dataset):
    folder = write_dataset("many", train=25, prompts={"p0": ""})
    shutil.rmtree(folder / "masks")
    code, _, err = run("prompts", "generate", folder, "--class", "polyp", "--split", "train")
    assert code == 1
    assert "… and 5 more" in err


def test_an_object_without_words_is_told(run, data):
    code, _, err = run("prompts", "generate", data, "--class", "stone", "--set", "endoscopy")
    assert code == 0
    assert "stone: without p7, p8, p9, for want of words" in err


WRONG = {
    "a missing folder": (["none", "--class", "polyp"], "none: no such data folder"),
    "a folder without annotations": ([".", "--class", "polyp"], "no annotation file; expected one of train, val, test"),
    "an unknown set": ([".", "--set", "endo"], "No set of prompt families named 'endo'. Did you mean 'endoscopy'?"),
    "missing templates": ([".", "--templates", "t.toml"], "t.toml: no such file"),
    "unknown rules": ([".", "--rules", "plan"], "plan"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_a_user_can_put_right_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run("prompts", "generate", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_check_shows_a_prompt_of_every_family_and_finds_nothing(run):
    code, out, err = run("prompts", "check")
    assert code == 0
    assert all(name in out for name in ("endoscopy", "breast_ultrasound", "chest_xray", "organ"))
    assert "nothing wrong" in err


@pytest.mark.slow
def test_check_answers_in_one_json_object(run):
    code, out, _ = run("prompts", "check", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["faults"] == []
    assert answer["prompts"] > 1000
    assert answer["examples"]["endoscopy, polyp"]["p2"] == "oval polyp"


@pytest.mark.slow
def test_check_names_what_is_wrong_with_exit_code_1(run, tmp_path):
    (tmp_path / "mine.toml").write_text('[sets.organ.families]\np2 = "{class} of the left side"')
    code, _, err = run("prompts", "check", "--templates", "mine.toml")
    assert code == 1
    assert "set organ, liver, p2: names a side besides {location}" in err


def test_check_refuses_words_that_do_not_exist(run, tmp_path):
    (tmp_path / "mine.toml").write_text('[sets.organ.families]\np2 = "{clas}"')
    code, _, err = run("prompts", "check", "--templates", "mine.toml")
    assert code == 2
    assert "mine.toml [sets.organ], p2: '{clas}': No word named 'clas'. Did you mean 'class'?" in err


@pytest.mark.slow
def test_the_templates_in_the_documentation_work(run, data, tmp_path):
    (block,) = re.findall(r"^```toml\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "mine.toml").write_text(block, encoding="utf-8")
    assert run("prompts", "check", "--templates", "mine.toml")[0] == 0
    assert run("prompts", "generate", data, "--class", "tooth", "--templates", "mine.toml")[0] == 0
    assert "p8" in read_annotations(data / "anns" / "test.json")[0].prompts


def test_generate_needs_no_class_where_the_data_say_what_they_show(run, data):
    (data / "dataset.json").write_text('{"target": "polyp"}')
    code, out, err = run("prompts", "generate", data, "--json")
    assert code == 0, err
    assert json.loads(out)["class"] == "polyp"
