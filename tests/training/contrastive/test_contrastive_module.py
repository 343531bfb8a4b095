import pytest
import torch

from vesalius.prompts.anatomy import ORGANS, STATIONS, AnatomyLabel, Statement
from vesalius.training.contrastive import ContrastiveConfig, ContrastiveModule, match, top1_hits

LABEL = AnatomyLabel("CT", None, "axial", frozenset({"chest"}), frozenset({"lungs"}), frozenset({"heart"}))


def groups_of(module: ContrastiveModule) -> list[dict]:
    return module.configure_optimizers()["optimizer"].param_groups


def test_a_first_name_is_right_if_it_shows_and_uncertain_names_are_passed_over():
    scores = torch.zeros(3, len(ORGANS))
    scores[0, ORGANS.index("lungs")] = 1
    scores[1, ORGANS.index("heart")], scores[1, ORGANS.index("lungs")] = 2, 1
    scores[2, ORGANS.index("knee")] = 1
    assert top1_hits(scores, [LABEL] * 3, "organs").tolist() == [1, 1, 0]


def test_slices_that_show_nothing_known_do_not_count():
    assert top1_hits(torch.rand(2, len(STATIONS)), [LABEL, AnatomyLabel("CT")], "stations").shape == (1,)


def test_what_is_true_and_known_follows_from_labels():
    true, known = match([LABEL], [Statement("CT"), Statement("MR"), Statement(organs=frozenset({"heart"}))])
    assert true.tolist() == [[True, False, False]]
    assert known.tolist() == [[True, True, False]]


def test_the_temperature_is_held_at_a_hundred(build_tiny):
    module = ContrastiveModule(build_tiny("clip_vit_b32"), ContrastiveConfig(), steps=1)
    with torch.no_grad():
        module.model.log_scale.fill_(9.0)
    module.on_train_batch_end(None, None, 0)
    torch.testing.assert_close(module.log_scale.exp(), torch.tensor(100.0))


def test_only_matrices_decay_and_the_text_tower_moves_more_slowly(build_tiny):
    module = ContrastiveModule(build_tiny("clip_vit_b32"), ContrastiveConfig(learning_rate=1e-3), steps=10)
    groups = module.configure_optimizers()["optimizer"].param_groups
    rate_and_decay = {
        id(each): (group["initial_lr"], group["weight_decay"]) for group in groups for each in group["params"]
    }
    assert rate_and_decay[id(module.model.log_scale)] == (1e-3, 0.0)
    assert rate_and_decay[id(module.model.image.projection.weight)] == (1e-3, 0.1)
    assert {rate_and_decay[id(each)][0] for each in module.model.text.parameters()} == {5e-4}
    assert all(rate_and_decay[id(each)][1] == 0.1 * (each.dim() > 1) for each in module.model.parameters())


def test_siglip_trains_its_bias_from_where_the_first_batch_puts_it(build_tiny):
    config = ContrastiveConfig.from_dict({"loss": {"kind": "siglip"}})
    module = ContrastiveModule(build_tiny("clip_vit_b32"), config, steps=10)
    trained = {
        id(each) for group in module.configure_optimizers()["optimizer"].param_groups for each in group["params"]
    }
    assert id(module.bias) in trained
    assert id(module.organ_bias) not in trained
    module._start(torch.full((4, 4), 5.0), torch.eye(4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool))
    first = module.bias.item()
    assert torch.sigmoid(torch.tensor(5 + first)).item() == pytest.approx(0.25, abs=1e-3)
    module._start(torch.zeros(4, 4), torch.eye(4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool))
    assert module.bias.item() == first
