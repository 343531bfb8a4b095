import math

import pytest
import torch

from vesalius.training.config import FitConfig
from vesalius.training.module import build_optimizer, cosine, count_steps, group_parameters

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
