"""The four shared sets, put back as their authors distribute them, give the benchmark's JSON again."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_originals import all_rows, blob, read_rows, save_mask, save_picture, tree

from vesalius.data.catalog import find_card
from vesalius.data.datasets import SegmentationDataset
from vesalius.data.prepare import PreparePlan, Source, SplitConfig, find_samples, prepare, read_existing
from vesalius.data.prepare.journal import PrepareJournal, write_sample
from vesalius.errors import DataError, OutputError
from vesalius.files import unfinished_name
from vesalius.imaging import read_mask


def run(
    root: Path, dest: Path, *, given: Path | None = None, stop_after: int | None = None, seed: int = 0, overwrite=False
):
    source = Source(root)
    rows = read_existing(given) if given else None
    plan = PreparePlan("kvasir_polyp", SplitConfig(0.25, 0.25, seed), rows, overwrite=overwrite)
    left = iter(range(stop_after or 10**6))

    def on_sample() -> None:
        if next(left, None) == (stop_after or 0) - 1:
            raise KeyboardInterrupt

    return prepare(find_samples(find_card("kvasir_polyp"), source), source, dest, plan, on_sample)


@pytest.fixture
def given(tmp_path) -> Path:
    """Annotation files of another order, with a doubled row, other suffixes and fields of their own."""
    prompts = {"p0": "", "p1": "polyp", "p7": ["one", "two"]}
    order = {"train": [5, 2, 5, 7], "val": [0], "test": [3, 1]}
    (tmp_path / "anns").mkdir()
    for split, numbers in order.items():
        names = [f"cju{number}.jpg" for number in numbers]
        rows = [{"bbox": [], "img_name": name, "mask_name": name, "prompts": prompts} for name in names]
        (tmp_path / "anns" / f"{split}.json").write_text(json.dumps(rows))
    return tmp_path / "anns"


def test_the_result_is_a_data_set_that_reads(kvasir, tmp_path):
    report = run(kvasir, tmp_path / "dest")
    assert report.records == {"train": 4, "val": 2, "test": 2}
    for split, count in report.records.items():
        dataset = SegmentationDataset(tmp_path / "dest", split)
        assert len(dataset) == count
        assert all(0 < sample.mask.mean() < 1 for sample in dataset)


def test_masks_hold_nothing_but_black_and_white(kvasir, tmp_path):
    run(kvasir, tmp_path / "dest")
    for path in (tmp_path / "dest/masks").iterdir():
        assert set(np.unique(np.asarray(Image.open(path))).tolist()) == {0, 255}


def test_the_source_is_not_touched(kvasir, tmp_path):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kvasir.rglob("*.jpg")}
    run(kvasir, tmp_path / "dest")
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kvasir.rglob("*.jpg")} == before


@pytest.mark.parametrize("stop_after", [1, 5])
def test_an_interrupted_run_goes_on_and_the_result_is_the_same(kvasir, tmp_path, stop_after):
    run(kvasir, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(kvasir, tmp_path / "dest", stop_after=stop_after)
    assert not (tmp_path / "dest/anns").exists()
    with (tmp_path / "dest/.prepare.jsonl").open("a") as journal:
        journal.write('{"key": "cut o')
    for name in ("cju7.jpg", "two\nlines.jpg"):
        unfinished_name(tmp_path / "dest/images" / name).write_text("half written")
    assert run(kvasir, tmp_path / "dest").resumed == stop_after
    assert tree(tmp_path / "dest") == tree(tmp_path / "whole")


def test_a_finished_run_is_not_done_again(kvasir, tmp_path):
    run(kvasir, tmp_path / "dest")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "dest").rglob("*.png")}
    assert run(kvasir, tmp_path / "dest").resumed == 8
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "dest").rglob("*.png")} == before


def test_what_changed_or_vanished_is_done_again(kvasir, tmp_path):
    run(kvasir, tmp_path / "dest")
    save_picture(kvasir / "images/cju3.jpg", 99)
    (tmp_path / "dest/masks/cju4.png").unlink()
    assert run(kvasir, tmp_path / "dest").resumed == 6
    assert (tmp_path / "dest/images/cju3.jpg").read_bytes() == (kvasir / "images/cju3.jpg").read_bytes()
    assert (tmp_path / "dest/masks/cju4.png").is_file()


def test_another_seed_changes_the_splits_alone(kvasir, tmp_path):
    run(kvasir, tmp_path / "dest")
    before = tree(tmp_path / "dest")
    assert run(kvasir, tmp_path / "dest", seed=3, overwrite=True).resumed == 8
    changed = {name for name, content in tree(tmp_path / "dest").items() if before[name] != content}
    assert changed <= {"anns/train.json", "anns/val.json", "anns/test.json", "made.json", "prepare.json"}
    assert len(changed) > 2


def test_given_annotations_are_kept_row_by_row(kvasir, tmp_path, given):
    report = run(kvasir, tmp_path / "dest", given=given)
    for split in ("train", "val", "test"):
        rows = json.loads((given / f"{split}.json").read_text())
        assert read_rows(tmp_path / "dest", split) == [
            {key: row[key] for key in ("img_name", "mask_name", "prompts")} for row in rows
        ]
    assert {path.name for path in (tmp_path / "dest/masks").iterdir()} == {f"cju{n}.jpg" for n in (0, 1, 2, 3, 5, 7)}
    sample = SegmentationDataset(tmp_path / "dest", "val")[0]
    np.testing.assert_array_equal(sample.mask[0].numpy().astype(bool), blob(0))
    notes = [note.message for note in report.notes]
    assert any("2 images with masks are in none of the annotation files" in note for note in notes)
    assert any("6 files are PNG under another suffix" in note for note in notes)
    assert report.problems == ()


def test_files_that_are_wanted_no_more_are_removed_and_no_others(kvasir, tmp_path, given):
    run(kvasir, tmp_path / "dest")
    (tmp_path / "dest/images/mine.txt").write_text("keep")
    run(kvasir, tmp_path / "dest", given=given, overwrite=True)
    assert not (tmp_path / "dest/masks/cju0.png").exists()
    assert not (tmp_path / "dest/images/cju4.jpg").exists()
    assert (tmp_path / "dest/images/mine.txt").exists()


def test_given_rows_without_a_picture_are_named_by_file_and_record(kvasir, tmp_path, given):
    (kvasir / "images/cju2.jpg").unlink()
    rows = json.loads((given / "val.json").read_text())
    (given / "val.json").write_text(json.dumps([*rows, {"img_name": "x.jpg"}, rows[0] | {"mask_name": "../x.png"}]))
    report = run(kvasir, tmp_path / "dest", given=given)
    told = "\n".join(map(str, report.problems))
    assert "train.json, record 1: 'cju2.jpg' with 'cju2.jpg' is not in the source" in told
    assert "val.json, record 1: lacks 'mask_name'" in told
    assert "val.json, record 2: mask_name must stay inside its folder" in told
    assert report.records == {"train": 3, "val": 1, "test": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"images": [], "annotations": [], "categories": []}',
            r"train\.json: looks like JSON of COCO; expected a list",
        ),
        ('{"a": 1}', r"train\.json: expected a JSON list of records, got an object with a"),
        ("[1, 2", r"train\.json: is not JSON"),
        (None, r"train\.json: no such file; --annotations needs train\.json, val\.json and test\.json"),
    ],
)
def test_annotation_files_of_another_kind_are_refused(kvasir, tmp_path, given, content, message):
    (given / "train.json").unlink()
    if content is not None:
        (given / "train.json").write_text(content)
    with pytest.raises(DataError, match=message):
        run(kvasir, tmp_path / "dest", given=given)
    assert not (tmp_path / "dest").exists()


def test_bad_files_are_named_and_the_good_rest_goes_on(kvasir, tmp_path):
    (kvasir / "images/cju0.jpg").write_bytes((kvasir / "images/cju0.jpg").read_bytes()[:200])
    (kvasir / "masks/cju1.jpg").write_text("no picture")
    save_mask(kvasir / "masks/cju2.jpg", blob(2, (30, 30)))
    (kvasir / "masks/cju3.jpg").unlink()
    (kvasir / "images/cju4.jpg").unlink()
    report = run(kvasir, tmp_path / "dest")
    told = "\n".join(map(str, report.problems))
    assert "images/cju0.jpg: cannot be read as a picture" in told
    assert "masks/cju1.jpg: is no image Vesalius reads" in told or "masks/cju1.jpg: cannot be read" in told
    assert "masks/cju2.jpg: a mask of another size; expected the image's 20 × 24, got 30 × 30" in told
    assert "images/cju3.jpg: has no mask" in told
    assert "masks/cju4.jpg: has no image" in told
    assert len(report.problems) == 5
    assert {row["img_name"] for row in all_rows(tmp_path / "dest")} == {"cju5.jpg", "cju6.jpg", "cju7.jpg"}
    summary = json.loads((tmp_path / "dest/prepare.json").read_text())
    assert len(summary["problems"]) == 5
    assert summary["data"] == "kvasir_polyp"


def test_a_repaired_file_joins_on_the_next_run(kvasir, tmp_path):
    whole = (kvasir / "images/cju0.jpg").read_bytes()
    (kvasir / "images/cju0.jpg").write_bytes(whole[:200])
    assert len(run(kvasir, tmp_path / "dest").problems) == 1
    (kvasir / "images/cju0.jpg").write_bytes(whole)
    report = run(kvasir, tmp_path / "dest")
    assert report.problems == ()
    assert sum(report.records.values()) == 8


def test_if_nothing_is_left_the_first_problem_is_told(kvasir, tmp_path):
    for path in (kvasir / "masks").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"nothing of it could be prepared\. The first of 8 problems: .*cju0\.jpg"):
        run(kvasir, tmp_path / "dest")


def test_a_folder_that_is_used_otherwise_is_refused(kvasir, tmp_path):
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest/thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="holds files that were not prepared here"):
        run(kvasir, tmp_path / "dest")
    for dest in (kvasir / "inside", kvasir, tmp_path):
        with pytest.raises(DataError, match="lies within the source"):
            run(kvasir, dest)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        run(kvasir, tmp_path / "file")


def test_the_folder_of_another_data_set_is_refused(kvasir, tmp_path):
    run(kvasir, tmp_path / "dest")
    source = Source(kvasir)
    found = find_samples(find_card("kvasir_polyp"), source)
    with pytest.raises(DataError, match="holds the prepared kvasir_polyp, not busi"):
        prepare(found, source, tmp_path / "dest", PreparePlan("busi"))
    (tmp_path / "dest/.prepare.jsonl").write_text("{")
    with pytest.raises(DataError, match="is damaged; delete the folder"):
        prepare(found, source, tmp_path / "dest", PreparePlan("busi"))


def test_a_sample_half_done_anew_does_not_count_as_done(kvasir, tmp_path):
    """Two pictures take turns under one name, and the run with the second is cut off between image and mask."""
    first = {path: path.read_bytes() for path in kvasir.rglob("cju0.jpg")}
    stamps = {path: path.stat() for path in first}
    run(kvasir, tmp_path / "dest")
    whole = tree(tmp_path / "dest")
    save_picture(kvasir / "images/cju0.jpg", 50)
    journal = PrepareJournal(tmp_path / "dest", "kvasir_polyp")
    source = Source(kvasir)
    (sample, *_) = find_samples(find_card("kvasir_polyp"), source).samples

    def stop(outline):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(sample, source, journal, stop, "another stamp")
    (tmp_path / "dest/images/cju0.jpg").write_bytes((kvasir / "images/cju0.jpg").read_bytes())
    for path, content in first.items():
        path.write_bytes(content)
        os.utime(path, ns=(stamps[path].st_atime_ns, stamps[path].st_mtime_ns))
    assert run(kvasir, tmp_path / "dest").resumed == 7
    assert tree(tmp_path / "dest") == whole


def test_prompts_with_separators_of_lines_survive_the_journal(kvasir, tmp_path):
    source = Source(kvasir)
    card = replace(find_card("kvasir_polyp"), phrase="polyp\u2028or lump")
    for resumed in (0, 8):
        report = prepare(find_samples(card, source), source, tmp_path / "dest", PreparePlan("kvasir_polyp"))
        assert report.resumed == resumed
    assert all_rows(tmp_path / "dest")[0]["prompts"]["p1"] == "polyp\u2028or lump"


@pytest.mark.parametrize("kind", ["image", "mask"])
@pytest.mark.parametrize("way", ["../../{victim}", "/{victim}", "../../dest-of-others/{victim}"])
def test_a_journal_that_names_a_file_outside_its_folder_deletes_nothing_there(kvasir, tmp_path, kind, way):
    """Whoever writes the journal of a folder could have any file deleted that a later run does not want."""
    run(kvasir, tmp_path / "dest")
    (tmp_path / "dest-of-others").mkdir()
    name = way.format(victim="victim.png") if way.startswith("..") else str(tmp_path / "victim.png")
    victim = (tmp_path / "dest" / f"{kind}s" / name).resolve()
    victim.write_bytes(b"precious")
    example = {"image": "x.png", "mask": "x.png", kind: name, "prompts": {}, "kind": "", "empty": False}
    line = {"key": "gone", "stamp": "", "examples": [example], "problems": []}
    with (tmp_path / "dest/.prepare.jsonl").open("a") as journal:
        journal.write(json.dumps(line) + "\n")
    run(kvasir, tmp_path / "dest")
    assert victim.read_bytes() == b"precious"


def test_another_source_another_seed_or_other_splits_are_refused_and_replaced_on_demand(kvasir, tmp_path):
    run(kvasir, tmp_path / "dest")
    before = tree(tmp_path / "dest")
    shutil.copytree(kvasir, tmp_path / "other")
    for root, seed in ((kvasir, 1), (tmp_path / "other", 0)):
        with pytest.raises(OutputError, match=r"made from something else \((split\.seed|source) was .*--overwrite"):
            run(root, tmp_path / "dest", seed=seed)
        assert tree(tmp_path / "dest") == before
    assert run(kvasir, tmp_path / "dest", seed=1, overwrite=True).resumed == 8
    assert json.loads((tmp_path / "dest/made.json").read_text())["data prepare"]["from"]["split"]["seed"] == 1


def test_prompts_that_were_written_since_are_not_lost(kvasir, tmp_path):
    run(kvasir, tmp_path / "dest")
    path = tmp_path / "dest/anns/train.json"
    path.write_text(path.read_text().replace('"polyp"', '"large polyp"'))
    report = run(kvasir, tmp_path / "dest")
    assert "large polyp" in path.read_text()
    assert [str(each) for each in report.notes] == ["anns/train.json: was changed since, and stays as it is."]
    for name in ("images", "masks"):
        (kvasir / name / "cju7.jpg").unlink()
    with pytest.raises(OutputError, match=r"train\.json: was changed since it was prepared, and other records are due"):
        run(kvasir, tmp_path / "dest")
    assert "large polyp" in path.read_text()
    run(kvasir, tmp_path / "dest", overwrite=True)
    assert "large polyp" not in path.read_text()


PART = 4
"""Rows of each split that are tried."""


def kvasir(root, stem, picture, mask):
    picture.save(make(root / f"Kvasir-SEG/images/{stem}.jpg"))
    save_mask(root / f"Kvasir-SEG/masks/{stem}.jpg", mask, quality=90)


def clinicdb(root, stem, picture, mask):
    picture.save(make(root / f"CVC-ClinicDB/Original/{stem}.tif"))
    save_mask(root / f"CVC-ClinicDB/Ground Truth/{stem}.tif", mask)


def bkai(root, stem, picture, mask):
    picture.save(make(root / f"train/train/{stem}.jpeg"))
    left = np.arange(mask.shape[1]) < mask.shape[1] // 2
    colours = np.stack([mask & left, mask & ~left, mask & False], axis=-1) * 255
    save_mask(root / f"train_gt/train_gt/{stem}.jpeg", colours, quality=95, subsampling=0)


def busi(root, stem, picture, mask):
    number, kind = stem.split("_")
    folder = root / f"Dataset_BUSI_with_GT/{kind}"
    picture.save(make(folder / f"{kind} ({number}).png"))
    upper = (np.arange(mask.shape[0]) < mask.shape[0] // 2)[:, None]
    save_mask(folder / f"{kind} ({number})_mask.png", mask & upper)
    save_mask(folder / f"{kind} ({number})_mask_1.png", mask & ~upper)


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


SETS = {"kvasir_polyp": kvasir, "clinicdb_polyp": clinicdb, "bkai_polyp": bkai, "busi": busi}


@pytest.mark.parametrize("name", SETS)
def test_splits_names_prompts_and_masks_come_back(name, shared, prepare_original, tmp_path):
    home = shared / "data/segmentation" / name
    for split in ("train", "val", "test"):
        rows = json.loads((home / f"anns/{split}.json").read_text())
        doubled = [row for row in rows if [each["img_name"] for each in rows].count(row["img_name"]) > 1]
        rows = rows[:PART] + doubled
        make(tmp_path / f"anns/{split}.json").write_text(json.dumps(rows))
        for row in rows:
            picture, mask = Image.open(home / "images" / row["img_name"]), read_mask(home / "masks" / row["mask_name"])
            SETS[name](tmp_path / "original", Path(row["img_name"]).stem, picture, mask)
    report = prepare_original(name, tmp_path / "original", given=tmp_path)
    assert report.problems == ()
    assert report.records["train"] == PART + 2 * (name == "bkai_polyp")
    for split in report.records:
        rows = json.loads((tmp_path / f"anns/{split}.json").read_text())
        assert json.loads((report.dest / f"anns/{split}.json").read_text()) == rows
        for row in rows:
            made = read_mask(report.dest / "masks" / row["mask_name"])
            np.testing.assert_array_equal(made, read_mask(home / "masks" / row["mask_name"]))
