import hashlib
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vesalius.cli import weights as weights_import
from vesalius.models import foreign, start
from vesalius.models import public_weights as sources
from vesalius.models.checkpoint_file import read_notes
from vesalius.models.checkpoints import load_model
from vesalius.models.foreign import LAYOUTS
from vesalius.models.public_weights import WeightSource, read_sources

WEIGHTS = b"weights" * 1000
SOURCES = {
    source.name: source
    for source in (
        WeightSource(
            name="tiny", title="Tiny weights", file="tiny.bin", models=("clipseg", "clipseg_b"), licence="MIT",
            layout="transformers-clipseg", url="https://example.org/tiny.bin",
            size=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        ),
        WeightSource(
            name="words", title="A vocabulary", file="vocab.txt", models=("biomedclip",), licence="MIT",
            url="https://example.org/vocab.txt",
        ),
    )
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The weights folder, empty; the registry holds ``tiny`` and ``words``."""
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sources, "read_sources", lambda: SOURCES)
    for name in ("VESALIUS_OFFLINE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "weights"


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Iterator[None]:
    """A plain web server with a copy of a weights folder."""
    copy = tmp_path / "mirror"
    (copy / "tiny").mkdir(parents=True)
    (copy / "tiny" / "tiny.bin").write_bytes(WEIGHTS)
    (copy / "words").mkdir()
    (copy / "words" / "vocab.txt").write_text("[PAD]\n")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(copy))) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("VESALIUS_MIRROR", f"http://127.0.0.1:{http.server_port}")
        yield
        http.shutdown()
        thread.join()


def place(folder: Path, content: bytes = WEIGHTS) -> Path:
    path = folder / "tiny" / "tiny.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_list_shows_what_there_is_for_which_models_and_whether_it_is_here(run, folder):
    place(folder)
    code, out, err = run("weights", "list")
    assert code == 0
    tiny, words = (next(line for line in out.splitlines() if name in line) for name in ("tiny", "words"))
    assert all(part in tiny for part in ("Tiny weights", "clipseg_b", "MIT", "yes"))
    assert "no" in words
    assert str(folder) in err


def test_list_shows_a_file_that_was_cut_off(run, folder):
    place(folder, WEIGHTS[:10])
    _, out, _ = run("weights", "list")
    assert "cut off" in out


def test_list_as_json_has_addresses_and_checksums(run, folder):
    code, out, _ = run("weights", "list", "--json")
    assert code == 0
    content = json.loads(out)
    assert content["folder"] == str(folder)
    assert content["weights"][0] | {"size": 7000} == {
        "name": "tiny", "title": "Tiny weights", "file": "tiny.bin", "models": ["clipseg", "clipseg_b"],
        "licence": "MIT", "layout": "transformers-clipseg", "hub": None, "revision": None, "page": None,
        "url": "https://example.org/tiny.bin", "address": "https://example.org/tiny.bin", "size": 7000,
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(), "path": str(folder / "tiny" / "tiny.bin"), "here": False,
    }  # fmt: skip


def test_path_prints_the_path_alone_and_how_to_fill_it(run, folder):
    code, out, err = run("weights", "path", "tiny")
    assert (code, out) == (0, f"{folder / 'tiny' / 'tiny.bin'}\n")
    assert "vesalius weights fetch tiny" in err
    place(folder)
    assert run("weights", "path", "tiny") == (0, out, "")


def test_path_as_json_says_whether_it_is_here(run, folder):
    _, out, _ = run("weights", "path", "tiny", "--json")
    assert json.loads(out) == {"name": "tiny", "path": str(folder / "tiny" / "tiny.bin"), "here": False}


@pytest.mark.usefixtures("mirror")
def test_fetch_brings_several_and_leaves_what_is_here(run, folder):
    code, _, err = run("weights", "fetch", "tiny")
    assert code == 0
    assert "tiny: fetched and checked" in err
    code, _, err = run("weights", "fetch", "words")  # whose checksum nobody published
    assert "words: fetched:" in err
    (folder / "words" / "vocab.txt").unlink()
    code, _, err = run("weights", "fetch", "words")
    assert "words: fetched and checked:" in err
    (folder / "words" / "vocab.txt").unlink()
    code, out, _ = run("weights", "fetch", "tiny", "words", "--json")
    assert code == 0
    rows = json.loads(out)["weights"]
    assert [(row["name"], row["fetched"]) for row in rows] == [("tiny", False), ("words", True)]
    assert (folder / "words" / "vocab.txt").read_text() == "[PAD]\n"
    assert Path(rows[0]["path"]).read_bytes() == WEIGHTS


@pytest.mark.usefixtures("mirror")
def test_fetch_looks_up_every_name_before_it_downloads(run, folder):
    code, _, err = run("weights", "fetch", "tiny", "word")
    assert code == 2
    assert "Did you mean 'words'?" in err
    assert not folder.exists()


def test_verify_gives_0_for_unchanged_and_1_for_changed_files(run, folder):
    path = place(folder)
    code, out, _ = run("weights", "verify")
    assert code == 0
    assert "unchanged" in out
    path.write_bytes(b"edited")
    code, out, err = run("weights", "verify", "tiny")
    assert code == 1
    assert "changed" in out
    assert f"{path}: sha256" in err
    assert "fetch it again" in err


def test_verify_as_json_has_the_checksums(run, folder):
    place(folder, b"edited")
    code, out, _ = run("weights", "verify", "--json")
    assert code == 1
    (row,) = json.loads(out)["weights"]
    assert row["sha256"] == hashlib.sha256(b"edited").hexdigest()
    assert row["expected"] == SOURCES["tiny"].sha256
    assert row["finding"] == "changed"


def test_verify_says_when_there_is_nothing(run):
    code, out, err = run("weights", "verify")
    assert (code, out) == (0, "")
    assert "No public weights in" in err


@pytest.fixture
def imported(monkeypatch, build_tiny) -> list[tuple[Path, str]]:
    """What was asked to be imported; the answer is always the same tiny CLIPSeg."""
    calls = []

    def import_checkpoint(path: Path, layout: str):
        calls.append((path, layout))
        return build_tiny("clipseg")

    monkeypatch.setattr(foreign, "import_checkpoint", import_checkpoint)
    return calls


def test_import_writes_a_checkpoint_and_says_how_to_use_it(run, imported, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    code, _, err = run(
        "weights", "import", "model.bin", "--as", "transformers-clipseg", "--out", "new/ours.safetensors"
    )
    assert code == 0
    assert imported == [(Path("model.bin"), "transformers-clipseg")]
    assert "clipseg, " in err
    assert "M parameters, from model.bin" in err
    assert "vesalius segment IMAGE PROMPT --model new/ours.safetensors" in err
    assert load_model(tmp_path / "new" / "ours.safetensors").recipe.name == "clipseg"
    notes = read_notes(tmp_path / "new" / "ours.safetensors")
    assert notes == {
        "imported_from": "model.bin", "layout": "transformers-clipseg", "sha256": hashlib.sha256(b"x").hexdigest()
    }  # fmt: skip


def test_import_replaces_a_file_only_when_asked(run, imported, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    (tmp_path / "thesis.txt").write_text("precious")
    arguments = ["weights", "import", "model.bin", "--as", "transformers-clipseg", "--out", "thesis.txt"]
    code, out, err = run(*arguments)
    assert (code, out, imported) == (2, "", [])
    assert "thesis.txt: there already; choose another name, or replace with --overwrite" in err
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    assert run(*arguments, "--overwrite")[0] == 0
    assert load_model(tmp_path / "thesis.txt").recipe.name == "clipseg"


def test_import_of_public_weights_knows_their_layout(run, imported, folder):
    path = place(folder)
    code, out, _ = run("weights", "import", "tiny", "--out", "ours.safetensors", "--json")
    assert code == 0
    assert imported == [(path, "transformers-clipseg")]
    content = json.loads(out)
    assert content["model"] == "clipseg"
    assert content["parameters"] > 1000
    assert content["sha256"] == SOURCES["tiny"].sha256


def test_import_of_an_encoder_does_not_promise_masks(run, monkeypatch, build_tiny, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    monkeypatch.setattr(foreign, "import_checkpoint", lambda path, layout: build_tiny("clip_vit_b32"))
    code, _, err = run("weights", "import", "model.bin", "--as", "openai-clip", "--out", "clip.safetensors")
    assert code == 0
    assert "outlines nothing" in err
    assert "vesalius.load_model('clip.safetensors')" in err


WRONG = {
    "nothing to fetch": (["fetch"], "Available: tiny, words"),
    "unknown weights": (["path", "tinny"], "Did you mean 'tiny'?"),
    "weights to verify that are not here": (["verify", "tiny"], "it belongs at"),
    "a missing file": (["import", "none.bin", "--as", "unet_d", "--out", "o"], "none.bin: no such file"),
    "a missing download": (["import", "tiny", "--out", "o"], "tiny is not on this machine"),
    "no layout": (["import", "some.bin", "--out", "o"], "say with --as who wrote it"),
    "an unknown layout": (["import", "some.bin", "--as", "unet-d", "--out", "o"], "Did you mean 'unet_d'?"),
    "a file onto itself": (["import", "some.bin", "--as", "unet_d", "--out", "./some.bin"], "would be lost"),
    "no weights at all": (["import", "some.bin", "--as", "unet_d", "--out", "o"], "some.bin"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gets_exit_code_2_and_writes_nothing(run, case, tmp_path):
    arguments, message = WRONG[case]
    (tmp_path / "some.bin").write_text("no weights")
    code, out, err = run("weights", *arguments)
    assert code == 2
    assert out == ""
    assert err.lstrip().startswith("error: ")
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["some.bin"]


def test_a_vocabulary_is_not_imported(run, folder):
    (folder / "words").mkdir(parents=True)
    (folder / "words" / "vocab.txt").write_text("[PAD]\n")
    code, _, err = run("weights", "import", "words", "--out", "o")
    assert code == 2
    assert "a vocabulary is used as it is" in err


def test_help_names_every_layout():
    assert all(layout in weights_import.weights_import.__doc__ for layout in LAYOUTS)


@pytest.mark.parametrize("command", ["fetch", "path", "verify"])
def test_examples_name_weights_that_exist(command):
    said = re.findall(rf"vesalius weights {command} (\S+)", getattr(weights_import, f"weights_{command}").__doc__)
    assert said
    assert set(said) <= read_sources().keys()


def test_every_layout_of_the_registry_can_be_imported():
    assert {source.layout for source in read_sources().values()} - {None} <= LAYOUTS.keys()


def test_fetch_brings_all_that_a_model_starts_from(run, folder, mirror, monkeypatch):
    monkeypatch.setattr(start, "needed_weights", lambda name: ["tiny", "words"] if name == "ensemble_c" else [])
    code, out, _ = run("weights", "fetch", "tiny", "--for", "ensemble_c", "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(out)["weights"]] == ["tiny", "words"]
    assert (folder / "words" / "vocab.txt").is_file()


@pytest.mark.parametrize("model", ["ensemble_c", "clip_rn50"])
def test_the_name_of_a_model_is_no_file_and_the_option_is_told(run, model, monkeypatch):
    monkeypatch.setattr(sources, "read_sources", read_sources)
    code, _, err = run("weights", "fetch", model)
    assert code == 2
    assert f"{model} is a model; fetch what it starts from with: vesalius weights fetch --for {model}" in err


@pytest.mark.parametrize("model", ["pocket", "unet_d"])
def test_a_model_without_public_weights_has_nothing_to_fetch(run, model):
    for arguments in (["--for", model], [model]):
        code, _, err = run("weights", "fetch", *arguments)
        assert code == 2
        assert f"{model}: no public weights to start from" in err


def test_a_mistyped_model_is_answered_with_those_that_have_public_weights(run, monkeypatch):
    monkeypatch.setattr(sources, "read_sources", read_sources)
    code, _, err = run("weights", "fetch", "--for", "pubmdclip")
    assert code == 2
    assert "Did you mean 'pubmedclip'? Available: biomedclip, biomedclipseg, " in " ".join(err.split())
    assert not any(other in err for other in ("unet_d", "pocket", "vocabulary"))
