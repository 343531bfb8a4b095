import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vesalius.data.annotations import read_annotations
from vesalius.data.prompting import PromptPlan, generate_prompts
from vesalius.errors import DataError, OutputError, PromptError
from vesalius.imaging import read_mask, write_mask, write_rgb
from vesalius.prompts import RULES, read_templates

PLAN = PromptPlan(read_templates(), RULES["plain"], "polyp")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two pictures: a red box at the top left, and none; without prompts."""
    root = tmp_path / "data"
    for name in ("images", "masks", "anns"):
        (root / name).mkdir(parents=True)
    box = np.zeros((60, 80), dtype=bool)
    box[5:15, 5:15] = True
    for name, mask in {"box.png": box, "none.png": np.zeros_like(box)}.items():
        write_rgb(root / "images" / name, np.where(mask[..., None], (0.9, 0.1, 0.1), (0.2, 0.2, 0.2)))
        write_mask(root / "masks" / name, mask)
    put(root, [{"img_name": "box.png", "mask_name": "box.png"}, {"img_name": "none.png", "mask_name": "none.png"}])
    return root


def put(root: Path, rows: object) -> None:
    (root / "anns" / "train.json").write_text(json.dumps(rows), encoding="utf-8")


def get(root: Path) -> list[dict]:
    return json.loads((root / "anns" / "train.json").read_text(encoding="utf-8"))


def plan(**changes: object) -> PromptPlan:
    return PromptPlan(**{**vars(PLAN), **changes})


def test_records_without_prompts_get_all_families_and_read_as_annotations(folder):
    report = generate_prompts(folder, "train", PLAN)
    box, none = read_annotations(folder / "anns" / "train.json")
    assert box.prompts["p6"] == "one small red square polyp, located in top left of the image"
    assert list(box.prompts) == [f"p{number}" for number in range(10)]
    assert none.prompts["p6"] == "no polyp"
    assert (report.records, report.written, report.complete, report.empty, report.problems) == (2, 2, 0, 1, [])


def test_prompts_that_are_there_stay_and_missing_families_are_added_in_order(folder):
    put(folder, [get(folder)[0] | {"prompts": {"p3": "mine", "p0": "", "note": "x"}, "patient": 7}])
    generate_prompts(folder, "train", PLAN)
    (row,) = get(folder)
    assert row["prompts"]["p3"] == "mine"
    assert row["prompts"]["p2"] == "square polyp"
    assert list(row["prompts"]) == [*(f"p{number}" for number in range(10)), "note"]
    assert row["patient"] == 7


def test_replace_writes_families_anew_and_leaves_those_it_does_not_know(folder):
    put(folder, [get(folder)[0] | {"prompts": {"p3": "mine", "note": "x"}}])
    generate_prompts(folder, "train", plan(replace=True))
    assert get(folder)[0]["prompts"]["p3"] == "red square polyp"
    assert get(folder)[0]["prompts"]["note"] == "x"


def test_a_second_time_changes_nothing_and_reads_no_image(folder):
    generate_prompts(folder, "train", PLAN)
    before = get(folder)
    shutil.rmtree(folder / "images")
    report = generate_prompts(folder, "train", PLAN)
    assert (report.written, report.complete, report.problems) == (0, 2, [])
    assert get(folder) == before


def test_with_out_the_annotation_file_stays(folder, tmp_path):
    before = get(folder)
    generate_prompts(folder, "train", PLAN, out=tmp_path / "out")
    assert get(folder) == before
    assert len(read_annotations(tmp_path / "out" / "train.json")) == 2


def test_by_default_p1_says_what_is_outlined(folder):
    box, none = get(folder)
    put(folder, [box | {"prompts": {"p1": "foot ulcer"}}, none | {"prompts": {"p1": "There is a thing."}}])
    report = generate_prompts(folder, "train", plan(outlined=None))
    assert get(folder)[0]["prompts"]["p3"] == "red square foot ulcer"
    assert [str(problem) for problem in report.problems] == [
        "anns/train.json, record 1: what the mask outlines is unknown: p1 is 'There is a thing.'; "
        'say it once in dataset.json, {"target": "polyp"}, or name it with --class.'
    ]


def test_an_object_without_words_is_reported_with_the_families_it_lacks(folder):
    report = generate_prompts(folder, "train", plan(outlined="stone", family_set="endoscopy"))
    assert report.lacking == {"stone": ["p7", "p8", "p9"]}
    assert get(folder)[0]["prompts"]["p2"] == "square stone"


def test_findings_on_the_same_image_know_of_each_other(folder):
    shutil.copy(folder / "masks" / "box.png", folder / "masks" / "other.png")
    names = {"box.png": "edema", "other.png": "cardiomegaly", "none.png": "pneumothorax"}
    put(folder, [{"img_name": "box.png", "mask_name": mask, "prompts": {"p1": name}} for mask, name in names.items()])
    generate_prompts(folder, "train", plan(outlined=None, family_set="chest_xray", replace=True))
    said = [row["prompts"]["p6"] for row in get(folder)]
    assert said == [
        "Edema in a chest X-ray. Findings: edema, cardiomegaly.",
        "Cardiomegaly in a chest X-ray. Findings: edema, cardiomegaly.",
        "No pneumothorax in a chest X-ray.",
    ]


def test_what_was_worded_before_is_known_when_the_rest_is(folder):
    shutil.copy(folder / "masks" / "box.png", folder / "masks" / "other.png")
    names = {"box.png": "edema", "other.png": "cardiomegaly"}
    put(folder, [{"img_name": "box.png", "mask_name": mask, "prompts": {"p1": name}} for mask, name in names.items()])
    chest = plan(outlined=None, family_set="chest_xray")
    generate_prompts(folder, "train", chest)
    rows = get(folder)
    whole = rows[0]["prompts"].pop("p6")
    put(folder, rows)
    report = generate_prompts(folder, "train", chest)
    assert get(folder)[0]["prompts"]["p6"] == whole
    assert (report.records, report.written, report.complete) == (2, 1, 1)


def test_absent_things_are_asked_for_once_with_an_empty_mask(folder):
    for _ in range(2):
        report = generate_prompts(folder, "train", plan(absent=True))
    *_, extra = get(folder)
    assert len(get(folder)) == 4
    assert (report.records, report.absent, report.written, report.complete) == (2, 2, 0, 2)
    assert extra["img_name"] == "none.png"
    assert "lungs" in extra["prompts"]["p1"]
    mask = read_mask(folder / "masks" / extra["mask_name"])
    assert mask.shape == (60, 80)
    assert not mask.any()
    assert len(read_annotations(folder / "anns" / "train.json")) == 4


def test_records_about_absent_things_are_not_taken_for_empty_masks(folder):
    generate_prompts(folder, "train", plan(absent=True))
    before = get(folder)
    report = generate_prompts(folder, "train", plan(replace=True))
    assert (report.records, report.empty) == (2, 1)
    assert get(folder) == before


def test_bad_rows_are_named_and_stay_while_the_rest_goes_on(folder):
    good, _ = get(folder)
    (folder / "images" / "torn.png").write_bytes((folder / "images" / "box.png").read_bytes()[:60])
    write_mask(folder / "masks" / "small.png", np.ones((6, 8), dtype=bool))
    bad = [
        "text",
        {"img_name": "box.png"},
        good | {"mask_name": "lost.png"},
        good | {"img_name": "lost.png"},
        good | {"img_name": "torn.png"},
        good | {"mask_name": "small.png"},
        good | {"mask_name": "../../secret.png"},
        good | {"prompts": "polyp"},
    ]
    put(folder, [*bad, good])
    report = generate_prompts(folder, "train", PLAN)
    messages = [str(problem) for problem in report.problems]
    expected = [
        "expected an object with img_name, mask_name, prompts, got str",
        "lacks 'mask_name'",
        "masks/lost.png: no such file",
        "images/lost.png: no such file",
        "images/torn.png: cannot be read as a picture",
        "small.png: a mask of another size; expected the image's 60 × 80, got 6 × 8 (height × width)",
        "mask_name must stay inside its folder",
        "prompts must be an object",
    ]
    assert len(messages) == len(expected)
    for number, (message, part) in enumerate(zip(messages, expected, strict=True)):
        assert message.startswith(f"anns/train.json, record {number}: ")
        assert part in message
    assert get(folder)[:-1] == bad
    assert (report.records, report.written) == (9, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"train\.json: is not JSON"),
        ("[]", r"expected a JSON list of one record or more, got an empty list"),
        ('{"images": [], "annotations": []}', r"train\.json: looks like JSON of COCO; expected a list of records"),
    ],
)
def test_a_file_that_holds_no_records_is_named(folder, content, message):
    (folder / "anns" / "train.json").write_text(content)
    with pytest.raises(DataError, match=message):
        generate_prompts(folder, "train", PLAN)


def test_a_missing_file_names_the_command_that_makes_one(folder):
    with pytest.raises(DataError, match=r"val\.json: no such file; .*vesalius data prepare custom"):
        generate_prompts(folder, "val", PLAN)


def test_an_unknown_set_is_an_error_of_the_plan(folder):
    with pytest.raises(PromptError, match="No set of prompt families named 'endo'"):
        generate_prompts(folder, "train", plan(family_set="endo"))


def test_what_cannot_be_written_leaves_the_old_file(folder, tmp_path):
    before = get(folder)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        generate_prompts(folder, "train", PLAN, out=tmp_path / "file")
    assert get(folder) == before


def test_progress_counts_every_row(folder):
    calls = []
    put(folder, [*get(folder), "bad"])
    generate_prompts(folder, "train", PLAN, on_record=lambda: calls.append(1))
    assert len(calls) == 3
