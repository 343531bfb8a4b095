import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from vesalius.data.datasets import SegmentationDataset
from vesalius.errors import ConfigError, ModelError, OutputError, PromptError
from vesalius.evaluation.audit.run import audit, choose
from vesalius.evaluation.audit.session import write_results
from vesalius.evaluation.metrics import dice
from vesalius.imaging import write_mask


@pytest.fixture
def dataset(tiny_dataset) -> SegmentationDataset:
    return SegmentationDataset(tiny_dataset, "test")


@pytest.mark.slow
def test_an_image_is_encoded_once_and_every_answer_is_the_model_s_own(build_tiny, dataset, monkeypatch):
    model = build_tiny("pocket")
    encode, calls = model.encode_image, []
    monkeypatch.setattr(model, "encode_image", lambda images: calls.append(len(images)) or encode(images))
    counted = []
    found = audit(model, dataset, on_image=lambda: counted.append(1))
    assert calls == counted == [1] * len(dataset)
    assert {each.test for each in found.results} == {"wording", "empty", "absent", "flip"}
    for each in found.results[::7]:
        sample = dataset[each.record]
        with torch.inference_mode():
            masks = [model(sample.image[None], [prompt])[:, 0] > 0 for prompt in (each.reference, each.prompt)]
        # A batch of one may sum in another order, which moves a pixel at the threshold at most.
        assert each.dice == pytest.approx(dice(masks[1], sample.mask).item(), abs=0.01)
        assert each.reference_dice == pytest.approx(dice(masks[0], sample.mask).item(), abs=0.01)
        assert each.change == pytest.approx(1 - dice(*masks).item(), abs=0.01)
        assert each.predicted_pixels == pytest.approx(int(masks[1].sum()), abs=2)
        assert each.true_pixels == int(sample.mask.sum())
        assert each.pixels == sample.mask.numel()


def test_a_model_that_reads_no_text_is_asked_once_and_never_changes(build_tiny, dataset, monkeypatch):
    model, calls = build_tiny("unet_d"), []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda image, text: calls.append(len(text.embedding)) or decode(image, text))
    found = audit(model, dataset)
    assert set(calls) == {1}
    assert {each.change for each in found.results} == {0.0}
    assert {each.existence for each in found.results} == {None}


def test_answers_that_are_no_numbers_are_not_audited(build_tiny, dataset):
    model = build_tiny("unet_d")
    with torch.no_grad():
        model.unet.to_logits.bias.fill_(torch.nan)
    with pytest.raises(ModelError, match="the model's answer is not a number; its weights are damaged"):
        audit(model, dataset)


@pytest.mark.slow
def test_pixels_and_confidence_are_those_of_the_plain_name(build_tiny, dataset):
    found = audit(build_tiny("pocket"), dataset)
    assert found.images == ("test_0.png", "test_1.png")
    assert found.reliability.counts.sum(1).tolist() == [dataset[0].mask.numel()] * 2
    named = {each.record: each.reference_dice for each in found.results if each.reference == "polyp"}
    assert list(found.dice) == pytest.approx(list(named.values()))
    assert all(0 <= each <= 1 for each in found.confidence)


def test_what_could_not_be_asked_is_said(build_tiny, write_dataset):
    data = SegmentationDataset(write_dataset("unknown", prompts={"p0": "", "p1": "toe"}), "test")
    notes = " ".join(audit(build_tiny("unet_d"), data).notes)
    for lacking in ("Paraphrases were not asked", "Denials and other targets", "The swap was left out", "Nothing was"):
        assert lacking in notes


@pytest.mark.parametrize("name", ["lungs", "Lung-Fields"])
def test_what_the_data_do_not_say_the_plain_name_does(build_tiny, write_dataset, name):
    data = SegmentationDataset(write_dataset("unknown", prompts={"p0": "", "p1": name}), "test")
    assert "lung fields" in {each.prompt for each in audit(build_tiny("unet_d"), data, limit=1).results}


def test_an_image_that_shows_nothing_is_only_asked_for_what_is_absent(build_tiny, write_dataset):
    root = write_dataset("half_empty")
    write_mask(root / "masks" / "test_1.png", np.zeros((40, 56), bool))
    found = audit(build_tiny("unet_d"), SegmentationDataset(root, "test"))
    assert {each.test for each in found.results if each.record == 1} == {"absent"}
    assert "prompts of empty images" in {each.kind for each in found.results}


def test_chosen_records_span_the_file():
    assert choose(3, None) == choose(3, 9) == [0, 1, 2]
    assert choose(100, 4) == [0, 33, 66, 99]
    with pytest.raises(ConfigError, match="expected 1 image or more, got 0"):
        choose(3, 0)


def test_a_record_without_words_is_named(build_tiny, write_dataset):
    root = write_dataset("wordless", prompts={"p0": ""})
    with pytest.raises(PromptError, match=r"test\.json, record 0 \('test_0\.png'\).*prompts generate"):
        audit(build_tiny("unet_d"), SegmentationDataset(root, "test"))


def test_an_absent_phrase_needs_words(build_tiny, dataset):
    with pytest.raises(PromptError, match="--absent"):
        audit(build_tiny("unet_d"), dataset, absent=[" "])


def test_answers_are_written_as_a_table(build_tiny, dataset, tmp_path):
    found = audit(build_tiny("unet_d"), dataset, limit=1)
    write_results(found.results, tmp_path / "answers.parquet")
    table = pq.read_table(tmp_path / "answers.parquet")
    assert table.num_rows == len(found.results)
    assert json.dumps(table.to_pylist()[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_results(found.results, tmp_path / "file" / "answers.parquet")
