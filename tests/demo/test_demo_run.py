import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vesalius.cli import main
from vesalius.demo import run, samples
from vesalius.demo.page import PAGES
from vesalius.demo.samples import TARGET_SAMPLES, Album, Brain, TargetSample, read_dicom_sample
from vesalius.folders import NOTE, Claim
from vesalius.imaging import MedicalImage
from vesalius.knowledge import Knowledge, LearntTarget
from vesalius.prompts.bank import find_target
from vesalius.segmentation import Segmentation

needs_nilearn = pytest.mark.skipif(find_spec("nilearn") is None, reason="needs: pip install 'vesalius[demo]'")
LEAST_BRAIN_DICE = 0.85


class FakePredictor:
    """Marks the left half of whatever it is asked for, and remembers what that was."""

    def __init__(self, *targets: LearntTarget) -> None:
        self.knowledge = Knowledge(targets)
        self.asked: list[list[str]] = []
        self.images: list[MedicalImage] = []

    def set_image(self, image: MedicalImage) -> "FakePredictor":
        self.images.append(image)
        return self

    def predict(self, prompts: list[str]) -> list[Segmentation]:
        self.asked.append(prompts)
        size = self.images[-1].pixels.shape[1:3]
        logits = np.full(size, -9, np.float32)
        logits[:, : size[1] // 2] = 9
        return [Segmentation(each, logits, (size[0], size[1]), 0.9) for each in prompts]


@pytest.fixture
def brain():
    """A tiny volume in the template's place."""
    image = MedicalImage(np.zeros((3, 4, 6), np.uint8), Path("memory"), affine=np.eye(4), plane="axial")
    return Brain(image, np.zeros((3, 4, 6), bool))


def list_entries(regions):
    return {entry.learnt.name: entry for region in regions for entry in region.entries}


@pytest.fixture
def run_demo(capsys, monkeypatch, tmp_path):
    """Run it in an empty folder; its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> tuple[int, str, str]:
        try:
            main(["demo", *options])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


@needs_nilearn
@pytest.mark.slow
def test_the_demo_outlines_the_template_s_brain(run_demo, tmp_path):
    code, out, err = run_demo("--out", "pages")
    assert code == 0, err
    page = tmp_path / "pages" / "index.html"
    assert out.splitlines()[-1] == str(page)
    html = page.read_text(encoding="utf-8")
    found = re.search(r"“brain”</td><td>mean Dice ([\d.]+)", html)
    assert found is not None
    assert float(found[1]) >= LEAST_BRAIN_DICE
    pictures = re.findall(r'src="([^"]+)"', html)
    assert pictures
    assert all((page.parent / picture).is_file() for picture in pictures)
    targets = page.with_name("targets.html").read_text(encoding="utf-8")
    assert targets.count("<h3>") == len(Knowledge.read("pocket").targets)
    portrayed = re.findall(r'src="([^"]+)"', targets)
    assert any("target-brain" in picture for picture in portrayed)
    assert all((page.parent / picture).is_file() for picture in portrayed)
    files = json.loads((page.parent / NOTE).read_text())["demo"]["files"]
    assert files == sorted({"index.html", "targets.html", *pictures, *portrayed})


@needs_nilearn
def test_an_unknown_model_is_one_line_and_leaves_no_page(run_demo, tmp_path):
    code, _, err = run_demo("--model", "pokcet")
    assert code == 2
    assert "Did you mean 'pocket'" in err
    assert list(tmp_path.iterdir()) == []


@needs_nilearn
@pytest.mark.parametrize("name", ["index.html", "targets.html"])
def test_a_page_of_somebody_else_is_left_alone(run_demo, tmp_path, name):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / name).write_text("mine")
    code, _, err = run_demo()
    assert code == 2
    assert "--overwrite" in err
    assert (tmp_path / "demo" / name).read_text() == "mine"


def test_pages_by_other_weights_of_the_model_are_refused(run_demo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", ModuleType("nilearn"))
    Claim(tmp_path / "demo", "demo", {"weights": {"model": "pocket", "sha256": "0"}, "held_out": {}}, PAGES).make()
    (tmp_path / "demo" / PAGES[0]).write_text("earlier")
    code, _, err = run_demo()
    assert code == 2
    assert 'weights.sha256 was "0"' in " ".join(err.split())


@needs_nilearn
def test_a_folder_of_held_out_images_that_is_not_there_is_refused(run_demo):
    code, _, err = run_demo("--held-out", "nowhere")
    assert code == 2
    assert err.startswith("error: --held-out nowhere: no such folder")


def test_without_nilearn_it_says_what_to_install(run_demo, monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    code, _, err = run_demo()
    assert code == 2
    assert "pip install 'vesalius[demo]'" in err


def test_pictures_wait_in_memory_until_the_folder_is_claimed(tmp_path):
    album = Album()
    place = album.add("a", np.zeros((4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []
    album.write(tmp_path)
    assert (tmp_path / place).is_file()


def test_a_picture_is_encoded_once_for_all_targets_that_it_shows(brain, monkeypatch):
    picture = MedicalImage(np.zeros((1, 4, 6), np.uint8), Path("memory"), modality="MR")
    monkeypatch.setattr(run, "TARGET_SAMPLES", (TargetSample("a.dcm", "MR, a slice", ("aorta", "kidney", "liver")),))
    monkeypatch.setattr(run, "read_dicom_sample", lambda file: picture)
    known = [LearntTarget(name, ("mr", "ct"), 3) for name in ("aorta", "kidney")]
    predictor, album = FakePredictor(*known, LearntTarget("liver", ("ct",), 4)), Album()
    regions, missing = run.portray_targets(predictor, brain, album)
    assert missing == []
    assert predictor.asked == [["aorta", "kidneys"]]  # liver was learnt on CT alone; brain was not learnt
    assert [region.title for region in regions] == ["Heart and great vessels", "Abdomen"]
    entries = list_entries(regions)
    (answer,) = entries["kidney"].answers
    assert (answer.existence, answer.share, answer.title) == (0.9, 0.5, "MR, a slice")
    assert sorted(album.pictures) == sorted(each.answers[0].picture for each in entries.values() if each.answers)
    assert entries["liver"].answers == ()


def test_the_brain_is_shown_on_the_template_and_a_file_that_is_not_there_is_told(brain, monkeypatch):
    monkeypatch.setattr(run, "read_dicom_sample", lambda file: None)
    regions, missing = run.portray_targets(FakePredictor(LearntTarget("brain", ("mr",), 3)), brain, Album())
    assert [answer.title for answer in list_entries(regions)["brain"].answers] == ["MR, average of 152 brains"]
    assert missing == [
        f"{each.file}: not among the files of the installed pydicom; skipped." for each in TARGET_SAMPLES
    ]


def test_a_model_that_does_not_say_what_it_learnt_is_asked_no_targets(brain):
    predictor = FakePredictor()
    assert run.portray_targets(predictor, brain, Album()) == ([], [])
    assert predictor.asked == []


def test_names_are_short_not_the_plain_name_and_understood():
    target = LearntTarget("polyp", ("endoscopy",), 3)
    names = run.choose_names(Knowledge([target]), target)
    assert len(names) == run.NAMES_EACH
    assert {"polyp", "a polyp", "polyps"}.isdisjoint(names)
    assert all(len(name.split()) <= run.MOST_WORDS for name in names)
    assert all(Knowledge([target]).understand(name).target == "polyp" for name in names)


def test_the_samples_name_targets_of_the_bank():
    for sample in TARGET_SAMPLES:
        for name in sample.targets:
            assert find_target(name)


def test_of_several_frames_the_middle_one_is_shown(monkeypatch):
    frames = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((3, 4, 6), np.uint8)
    monkeypatch.setattr(samples, "get_testdata_file", lambda file, download: file)
    monkeypatch.setattr(samples, "read_image", lambda path: MedicalImage(frames, Path(path), modality="US"))
    image = read_dicom_sample("a.dcm")
    assert image is not None
    assert np.asarray(image.pixels).tolist() == [[[1] * 6] * 4]
