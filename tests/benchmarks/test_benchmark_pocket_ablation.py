import json
from dataclasses import replace

import pytest
import torch

from vesalius.console import progress_bar
from vesalius.data.datasets import SegmentationDataset
from vesalius.models.checkpoints import save_model

PROMPTS = ["polyp", "both lungs"]


@pytest.fixture(scope="module")
def ablation(import_script):
    return import_script("benchmarks", "pocket_ablation")


@pytest.fixture
def model(build_tiny):
    return build_tiny("pocket")


@torch.no_grad()
def predict(model):
    return model.predict(torch.rand(1, 3, 64, 64).expand(2, -1, -1, -1), PROMPTS)


def test_a_deaf_model_answers_every_prompt_alike(ablation, model):
    first, second = predict(model).logits
    assert not torch.allclose(first, second)
    ablation.deafen(model)
    first, second = predict(model).logits
    torch.testing.assert_close(first, second)


def test_without_an_existence_head_the_mask_alone_decides(ablation, model):
    bounded = predict(model)
    ablation.leave_out_existence(model)
    free = predict(model)
    assert (free.existence == ablation.CERTAIN).all()
    assert (free.logits > bounded.logits).all()


def test_without_channel_attention_no_weights_of_it_are_left(ablation, model):
    ablation.leave_out_attention(model)
    assert not [name for name in model.state_dict() if ".attention." in name]
    assert predict(model).logits.shape == (2, 1, 64, 64)


def test_settings_of_a_variant_change_their_tables_and_nothing_else(ablation):
    full = ablation.configure(ablation.Variant("full"), 7)
    silent = ablation.configure(ablation.Variant("silent", settings=ablation.SILENT), 7)
    assert full.max_steps == 7
    assert full.prompts.absent > 0
    assert silent == replace(full, prompts=replace(full.prompts, absent=0.0))


def test_folders_are_repeated_until_one_epoch_suffices(ablation, tiny_dataset):
    assert ablation.repeat([tiny_dataset], 4) == [tiny_dataset]
    assert ablation.repeat([tiny_dataset], 5) == [tiny_dataset] * 2


@pytest.fixture
def small(ablation, tiny_dataset, tmp_path, monkeypatch):
    """The tiny data set, smaller still, and the only one."""
    monkeypatch.setattr(ablation, "DATA", (tiny_dataset.name,))
    monkeypatch.setattr(ablation, "SIDE", 32)
    with progress_bar() as bar:
        for split in ("train", "val"):
            ablation.shrink(tiny_dataset, split, tmp_path / tiny_dataset.name, bar)
    return tmp_path


def test_small_copies_keep_records_and_outlines(small, tiny_dataset):
    copied, original = (SegmentationDataset(root, "val") for root in (small / tiny_dataset.name, tiny_dataset))
    assert copied[1].image.shape == (3, 32, 32)
    assert copied[1].record.prompts == original[1].record.prompts
    assert copied[1].mask.mean().item() == pytest.approx(original[1].mask.mean().item(), abs=0.03)


@pytest.fixture
def tiny_pocket(ablation, build_tiny, monkeypatch):
    """Make every model of the benchmark a tiny one; the file to start from."""
    monkeypatch.setattr(ablation, "_build", lambda side: build_tiny("pocket", image_size=side))


@pytest.mark.usefixtures("tiny_pocket")
def test_a_variant_is_trained_and_measured_once(ablation, build_tiny, small, tmp_path, capsys):
    start, kept = tmp_path / "start.safetensors", tmp_path / "kept"
    save_model(build_tiny("pocket"), start)
    variant = ablation.Variant("no channel attention", ablation.leave_out_attention, data=ablation.DATA)
    for _ in range(2):
        ablation.run(variant, start, small, kept, steps=1)
    assert capsys.readouterr().out.count("no channel attention") == 1
    written = json.loads((kept / "no-channel-attention.json").read_text(encoding="utf-8"))
    scores = ablation.read(variant, kept)[ablation.DATA[0]]
    assert vars(scores) == written["scores"][ablation.DATA[0]]
    assert scores.images == 2
    assert not [path for path in small.iterdir() if path.name.startswith("tmp")]


def test_the_page_says_how_far_seeds_lie_apart(ablation):
    scores = {name: ablation.Scores(10, value, value - 0.1, 1.0) for name, value in [("busi", 0.6), ("cxr_lungs", 0.9)]}
    worse = {name: replace(each, known=each.known - 0.02) for name, each in scores.items()}
    page = ablation.page({"full, seed 0": scores, "full, seed 1": worse, "no negatives": worse}, 300)
    assert "| full, seed 0 | 0.600 | 0.900 | 0.750 |" in page
    assert "| *spread* | 0.020 | 0.020 | 0.020 |" in page
    assert "| no negatives | 0.580 | 0.880 | 0.730 |" in page
    assert "| no negatives | 1.000 | 1.000 | 1.000 |" in page
