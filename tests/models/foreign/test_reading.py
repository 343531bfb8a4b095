import argparse
import functools
import os
import pickle
import zipfile
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vesalius.errors import ModelError
from vesalius.models.foreign import LAYOUTS, import_checkpoint
from vesalius.models.foreign.reading import read_foreign_tensors

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3).half(), "b": torch.tensor([3, 4])}


def assert_read(path: Path, expected: dict[str, Tensor] = WEIGHTS) -> None:
    tensors = read_foreign_tensors(path)
    assert tensors.keys() == expected.keys()
    for name, value in tensors.items():
        assert value.dtype == (torch.float32 if expected[name].is_floating_point() else expected[name].dtype)
        torch.testing.assert_close(value, expected[name].to(value.dtype), rtol=0, atol=0)


class Settings:
    """A class that the reading program does not have."""

    def __init__(self) -> None:
        self.note = torch.ones(2)


class Row(dict[str, int]):
    """A kind of dictionary that PyTorch's reader does not fill."""


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * self.scale


class TestFilesThatAreRead:
    def test_safetensors(self, tmp_path):
        save_file(WEIGHTS, tmp_path / "model.safetensors")
        assert_read(tmp_path / "model.safetensors")

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("container", [None, "state_dict", "model_state_dict"])
    def test_pytorch_bare_or_in_a_container_new_or_old(self, tmp_path, container, zipped):
        content = OrderedDict(WEIGHTS) if container is None else {"epoch": 3, "name": "x", container: WEIGHTS}
        torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
        assert_read(tmp_path / "model.pt")

    def test_parameters_come_without_their_gradients(self, tmp_path):
        torch.save({"w": nn.Parameter(torch.ones(2))}, tmp_path / "model.bin")
        assert not read_foreign_tensors(tmp_path / "model.bin")["w"].requires_grad

    @pytest.mark.parametrize(
        "settings",
        [
            functools.partial(torch.optim.AdamW, lr=1e-3),
            Path("/data/kvasir"),
            argparse.Namespace(lr=0.1, sizes=[torch.ones(1)]),
            Settings(),
            nn.Sequential(nn.Linear(2, 2), nn.Dropout()),
            {"nested": [Settings(), (Path("a"), {"deep": Settings})]},
        ],
        ids=["partial", "path", "namespace", "class", "module", "nested"],
    )
    def test_lightning_checkpoints_with_settings_of_any_class(self, tmp_path, settings):
        checkpoint = {
            "epoch": 7, "pytorch-lightning_version": "2.0.0", "hyper_parameters": {"net": settings},
            "callbacks": {"best": {"score": torch.tensor(0.5)}}, "optimizer_states": [{"state": {0: WEIGHTS["b"]}}],
            "state_dict": OrderedDict(WEIGHTS),
        }  # fmt: skip
        torch.save(checkpoint, tmp_path / "best.ckpt")
        assert_read(tmp_path / "best.ckpt")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript, in which OpenAI published CLIP
    @pytest.mark.parametrize("how", ["trace", "script"])
    def test_torchscript_archives(self, tmp_path, how):
        tower = Tower().eval().half()
        script = torch.jit.trace(tower, torch.ones(2, 3).half()) if how == "trace" else torch.jit.script(tower)
        script.save(tmp_path / "archive.pt")
        assert_read(tmp_path / "archive.pt", tower.state_dict())


class Attack:
    """What a pickle can do: run a command when it is read."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def write_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_old(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


class TestMalice:
    @pytest.mark.parametrize("write", [torch.save, write_old, write_pickle], ids=["zip", "old", "pickle"])
    @pytest.mark.parametrize("place", ["state_dict", "hyper_parameters", "bare"])
    @pytest.mark.parametrize("kind", ["system", "eval", "open"])
    def test_nothing_in_a_file_is_run(self, tmp_path, kind, place, write):
        proof = tmp_path / "ran"
        attack = {
            "system": Attack(os.system, f"touch {proof}"),
            "eval": Attack(eval, f"open({str(proof)!r}, 'w').close()"),
            "open": Attack(open, str(proof), "w"),
        }[kind]
        content = attack if place == "bare" else {"state_dict": dict(WEIGHTS)} | {place: {"x": attack}}
        path = tmp_path / "model.pt"
        write(content, path)
        try:
            assert set(read_foreign_tensors(path)) <= WEIGHTS.keys()
        except ModelError as error:
            assert "model.pt" in str(error)  # noqa: PT017 - either is right, as long as nothing ran
        assert not proof.exists()

    def test_the_attack_would_run_if_it_were_let(self, tmp_path):
        pickle.loads(pickle.dumps(Attack(os.system, f"touch {tmp_path / 'ran'}")))
        assert (tmp_path / "ran").exists()

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_code_in_a_torchscript_archive_is_not_even_parsed(self, tmp_path):
        tower = Tower().eval()
        torch.jit.script(tower).save(tmp_path / "good.pt")
        with zipfile.ZipFile(tmp_path / "good.pt") as good, zipfile.ZipFile(tmp_path / "bad.pt", "w") as bad:
            for entry in good.infolist():
                code = entry.filename.endswith(".py")
                bad.writestr(entry.filename, b"not even a program {" if code else good.read(entry))
        assert_read(tmp_path / "bad.pt", tower.state_dict())

    def test_what_was_allowed_for_one_file_is_not_allowed_afterwards(self, tmp_path):
        torch.save({"hyper_parameters": Settings(), "state_dict": WEIGHTS}, tmp_path / "best.ckpt")
        before = torch.serialization.get_safe_globals()
        read_foreign_tensors(tmp_path / "best.ckpt")
        assert torch.serialization.get_safe_globals() == before


class TestFilesThatAreRefused:
    @pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model.bin", "model.ckpt"])
    @pytest.mark.parametrize("content", [b"", b"hello, these are no weights at all\n", b"\x80\x02", bytes(4000)])
    def test_files_of_another_kind_are_named(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"{name}: damaged, not a file of weights"):
            read_foreign_tensors(tmp_path / name)

    @pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_a_file_that_was_cut_off_is_named(self, tmp_path, name, share):
        path = tmp_path / name
        (save_file if name.endswith("safetensors") else torch.save)({"w": torch.rand(100)}, path)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(ModelError, match=f"{name}: damaged"):
            read_foreign_tensors(path)

    def test_other_archives_are_named(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
            archive.writestr("word/document.xml", "<text/>")
        with pytest.raises(ModelError, match=r"model\.pt: damaged, not a file of weights"):
            read_foreign_tensors(tmp_path / "model.pt")

    @pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.ones(2)], torch.ones(2), "text"])
    def test_a_file_without_named_tensors_is_named(self, tmp_path, content):
        torch.save(content, tmp_path / "model.pt")
        with pytest.raises(ModelError, match=r"model\.pt: holds no tensors by name"):
            read_foreign_tensors(tmp_path / "model.pt")

    @pytest.mark.parametrize("settings", [defaultdict(int, a=1), deque([1]), Row(a=1)], ids=["default", "deque", "own"])
    def test_settings_that_cannot_be_read_safely_are_told_with_what_to_do(self, tmp_path, settings):
        torch.save({"hyper_parameters": settings, "state_dict": WEIGHTS}, tmp_path / "best.ckpt")
        with pytest.raises(ModelError, match=r"best\.ckpt: .*save the state_dict alone where it was made: torch\.save"):
            read_foreign_tensors(tmp_path / "best.ckpt")

    def test_a_module_that_holds_itself_is_named(self, tmp_path):
        tower = Settings()
        tower.itself = tower
        torch.save(tower, tmp_path / "model.pt")
        with pytest.raises(ModelError, match=r"model\.pt: damaged, .* \(RecursionError\)"):
            read_foreign_tensors(tmp_path / "model.pt")

    def test_a_missing_file_and_a_folder_are_named(self, tmp_path):
        for path in (tmp_path / "absent.pt", tmp_path):
            with pytest.raises(ModelError, match=f"{path.name}: no such file"):
                read_foreign_tensors(path)

    def test_nobody_is_told_to_read_it_unsafely(self, tmp_path):
        write_old(Attack(os.getcwd), tmp_path / "model.pt")
        with pytest.raises(ModelError) as caught:
            read_foreign_tensors(tmp_path / "model.pt")
        assert "weights_only" not in str(caught.value)
        assert "safe_globals" not in str(caught.value)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_not_imported(build_tiny, tmp_path, monkeypatch, wrong):
    model = build_tiny("unet_d")
    state = model.state_dict()
    name = next(iter(state))
    state[name] = state[name] * wrong
    torch.save(state, tmp_path / "diverged.pth")
    layout = SimpleNamespace(convert=lambda tensors: (model.recipe, tensors))
    monkeypatch.setitem(LAYOUTS, "unet_d", layout)
    with pytest.raises(ModelError, match=rf"diverged\.pth: 1 of its tensors hold what is .*not a number: {name}\. Get"):
        import_checkpoint(tmp_path / "diverged.pth", "unet_d")
