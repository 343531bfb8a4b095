"""ONNX Runtime and PyTorch give the same answers; planes are resampled as in PyTorch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from vesalius.errors import ConfigError, ModelError
from vesalius.knowledge import Knowledge
from vesalius.models import build_model
from vesalius.models.checkpoint_file import EMBEDDED_GRAPHS, PHRASES, SCALE, find_checkpoint, read_notes
from vesalius.models.checkpoints import load_segmenter, save_model
from vesalius.models.encoder import ImageFeatures, resize
from vesalius.naming.phrasebook import list_naming_phrases
from vesalius.predict import Predictor
from vesalius.prompts.phrase_vectors import list_phrases, read_phrase_vectors
from vesalius.runtime import open_runtime
from vesalius.runtime.contract import EncodedImages, FeatureCache, resize_plane, resize_rgb, sigmoid
from vesalius.runtime.onnx import CONTENTS, OnnxRuntime
from vesalius.runtime.torch import TorchRuntime

RGB = np.random.default_rng(0).random((2, 230, 301, 3)).astype(np.float32)
PHRASES_ASKED = ["polyp", "one small white polyp, located in the centre of the image", "left kidney"]


@pytest.fixture(scope="module")
def onnx() -> OnnxRuntime:
    return open_runtime("pocket")


@pytest.fixture(scope="module")
def in_torch() -> TorchRuntime:
    return open_runtime("pocket", runtime="torch", device="cpu")


def test_pocket_runs_in_onnx_runtime_unless_told_otherwise(onnx, in_torch):
    assert (onnx.name, in_torch.name) == ("onnx", "torch")
    for attribute in ("image_size", "reads_text", "judges_existence", "logit_scale", "device"):
        assert getattr(onnx, attribute) == getattr(in_torch, attribute)


@pytest.mark.slow
def test_images_phrases_and_outlines_are_the_same(onnx, in_torch):
    ours, theirs = (each.encode_image(RGB) for each in (onnx, in_torch))
    np.testing.assert_allclose(ours.vectors, theirs.vectors, atol=1e-5)
    np.testing.assert_allclose(onnx.embed_image(RGB), ours.vectors, atol=1e-5)
    said, meant = (each.encode_text(PHRASES_ASKED) for each in (onnx, in_torch))
    np.testing.assert_allclose(said.vectors, meant.vectors, atol=1e-5)
    one, other = (each.decode(each.encode_image(RGB[:1]), each.encode_text(PHRASES_ASKED)) for each in (onnx, in_torch))
    assert one.logits.shape == (3, 160, 160)
    np.testing.assert_allclose(one.logits, other.logits, atol=2e-3)
    np.testing.assert_allclose(one.existence, other.existence, atol=1e-3)


@pytest.mark.slow
def test_a_fine_tuned_checkpoint_runs_on_the_same_graphs(tmp_path):
    model = load_segmenter("pocket")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.05 * torch.rand_like(parameter))
    save_model(model, tmp_path / "model.safetensors")
    tuned, packed = open_runtime(tmp_path), open_runtime("pocket")
    assert tuned.name == "onnx"
    theirs = TorchRuntime(model)
    for runtime, same in ((tuned, True), (packed, False)):
        found = runtime.decode(runtime.encode_image(RGB[:1]), runtime.encode_text(PHRASES_ASKED))
        wanted = theirs.decode(theirs.encode_image(RGB[:1]), theirs.encode_text(PHRASES_ASKED))
        assert np.allclose(found.logits, wanted.logits, atol=2e-3) == same


def test_a_model_of_another_size_runs_in_pytorch(tmp_path, build_tiny):
    save_model(build_tiny("pocket"), tmp_path / "model.safetensors")
    assert open_runtime(tmp_path).name == "torch"
    with pytest.raises(ConfigError, match="--runtime onnx runs pocket's architecture only"):
        open_runtime(tmp_path, runtime="onnx")


@pytest.mark.parametrize(("device", "precision"), [("cuda", "32"), ("cpu", "bf16-mixed")])
def test_onnx_runtime_refuses_what_it_does_not_do(device, precision):
    with pytest.raises(ConfigError, match="computes on the CPU in 32-bit floats"):
        open_runtime("pocket", runtime="onnx", device=device, precision=precision)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"runtime": "ONNX"}, "runtime: expected one of auto, onnx, torch, got 'ONNX'"),
        ({"runtime": None}, "runtime: .* got None"),
        ({"precision": "fp16"}, "precision: expected one of 32, 16-mixed, bf16-mixed, got 'fp16'"),
        ({"threads": -1}, "threads: expected a whole number, 0 for all cores, got -1"),
        ({"threads": 1.5}, "threads: .* got 1.5"),
    ],
)
def test_settings_that_do_not_exist_are_refused(bright, setting, told):
    for model in ("pocket", bright):
        with pytest.raises(ConfigError, match=told):
            Predictor(model, **setting)


@pytest.mark.slow
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"--device cuda:77: is not on this machine; there are: cpu"):
        open_runtime("pocket", device="cuda:77")
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda"):
        open_runtime("pocket", device="quantum")


@pytest.mark.slow
def test_half_precision_hardly_changes_an_answer(in_torch):
    halves = open_runtime("pocket", device="cpu", precision="bf16-mixed")
    assert halves.name == "torch"
    found, wanted = (
        each.decode(each.encode_image(RGB[:1]), each.encode_text(["polyp"])).existence for each in (halves, in_torch)
    )
    assert found == pytest.approx(wanted, abs=1)


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    """Pocket's tensors as its file has them."""
    return load_file(find_checkpoint("pocket"))


MATRIX, CONVOLUTION = "sentences.layers.1.up.weight", "outline.steer.weight"
DAMAGES = {
    "a tensor less": ({CONVOLUTION: None}, rf"missing.*{CONVOLUTION}"),
    "a tensor more": ({"other.weight": np.zeros(2, np.float32)}, r"unexpected.*other\.weight"),
    "no scales": ({MATRIX + SCALE: None}, rf"{MATRIX} \[1536, 384\] is stored in 8 bits; .* got nothing\."),
    "scales of columns": ({MATRIX + SCALE: np.ones((1, 384), np.float32)}, r"got F32 \[1, 384\]"),
    "scales of whole numbers": ({MATRIX + SCALE: np.ones((1536, 1), np.int64)}, r"got I64 \[1536, 1\]"),
    "needless scales": ({CONVOLUTION + SCALE: np.ones((1, 1), np.float32)}, rf"unexpected.*{CONVOLUTION}{SCALE}"),
    "whole numbers": ({CONVOLUTION: np.int64}, rf"(F16, F32, F64 or scaled I8|not real numbers).*{CONVOLUTION}"),
    "yes and no": ({CONVOLUTION: np.bool_}, rf"(F16, F32, F64 or scaled I8|not real numbers).*{CONVOLUTION}"),
}


def damage(folder: Path, stored: dict[str, np.ndarray], changes: dict[str, object]) -> Path:
    """Write pocket with some tensors left out, added, or made numbers of another type."""
    state = dict(stored)
    for name, change in changes.items():
        state[name] = stored[name].astype(change) if isinstance(change, type) else change
    header = {"vesalius": json.dumps({"name": "pocket", "options": {}}), "notes": "{}"}
    save_file({name: value for name, value in state.items() if value is not None}, folder / "model.safetensors", header)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize(("changes", "told"), DAMAGES.values(), ids=DAMAGES)
def test_a_checkpoint_of_other_tensors_is_refused_when_it_is_opened(tmp_path, stored, runtime, changes, told):
    with pytest.raises(ModelError, match=told):
        open_runtime(damage(tmp_path, stored, changes), runtime=runtime, device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("change", [lambda value: value[:-1], lambda value: value[:1], lambda value: value[None]])
def test_a_checkpoint_of_other_shapes_is_refused_when_it_is_run(tmp_path, stored, change):
    norm = next(name for name in stored if name.endswith(".running_var"))
    convolution = norm.replace(".1.running_var", ".0.weight")
    for name in (norm, convolution):
        runtime = open_runtime(damage(tmp_path, stored, {name: change(stored[name])}))
        with pytest.raises(ModelError, match=r"model\.safetensors(: its tensors do not have the shape| do not fit it)"):
            runtime.encode_image(RGB[:1])


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"settings": [], "bindings": {}}'])
def test_a_damaged_file_of_the_package_is_not_blamed_on_weights(tmp_path, monkeypatch, content):
    graphs = shutil.copytree(EMBEDDED_GRAPHS["pocket"], tmp_path / "graphs")
    monkeypatch.setitem(EMBEDDED_GRAPHS, "pocket", graphs)
    (graphs / "image.onnx").unlink()
    with pytest.raises(ModelError, match=r"image\.onnx.*install Vesalius again") as refused:
        open_runtime("pocket").encode_image(RGB[:1])
    assert "fine-tune" not in str(refused.value)
    (graphs / CONTENTS).write_text(content)
    with pytest.raises(ModelError, match=r"graphs\.json: cannot be read .*install Vesalius again"):
        open_runtime("pocket")


@pytest.mark.slow
def test_phrases_at_hand_are_those_that_the_encoder_gives():
    """Made anew by experiments/pocket/phrases.py when words change."""
    known = read_phrase_vectors(PHRASES)
    asked = {*(phrase for _, phrase in list_phrases()), *list_naming_phrases()}
    assert asked == known.keys()
    some = sorted(asked)[::150]
    vectors = open_runtime("pocket", runtime="torch", device="cpu").encode_text(some).vectors
    np.testing.assert_allclose(np.stack([known[each] for each in some]), vectors, atol=1e-6)


def test_vectors_are_forgotten_in_time(monkeypatch):
    monkeypatch.setattr("vesalius.runtime.onnx.REMEMBERED", 2)
    runtime = open_runtime("pocket")
    first = runtime.encode_text(["polyp", "lungs", "liver"]).vectors
    assert first.shape == (3, 384)
    np.testing.assert_array_equal(runtime.encode_text(["polyp"]).vectors[0], first[0])


def test_graphs_say_where_every_number_comes_from():
    contents = json.loads((EMBEDDED_GRAPHS["pocket"] / CONTENTS).read_text(encoding="utf-8"))
    assert contents["bindings"].keys() == {"image", "vector", "text", "decoder"}
    assert contents["settings"]["image_size"] == build_model("pocket").spec.image_size
    assert sum(path.stat().st_size for path in EMBEDDED_GRAPHS["pocket"].iterdir()) < 500_000


def test_a_model_in_memory_stays_in_pytorch_and_its_notes_are_not_read(build_tiny):
    predictor = Predictor(build_tiny("pocket"))
    assert predictor.runtime.name == "torch"
    assert not predictor.knowledge.targets
    assert len(Predictor("pocket").knowledge.targets) == len(read_notes(find_checkpoint("pocket"))["targets"])


@pytest.mark.slow
def test_segmenting_and_naming_need_no_pytorch(tmp_path, picture):
    """As where only the core is installed: importing any of these fails."""
    script = f"""
import sys
sys.modules.update(dict.fromkeys(("torch", "pytorch_lightning", "torchmetrics", "instant_clip_tokenizer", "pyarrow")))
sys.modules.update(dict.fromkeys(("onnx", "openvino", "scipy")))
from vesalius.cli import main
main(["segment", {str(picture)!r}, "polyp", "a polyp with a stalk", "-o", {str(tmp_path / "out")!r}])
main(["segment", {str(picture)!r}, "-p", "polyp", "-o", {str(tmp_path / "many")!r}])
main(["name", {str(picture)!r}])
main(["models", "pocket"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(Path(tmp_path / "out").glob("*.mask.png"))) == 2
    assert len(list(Path(tmp_path / "many").glob("*.mask.png"))) == 1


@pytest.mark.slow
def test_what_needs_pytorch_says_how_to_install_it(picture):
    script = """
import sys
sys.modules.update(dict.fromkeys(("torch", "pytorch_lightning")))
from vesalius.cli import main
main({arguments})
"""
    for arguments in (
        ["segment", str(picture), "polyp", "--device", "cuda"],
        ["evaluate", "pocket", "--data", "folder"],
    ):
        code = script.replace("{arguments}", repr(arguments))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 2
        assert "pip install 'vesalius[train]'" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.fixture
def picture(tmp_path) -> Path:
    from vesalius.imaging import write_rgb

    write_rgb(tmp_path / "picture.png", (RGB[0] * 255).astype(np.uint8))
    return tmp_path / "picture.png"


@pytest.mark.parametrize("size", [(37, 53), (20, 20), (11, 160), (200, 31), (331, 257)])
def test_planes_are_resampled_as_in_pytorch(size):
    plane = np.random.default_rng(0).normal(size=(37, 53)).astype(np.float32)
    wanted = resize(torch.from_numpy(plane)[None, None], size)[0, 0].numpy()
    np.testing.assert_allclose(resize_plane(plane, size), wanted, atol=2e-5)


def test_an_unknown_model_is_refused_with_those_that_outline():
    for opened in (open_runtime, Predictor, Knowledge.read):
        with pytest.raises(ModelError, match=r"Did you mean 'pocket'\? Available: pocket\. A checkpoint or a run's"):
            opened("pokcet")


@pytest.mark.parametrize("step", [1, 7, 100])
def test_bands_of_rows_are_rows_of_the_whole(step):
    plane = np.random.default_rng(0).normal(size=(16, 12)).astype(np.float32)
    bands = [resize_plane(plane, (101, 40), slice(row, min(row + step, 101))) for row in range(0, 101, step)]
    np.testing.assert_allclose(np.concatenate(bands), resize_plane(plane, (101, 40)), atol=1e-5)


def test_pictures_are_resampled_as_in_pytorch():
    rgb = np.random.default_rng(0).random((90, 70, 3)).astype(np.float32)
    wanted = resize(torch.from_numpy(rgb).permute(2, 0, 1)[None], (32, 32))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(resize_rgb(rgb, 32), wanted, atol=1e-5)


def test_log_odds_of_any_size_become_probabilities():
    found = sigmoid(np.array([-1e30, -1.0, 0.0, 1.0, 1e30], np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 0.2689414, 0.5, 0.7310586, 1], atol=1e-6)


def test_features_of_pytorch_count_for_the_room_that_is_kept():
    features = ImageFeatures(torch.zeros(1, 4), (torch.zeros(1, 10, 10),), (ImageFeatures(torch.zeros(1, 1), ()),))
    cache, slices = FeatureCache(10_000), [object(), object()]
    for each in slices:
        cache.find(each, 0, lambda: EncodedImages(np.zeros((1, 2), np.float32), features))
    assert cache.nbytes == 2 * 4 * (2 + 4 + 100 + 1)
