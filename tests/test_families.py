"""Words for a family of targets ("tumour"): what is looked for, and which member answers."""

import csv
import json

import numpy as np
import pytest

from vesalius.cli import main
from vesalius.errors import PromptError
from vesalius.imaging import MedicalImage, write_rgb
from vesalius.knowledge import LOOKS, Knowledge, LearntTarget
from vesalius.models.checkpoints import save_model
from vesalius.predict import Predictor
from vesalius.prompts import list_targets
from vesalius.prompts.anatomy import MODALITIES
from vesalius.prompts.bank import read_families, to_families
from vesalius.prompts.reading import read_phrase
from vesalius.runtime import open_runtime

ALL = frozenset(list_targets())
TARGETS = [
    LearntTarget("brain_tumour", ("mr",), 3),
    LearntTarget("breast_tumour", ("mr", "us"), 9),
    LearntTarget("liver_tumour", ("ct", "us"), 2),
    LearntTarget("polyp", ("endoscopy",), 8),
    LearntTarget("liver", ("ct",), 5),
]
NOTES = {"targets": {each.name: {"modalities": [*each.modalities], "pictures": each.pictures} for each in TARGETS}}
PICTURE = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)
MEMBERS = ["brain tumour", "breast tumour", "liver tumour", "polyp"]


@pytest.fixture
def knowledge():
    return Knowledge(TARGETS)


@pytest.fixture(scope="module")
def checkpoint(build_tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("families") / "model.safetensors"
    save_model(build_tiny("pocket"), path, NOTES)
    return path


@pytest.fixture
def predictor(checkpoint, monkeypatch):
    found = Predictor(checkpoint)
    monkeypatch.setattr(found.knowledge, "look", lambda vectors: None)  # untrained, it might take noise for anything
    return found


class TestWords:
    def test_every_word_names_its_family_and_nothing_else(self):
        for family, row in read_families().items():
            for word in row.words:
                found = read_phrase(f"please outline the {word}", ALL)
                assert (found.kind, found.family, found.target) == ("vague", family, None), word
                assert read_phrase(word, ALL).family == family, word

    @pytest.mark.parametrize(
        ("phrase", "family"),
        [
            ("where is the tumour?", "tumour"), ("tumors", "tumour"), ("a small dark mass on the left", "tumour"),
            ("delineate the mass on the sonogram", "tumour"), ("benign growths", "tumour"),
            ("what is wrong here", "lesion"), ("is there anything wrong?", "lesion"), ("abnormality", "lesion"),
            ("the lesion to be biopsied", "lesion"), ("hypoechoic lesion", "lesion"), ("bones", "bone"),
            ("show me the vessels", "vessel"), ("haemorrhage", "bleeding"),
        ],
    )  # fmt: skip
    def test_bare_words_name_a_family_in_whatever_form(self, phrase, family):
        assert read_phrase(phrase, ALL).family == family

    @pytest.mark.parametrize(
        "phrase",
        [
            "liver tumour", "tumour of the liver", "lung tumour", "bone tumour", "tumour in the finger",
            "femoral artery", "blood vessels of the arm", "lung nodule", "no tumour", "tumour marker", "heart valve",
        ],
    )  # fmt: skip
    def test_words_that_say_more_name_none(self, phrase):
        assert read_phrase(phrase, ALL).family is None

    def test_a_family_of_which_nothing_is_learnt_is_none(self):
        assert read_phrase("vessel", frozenset({"polyp"})).family is None
        assert read_phrase("lesion", frozenset({"polyp"})).family == "lesion"

    def test_a_member_that_the_bank_lacks_is_named(self):
        with pytest.raises(PromptError, match=r"Families, \[tumour\], members: No target named 'polyps'"):
            to_families({"tumour": {"words": ["tumour"], "members": ["polyps"]}})


class TestKnowledge:
    def test_members_that_such_pictures_show_are_looked_for(self, knowledge):
        assert knowledge.understand("tumour").candidates == tuple(MEMBERS)
        found = knowledge.understand("tumour", "US")
        assert (found.candidates, found.family) == (("breast tumour", "liver tumour"), "tumour")
        assert (found.asked, found.refusal, found.known, found.expected) == (None, None, True, True)

    def test_the_most_probable_one_answers(self, knowledge):
        found = knowledge.decide(
            knowledge.understand("the tumour", "US"), {"breast tumour": 0.2, "liver tumour": 0.9, "polyp": 1.0}
        )
        assert (found.asked, found.target, found.candidates) == ("liver tumour", "liver tumour", ())
        assert found.remark == "'the tumour': understood as liver tumour."
        assert found.to_dict() == {
            "prompt": "the tumour",
            "known": True,
            "expected": True,
            "target": "liver tumour",
            "family": "tumour",
            "considered": {"liver tumour": 0.9, "breast tumour": 0.2},
            "remark": found.remark,
        }

    def test_if_none_is_there_that_is_said_of_each(self, knowledge):
        found = knowledge.decide(knowledge.understand("tumour", "US"), {"breast tumour": 0.5, "liver tumour": 0.1})
        assert (found.asked, found.target, found.refusal) == ("breast tumour", None, None)
        assert found.remark == "'tumour': no learnt tumour is found; looked for breast tumour and liver tumour."
        assert found.told_existence == "breast tumour 0.50, liver tumour 0.10"

    def test_none_answers_on_pictures_that_no_member_was_learnt_on(self, knowledge):
        found = knowledge.understand("tumour", "CR")
        assert (found.asked, found.candidates, found.expected) == (None, (), False)
        assert found.refusal == "not expected here"
        assert found.remark.startswith("'tumour': no learnt tumour is expected on CR; learnt: brain tumour (MR), ")

    def test_pixels_tell_the_kind_where_the_header_does_not(self, knowledge):
        understood = knowledge.understand("tumour")
        assert knowledge.narrow(understood, None) == understood
        assert knowledge.narrow(understood, "an MR image").candidates == ("brain tumour", "breast tumour")
        found = knowledge.narrow(understood, "an X-ray")
        assert (found.refusal, found.candidates) == ("not expected here", ())
        assert "no learnt tumour is expected on what looks like an X-ray" in found.remark

    def test_a_side_is_not_told_apart_and_that_is_said(self, knowledge):
        found = knowledge.decide(knowledge.understand("the mass on the left", "ES"), {"polyp": 0.8})
        assert found.remark == "'the mass on the left': understood as polyp; 'left' is not told apart."

    @pytest.mark.parametrize(("phrase", "asked"), [("liver tumour", "liver tumour"), ("lung tumour", None)])
    def test_a_phrase_that_says_more_is_not_softened_into_its_family(self, knowledge, phrase, asked):
        found = knowledge.understand(phrase)
        assert (found.asked, found.family, found.candidates) == (asked, None, ())

    def test_all_modalities_that_naming_tells_are_kinds_of_pictures(self):
        assert [label for labels in LOOKS.values() for label in labels] == list(MODALITIES)

    def test_a_model_whose_vectors_share_no_space_tells_no_kind(self, checkpoint, knowledge):
        look = Predictor(checkpoint).knowledge.look
        assert look(np.zeros((2, 0), np.float32)) is None
        assert look(np.ones((2, 3), np.float32)) is None
        assert knowledge.look(np.ones((2, 3), np.float32)) is None

    def test_the_embedded_model_takes_pictures_for_what_its_vectors_say(self):
        runtime = open_runtime("pocket")
        knowledge = Knowledge(TARGETS, runtime)
        for kind, phrase in [
            ("an X-ray", "an X-ray image"),
            ("an ultrasound image", "an ultrasound image"),
            ("a picture in colour", "a fundus photograph"),
        ]:
            assert knowledge.look(runtime.encode_text([phrase]).vectors) == kind


class TestPredictor:
    def test_the_answer_is_that_of_the_most_probable_member(self, predictor):
        predictor.set_image(PICTURE)
        tumour, liver, *members = predictor.predict(["tumour", "liver", *MEMBERS])
        best = max(members, key=lambda each: each.existence)
        assert (tumour.prompt, tumour.existence, tumour.known) == ("tumour", best.existence, True)
        np.testing.assert_allclose(tumour.logits, best.logits, atol=1e-5)
        assert tumour.understanding.considered[0] == (best.prompt, pytest.approx(best.existence))
        assert {name for name, _ in tumour.understanding.considered} == set(MEMBERS)
        assert liver.understanding.family is None

    def test_if_none_is_there_nothing_is_marked_whatever_the_threshold(self, predictor, monkeypatch):
        monkeypatch.setattr("vesalius.knowledge.PRESENT", 1.0)
        tumour, polyp = predictor.set_image(PICTURE).predict(["tumour", "polyp"])
        assert (tumour.understanding.target, tumour.existence) == (None, tumour.understanding.considered[0][1])
        assert tumour.probability.max() < 1e-20 < polyp.probability.max()

    @pytest.mark.slow
    def test_a_kind_that_pixels_tell_leaves_members_out(self, predictor, monkeypatch):
        monkeypatch.setattr(predictor.knowledge, "look", lambda vectors: "an X-ray")
        tumour, polyp = predictor.set_image(PICTURE).predict(["tumour", "polyp"])
        assert (tumour.known, tumour.existence, bool(tumour.mask.any())) == (False, None, False)
        assert polyp.known  # asked by name, it is looked for on any picture whose header does not tell its kind

    @pytest.mark.slow
    def test_a_series_is_decided_once(self, predictor):
        pixels = (np.random.default_rng(1).random((4, 40, 50)) * 255).astype(np.uint8)
        volume = MedicalImage(pixels, source="memory", modality="MR")
        totals = []
        told = predictor.understand(
            volume.slices(), ["lesion", "a cat"], watch=lambda places, total: totals.append(total) or places
        )
        assert totals == [4]
        assert [name for name, _ in sorted(told[0].considered)] == ["brain tumour", "breast tumour"]
        lesion, cat = predictor.predict_volume(volume, ["lesion", "a cat"])
        assert {each.understanding for each in lesion.answers} == {told[0]}
        assert lesion.existence == pytest.approx(told[0].considered[0][1])
        assert not cat.known
        again = [answers[0].existence for answers in predictor.predict_slices(volume.slices(), told[:1])]
        assert again == pytest.approx([each.existence for each in lesion.answers])

    def test_slices_looked_at_alone_are_decided_alone(self, predictor):
        pixels = (np.random.default_rng(1).random((3, 40, 50)) * 255).astype(np.uint8)
        slices = MedicalImage(pixels, source="memory", modality="MR").slices()
        for place, (answer,) in enumerate(predictor.predict_slices(slices, "tumour", together=False)):
            picture = MedicalImage(pixels[place : place + 1], source="memory", modality="MR")
            (alone,) = predictor.understand(picture.slices(), "tumour")
            assert dict(answer.understanding.considered) == pytest.approx(dict(alone.considered), abs=1e-4)

    @pytest.mark.slow
    def test_both_runtimes_choose_the_same_member(self):
        pytest.importorskip("torch")
        one, other = (Predictor("pocket", runtime=each, device="cpu").set_image(PICTURE) for each in ("onnx", "torch"))
        for prompt in ("tumour", "what is wrong here", "organ", "vessel"):
            first, second = one.predict(prompt).understanding, other.predict(prompt).understanding
            assert (first.asked, first.target, first.remark) == (second.asked, second.target, second.remark)


class TestCommands:
    @pytest.mark.slow
    def test_one_image_and_its_record(self, checkpoint, tmp_path, capsys):
        write_rgb(tmp_path / "scan.png", PICTURE)
        line = ["segment", str(tmp_path / "scan.png"), "vessel", "tumour", "--model", str(checkpoint)]
        main([*line, "-o", str(tmp_path / "out"), "--json"])
        vessel, tumour = json.loads(capsys.readouterr().out)["results"]
        assert (vessel["known"], "mask" in vessel) == (False, False)
        rows = json.loads((tmp_path / "out" / "segmentation.json").read_text(encoding="utf-8"))["results"]
        recorded = {each["prompt"]: each for each in rows}
        assert (recorded["vessel"]["answer"], recorded["vessel"]["mask"]) == (vessel["answer"], None)
        for told in (tumour, recorded["tumour"]):
            assert (told["prompt"], told["family"], told["known"]) == ("tumour", "tumour", True)
            assert max(told["considered"].values()) == pytest.approx(told["existence"])
        main([*line, "-o", str(tmp_path / "again")])
        assert f"Existence: {next(iter(tumour['considered']))} " in capsys.readouterr().err

    @pytest.mark.slow
    def test_a_folder_says_the_family_and_the_target_of_each_image(self, checkpoint, tmp_path, capsys):
        write_rgb(tmp_path / "images" / "scan.png", PICTURE)
        out = tmp_path / "out"
        prompts = ["-p", "tumour", "-p", "liver"]
        main(["segment", str(tmp_path / "images"), *prompts, "--model", str(checkpoint), "-o", str(out)])
        with (out / "results.csv").open(encoding="utf-8") as file:
            tumour, liver = csv.DictReader(file)
        assert (tumour["family"], liver["family"]) == ("tumour", "")
        rows = json.loads((out / "segmentation.json").read_text(encoding="utf-8"))["results"]
        (row,) = (each for each in rows if each["prompt"] == "tumour")
        assert (row["target"] or "", row["remark"]) == (tumour["target"], tumour["remark"])
        assert row["remark"] in (out / "index.html").read_text(encoding="utf-8").replace("&#39;", "'")
