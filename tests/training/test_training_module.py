import dataclasses
import math

import pytest
import torch
import torch.distributed as dist

from vesalius.data.views import Batch
from vesalius.errors import ConfigError
from vesalius.evaluation.metrics import dice
from vesalius.training.config import FitConfig, TrainConfig
from vesalius.training.fit import fit
from vesalius.training.losses import segmentation_loss
from vesalius.training.module import (
    ExampleMean,
    SegmentationModule,
    build_optimizer,
    cosine,
    count_steps,
    fingerprint_encoders,
    group_parameters,
    split_state,
)
from vesalius.training.runtime_options import RuntimeOptions

pytestmark = pytest.mark.slow

PROMPTS = ["polyp", "lungs", "polyp"]


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(3, 1, 64, 64, generator=generator) > 0.5).float()
    return Batch(torch.rand(3, 3, 64, 64, generator=generator), masks, PROMPTS)


@pytest.fixture
def module(build_tiny) -> SegmentationModule:
    return SegmentationModule(build_tiny("pocket").freeze("text"), TrainConfig(), 1)


def logged(module: SegmentationModule, monkeypatch) -> dict[str, float]:
    values: dict[str, float] = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: values.update({name: float(value.compute())}))
    return values


def test_the_training_loss_is_that_of_the_models_prediction(module, batch, monkeypatch):
    values = logged(module, monkeypatch)
    loss = module.eval().training_step(batch, 0)
    expected = segmentation_loss(module.model.predict(batch.images, batch.prompts), batch.masks, module.config.loss)
    torch.testing.assert_close(loss, expected)
    assert values == {"train_loss": pytest.approx(expected.item())}
    assert loss.requires_grad


@torch.no_grad()
def test_validation_scores_the_models_mask_at_one_half(module, batch, monkeypatch):
    values = logged(module, monkeypatch)
    module.eval().validation_step(batch, 0)
    mask = torch.sigmoid(module.model(batch.images, batch.prompts)[:, 0]) > 0.5
    expected = dice(mask, batch.masks[:, 0].bool()).mean()
    assert values["val_dice"] == pytest.approx(expected.item(), abs=1e-6)
    assert values.keys() == {"val_dice", "val_loss"}


def test_noise_on_the_words_moves_training_and_not_validation(build_tiny, batch, monkeypatch):
    model = build_tiny("pocket").freeze("text").eval()
    still, noisy = (SegmentationModule(model, TrainConfig(text_noise=noise), 1).eval() for noise in (0.0, 0.5))
    losses = []
    for module in (still, noisy):
        values = logged(module, monkeypatch)
        module.validation_step(batch, 0)
        losses.append((values["val_loss"], module.training_step(batch, 0).item()))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


@pytest.mark.parametrize(("frozen", "calls"), [(("text",), [["lungs"], ["polyp"]]), ((), [PROMPTS, PROMPTS])])
def test_only_a_frozen_text_encoder_is_asked_once_a_prompt(build_tiny, batch, monkeypatch, frozen, calls):
    model, asked = build_tiny("pocket").freeze(*frozen), []
    module, encode = SegmentationModule(model, TrainConfig(), 1), model.encode_text
    monkeypatch.setattr(model, "encode_text", lambda prompts: asked.append(list(prompts)) or encode(prompts))
    logged(module, monkeypatch)
    module.training_step(batch, 0)
    module.training_step(batch, 1)
    assert asked == calls


def test_a_batch_keeps_its_prompts_when_it_moves(module, batch):
    moved = module.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert moved.images.is_meta
    assert moved.masks.is_meta
    assert moved.prompts == PROMPTS


def test_a_mean_is_over_examples_not_over_batches():
    mean = ExampleMean()
    for value, count in ((1.0, 3), (2.0, 1)):
        mean.update(torch.tensor(value), count)
    assert mean.compute() == 1.25
    mean.update(torch.tensor(torch.nan), 1)
    assert mean.compute().isnan()


def test_alone_a_process_counts_whole(module):
    assert module.share_of_step(3) == 1.0


def test_the_larger_part_of_a_batch_counts_more(module, monkeypatch):
    """Three examples here and two elsewhere: the mean of both gradients is then the mean over all five."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda count: count.add_(2))
    assert module.share_of_step(3) / 2 == pytest.approx(3 / 5)


CONFIG = FitConfig(learning_rate=0.1, weight_decay=0.2, freeze=())


def rates(model, config: FitConfig) -> dict[str, float]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[each]: group["lr"] for group in group_parameters(model, config) for each in group["params"]}


def test_what_is_frozen_is_not_optimised(build_tiny):
    model = build_tiny("pocket").freeze("text")
    optimizer = build_optimizer(model, CONFIG, 10, "val_dice")["optimizer"]
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.2)
    frozen = set(model.sentences.parameters())
    assert set(group["params"]) == set(model.parameters()) - frozen


def test_encoders_take_their_share_and_lower_blocks_less(build_tiny):
    model = build_tiny("clipseg").freeze()
    found = rates(model, FitConfig(learning_rate=1.0, encoder_lr_scale=0.5, layer_decay=0.1))
    assert found.keys() == dict(model.named_parameters()).keys()
    vision = {name: rate for name, rate in found.items() if name.startswith("vision.")}
    blocks = sorted({rate for name, rate in vision.items() if ".layers." in name or ".blocks." in name})
    assert blocks == pytest.approx([0.5 * 0.1**depth for depth in reversed(range(len(blocks)))])
    assert min(vision.values()) == pytest.approx(blocks[0] / 10)
    assert {rate for name, rate in found.items() if name.startswith("decoder.")} == {1.0}


def test_a_decay_of_1_is_one_group(build_tiny):
    assert len(group_parameters(build_tiny("clipseg").freeze(), CONFIG)) == 1


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({}, 50), ({"accumulate": 4}, 15), ({"max_steps": 7}, 7), ({"max_steps": 70}, 50)],
)
def test_the_steps_of_a_run(settings, steps):
    assert count_steps(FitConfig(max_epochs=5, **settings), batches=10) == steps


def test_the_cosine_rises_then_falls_to_0():
    curve = [cosine(step, 100, 0.1) for step in range(101)]
    assert curve[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert curve[10] == 1.0
    assert curve[55] == pytest.approx(0.5)
    assert curve[100] == pytest.approx(0)
    assert all(after < before for before, after in zip(curve[10:], curve[11:], strict=False))
    assert cosine(200, 100, 0.1) == pytest.approx(0)
    assert math.isfinite(cosine(0, 1, 0.0))


@pytest.mark.parametrize(("schedule", "last"), [("one_cycle", 0.1 / 25 / 1e4), ("cosine", 0.0)])
def test_each_group_keeps_its_share_along_the_schedule(build_tiny, schedule, last):
    config = FitConfig(learning_rate=0.1, encoder_lr_scale=0.5, schedule=schedule)
    setting = build_optimizer(build_tiny("clipseg").freeze(), config, 20, "val_dice")
    optimizer, scheduler = setting["optimizer"], setting["lr_scheduler"]["scheduler"]
    assert setting["lr_scheduler"]["interval"] == "step"
    seen = []
    for _ in range(20):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step() if len(seen) < 20 else None
    assert all(max(pair) == pytest.approx(2 * min(pair)) for pair in seen)
    assert max(map(max, seen)) == pytest.approx(0.1)
    assert max(seen[-1]) == pytest.approx(last, abs=2e-3)


def test_the_plateau_watches_the_metric(build_tiny):
    setting = build_optimizer(build_tiny("clipseg"), CONFIG, 20, "val_dice")["lr_scheduler"]
    assert setting["monitor"] == "val_dice"
    assert isinstance(setting["scheduler"], torch.optim.lr_scheduler.ReduceLROnPlateau)


SHORT = TrainConfig(batch_size=2, max_epochs=1)


def test_the_fingerprint_is_of_the_frozen_weights_alone(build_tiny):
    model, other = build_tiny("clipseg"), build_tiny("clipseg", seed=1)
    before = fingerprint_encoders(model, ["image", "text"])
    assert fingerprint_encoders(build_tiny("clipseg"), ["text", "image"]) == before
    assert len({before, fingerprint_encoders(model, ["image"]), fingerprint_encoders(other, ["image", "text"])}) == 3
    torch.nn.init.zeros_(model.decoder.to_logits[0].weight)
    assert fingerprint_encoders(model, ["image", "text"]) == before


def test_the_split_state_is_that_of_the_encoders(build_tiny):
    model = build_tiny("ensemble_c").freeze("image")
    names = split_state(model)[0]
    assert len(names) == sum(len(module.state_dict()) for module in model.encoder_modules("image"))
    assert all(".vision." in name for name in names)
    assert split_state(model.freeze())[0] == {}


def test_the_state_to_resume_from_leaves_frozen_encoders_out(build_tiny, tiny_dataset, tmp_path):
    model = build_tiny("clipseg")
    fit(model, [tiny_dataset], tmp_path, SHORT)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[1] for name in kept if name.startswith("model.")} == {"decoder"}


def test_a_run_is_not_resumed_with_other_frozen_weights(build_tiny, tiny_dataset, tmp_path):
    fit(build_tiny("clipseg"), [tiny_dataset], tmp_path, SHORT)
    longer = dataclasses.replace(SHORT, max_epochs=2)
    with pytest.raises(
        ConfigError, match=r"other weights in its frozen encoders: expected SHA-256 .*, got .*Resume with"
    ):
        fit(build_tiny("clipseg", seed=9), [tiny_dataset], tmp_path, longer, RuntimeOptions(resume=True))
    assert fit(build_tiny("clipseg"), [tiny_dataset], tmp_path, longer, RuntimeOptions(resume=True)).epochs == 2
