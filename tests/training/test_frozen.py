import dataclasses

import pytest
import torch

from vesalius.errors import ConfigError
from vesalius.training.config import TrainConfig
from vesalius.training.fit import fit
from vesalius.training.module import fingerprint_encoders, split_state
from vesalius.training.runtime_options import RuntimeOptions

CONFIG = TrainConfig(batch_size=2, max_epochs=1)


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
    fit(model, [tiny_dataset], tmp_path, CONFIG)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[1] for name in kept if name.startswith("model.")} == {"decoder"}


def test_a_run_is_not_resumed_with_other_frozen_weights(build_tiny, tiny_dataset, tmp_path):
    fit(build_tiny("clipseg"), [tiny_dataset], tmp_path, CONFIG)
    longer = dataclasses.replace(CONFIG, max_epochs=2)
    with pytest.raises(
        ConfigError, match=r"other weights in its frozen encoders: expected SHA-256 .*, got .*Resume with"
    ):
        fit(build_tiny("clipseg", seed=9), [tiny_dataset], tmp_path, longer, RuntimeOptions(resume=True))
    assert fit(build_tiny("clipseg"), [tiny_dataset], tmp_path, longer, RuntimeOptions(resume=True)).epochs == 2
