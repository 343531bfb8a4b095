"""Weights of the original implementations, through our loaders, give the originals' answers.

``pytest -m slow -rP tests/models/foreign/test_parity.py`` prints the differences.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from from_tensors import segment_tensors
from safetensors.torch import save_file
from torch import Tensor

from vesalius.models import Segmenter, VisionLanguageEncoder
from vesalius.models.foreign import import_checkpoint

TOLERANCE = 1e-4
"""What the golden outputs' own note calls usual; 1e-3 is the most it allows."""
SMALL = {"unet_d"}
"""Quick enough for every run of the tests."""
LIGHTNING = {"epoch": 3, "global_step": 100, "hyper_parameters": {"root": Path("/data")}}

Write = Callable[[dict[str, Tensor], Path], object]


def bare(weights: dict[str, Tensor], path: Path) -> None:
    torch.save(weights, path)


def contained(weights: dict[str, Tensor], path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": weights}, path)


def half(weights: dict[str, Tensor], path: Path) -> None:
    torch.save({name: value.half() if value.is_floating_point() else value for name, value in weights.items()}, path)


def lightning(prefix: str) -> Write:
    def write(weights: dict[str, Tensor], path: Path) -> None:
        state = {f"{prefix}{name}": value for name, value in weights.items()}
        torch.save(LIGHTNING | {"state_dict": state}, path)

    return write


CASES: list[tuple[str, str, str, Write]] = [
    ("unet_d", "unet_d", "best.ckpt", lightning("net.")),
    ("clipseg_hf", "transformers-clipseg", "model.safetensors", save_file),
    ("clipseg_hf", "medvlsm-clipseg", "best.ckpt", lightning("net.clipseg.")),
    ("biomedclip_open_clip", "open_clip-biomedclip", "open_clip_pytorch_model.bin", bare),
    ("biomedclipseg_medvlsm", "medvlsm-biomedclipseg", "best.ckpt", lightning("net.")),
    ("biomedclipseg_a_release", "vlsm-ensemble-a", "best.ckpt", lightning("net.")),
    ("cris_medvlsm", "medvlsm-cris", "cris.pt", lightning("module.")),
    ("cris_medvlsm", "medvlsm-cris", "best.ckpt", lightning("net.")),
    ("clip_vit_b32_openai", "openai-clip", "model.pt", bare),
    ("clip_vit_b32_openai", "pubmedclip", "PubMedCLIP_ViT32.pth", contained),
]


@pytest.fixture
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where to write half a gigabyte for a moment."""
    yield tmp_path / request.param
    (tmp_path / request.param).unlink()


def differences(model: VisionLanguageEncoder, golden) -> dict[str, Tensor]:
    """Ours minus the original's, for every output there is."""
    outputs, pixels = {name: torch.from_numpy(value) for name, value in golden.outputs.items()}, golden.image()
    ids = outputs.get("in_input_ids", torch.zeros(len(pixels), 0)).long()
    mask = outputs.get("in_attention_mask", ids != 0).long()
    if isinstance(model, Segmenter):
        logits = segment_tensors(model, pixels, ids, mask)
        expected = outputs["out_logits"].reshape(len(pixels), 1, *outputs["out_logits"].shape[-2:])
        step = logits.shape[-1] // expected.shape[-1]  # some were kept at every fourth pixel only
        return {"logits": logits[..., ::step, ::step] - expected}
    return {
        "image features": model.image(pixels) - outputs["out_image_features"],
        "text features": model.text(ids, mask) - outputs["out_text_features"],
    }


@pytest.mark.usefixtures("_published_unet")
@pytest.mark.parametrize(
    ("name", "layout", "path", "write"),
    [pytest.param(*case, marks=() if case[0] in SMALL else pytest.mark.slow, id="-".join(case[:3])) for case in CASES],
    indirect=["path"],
)
@torch.no_grad()
def test_answers_equal_those_of_the_original(golden, name, layout, path, write):
    write(golden(name).weights(), path)
    model = import_checkpoint(path, layout)
    assert not model.training
    for output, difference in differences(model, golden(name)).items():
        line = f"{model.recipe.name} from {layout}, {output}: max |difference| {difference.abs().max():.1e}"
        print(line)  # noqa: T201 - pytest shows it when asked
        assert difference.abs().max() <= TOLERANCE


@pytest.mark.slow
@torch.no_grad()
def test_weights_of_16_bits_become_32_and_answer_nearly_alike(golden, tmp_path):
    half(golden("clip_vit_b32_openai").weights(), tmp_path / "half.pt")
    model = import_checkpoint(tmp_path / "half.pt", "openai-clip")
    (tmp_path / "half.pt").unlink()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    for difference in differences(model, golden("clip_vit_b32_openai")).values():
        assert 0 < difference.abs().max() < 0.05
