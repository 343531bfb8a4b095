import pytest
import torch
import torch.distributed as dist

from vesalius.data.views import Batch
from vesalius.evaluation.metrics import dice
from vesalius.training.config import TrainConfig
from vesalius.training.losses import segmentation_loss
from vesalius.training.module import ExampleMean, SegmentationModule

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
