"""Layouts and names of other programs; PubMedCLIP's file goes through the labeller's own path."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from vesalius.errors import ModelError
from vesalius.imaging import MedicalImage
from vesalius.models import build_model, list_encoders, list_models
from vesalius.models.encoder import CLIP_MEAN, IMAGENET_MEAN
from vesalius.models.foreign import LAYOUTS, import_checkpoint
from vesalius.models.foreign.layouts import BENCHMARK_TAPS
from vesalius.models.foreign.names import Renaming, transpose
from vesalius.models.registry import ModelRecipe
from vesalius.naming import AnatomyLabeller
from vesalius.prompts.phrase_vectors import to_unit

pytestmark = pytest.mark.slow
GOLDEN = {
    "openai-clip": ("clip_vit_b32_openai", "clip_vit_b32"),
    "pubmedclip": ("clip_vit_b32_openai", "clip_vit_b32"),
    "open_clip-biomedclip": ("biomedclip_open_clip", "biomedclip"),
    "transformers-clipseg": ("clipseg_hf", "clipseg"),
    "medvlsm-clipseg": ("clipseg_hf", "clipseg"),
    "medvlsm-biomedclipseg": ("biomedclipseg_medvlsm", "biomedclipseg"),
    "medvlsm-cris": ("cris_medvlsm", "cris"),
    "vlsm-ensemble-a": ("biomedclipseg_a_release", "biomedclipseg_a"),
    "unet_d": ("unet_d", "unet_d"),
}
"""WeightLayout, the original implementation stored in it, and our model."""
MARKS = {
    "openai-clip": {"visual.conv1.weight": torch.zeros(768, 3, 32, 32)},
    "pubmedclip": {"visual.conv1.weight": torch.zeros(768, 3, 32, 32)},
    "transformers-clip": {"vision_model.embeddings.patch_embedding.weight": torch.zeros(768, 3, 16, 16)},
}
"""By what a file is recognised as one of several models."""


def shapes_of(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}


def places(name: str, **options: object) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return shapes_of(build_model(name, **options).state_dict())


def converted(layout: str, tensors: dict[str, Tensor]) -> tuple[ModelRecipe, dict[str, torch.Size]]:
    recipe, ours = LAYOUTS[layout].convert(tensors)
    return recipe, shapes_of(ours)


@pytest.fixture
def released(golden):
    """Tensors without values, by the names of an original implementation."""

    def read(name: str) -> dict[str, Tensor]:
        return {key: torch.empty(shape, device="meta") for key, shape in golden(name).shapes.items()}

    return read


@pytest.mark.usefixtures("_published_unet")
class TestEveryLayout:
    @pytest.mark.slow
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_missing_and_unexpected_tensors_are_listed(self, layout, tmp_path):
        path = tmp_path / "model.pt"
        torch.save(MARKS.get(layout, {}) | {"stray.weight": torch.zeros(1)}, path)
        with pytest.raises(ModelError) as caught, torch.device("meta"):
            import_checkpoint(path, layout)
        message = str(caught.value)
        assert message.startswith(f"{path}: these weights are not those of ")
        assert re.search(r"\d+ missing: \S+, .* and \d+ more; ", message)
        assert re.search(r"1 unexpected: \S*stray\.weight", message)

    @pytest.mark.parametrize("layout", GOLDEN)
    def test_every_tensor_of_the_original_has_a_place_of_its_shape(self, layout, released):
        original, name = GOLDEN[layout]
        recipe, ours = converted(layout, released(original))
        assert recipe.name == name
        assert ours == places(name, **recipe.options)

    @pytest.mark.parametrize("layout", [name for name in LAYOUTS if name.startswith(("medvlsm", "vlsm", "unet"))])
    @pytest.mark.parametrize("prefix", ["net.", "module.", "module.net."])
    def test_prefixes_of_training_programs_come_off(self, layout, prefix, released):
        tensors = released(GOLDEN[layout][0])
        prefixed = {f"{prefix}{key}": value for key, value in tensors.items()}
        assert converted(layout, prefixed) == converted(layout, tensors)

    def test_the_benchmarks_clipseg_has_a_prefix_of_its_own(self, released):
        tensors = released("clipseg_hf")
        wrapped = {f"net.clipseg.{key}": value for key, value in tensors.items()}
        assert converted("medvlsm-clipseg", wrapped) == converted("transformers-clipseg", tensors)

    def test_a_prefix_that_not_all_names_have_is_part_of_them(self):
        _, ours = LAYOUTS["unet_d"].convert({"net.conv11.weight": torch.ones(1), "conv12.weight": torch.ones(1)})
        assert ours.keys() == {"unet.net.conv11.weight", "unet.encoder.0.1.weight"}

    def test_each_is_described(self):
        assert all(layout.title for layout in LAYOUTS.values())

    def test_together_they_give_every_model_that_was_ever_published(self):
        names = {name for _, name in GOLDEN.values()} | {"clip_rn50", "clip_vit_b16"}
        composed = {"biomedclipseg_d", "clipseg_b", "ensemble_c", "pocket"}
        assert names == {*list_models(), *list_encoders()} - composed


class TestClip:
    def test_resnet_50_is_recognised(self, released):
        # CRIS holds CLIP's ResNet whole, and one shortcut more.
        tensors = {
            key.removeprefix("backbone."): value
            for key, value in released("cris_medvlsm").items()
            if key.startswith("backbone.") and "connect" not in key
        }
        assert converted("openai-clip", tensors) == (ModelRecipe("clip_rn50", {}), places("clip_rn50"))

    def test_sizes_that_archives_keep_beside_the_weights_are_left_out(self, released):
        tensors = released("clip_vit_b32_openai")
        sizes = {name: torch.tensor(224) for name in ("input_resolution", "context_length", "vocab_size")}
        assert converted("openai-clip", tensors | sizes) == converted("openai-clip", tensors)

    @pytest.mark.slow
    @pytest.mark.parametrize(("patch", "name"), [(16, "clip_vit_b16"), (32, "clip_vit_b32")])
    def test_transformers_vit_is_told_by_its_patches(self, patch, name):
        with torch.device("meta"):
            model = transformers.CLIPModel(transformers.CLIPConfig(vision_config={"patch_size": patch}))
        assert converted("transformers-clip", model.state_dict()) == (ModelRecipe(name, {}), places(name))

    def test_position_ids_of_older_versions_of_transformers_are_left_out(self):
        with torch.device("meta"):
            tensors = transformers.CLIPModel(transformers.CLIPConfig()).state_dict()
        older = {f"{tower}_model.embeddings.position_ids": torch.arange(50)[None] for tower in ("text", "vision")}
        assert converted("transformers-clip", tensors | older) == converted("transformers-clip", tensors)

    @pytest.mark.parametrize(("layout", "mean"), [("openai-clip", CLIP_MEAN), ("pubmedclip", IMAGENET_MEAN)])
    def test_pubmedclip_is_given_pixels_as_its_authors_trained_it(self, layout, mean):
        recipe, _ = LAYOUTS[layout].convert(MARKS[layout])
        with torch.device("meta"):
            assert build_model(recipe.name, **recipe.options).spec.mean == mean

    @pytest.mark.parametrize("layout", MARKS)
    def test_patches_of_another_size_are_refused(self, layout, tmp_path):
        (name,) = MARKS[layout]
        torch.save({name: torch.zeros(1024, 3, 14, 14)}, tmp_path / "large.pt")
        with pytest.raises(ModelError, match=r"large\.pt: CLIP with patches of 14 pixels is not a model here; .*32 \("):
            import_checkpoint(tmp_path / "large.pt", layout)


class TestClipSeg:
    @pytest.mark.parametrize("side", [14, 22])
    def test_the_grid_of_its_positions_is_told(self, side):
        tensors = {"clip.vision_model.embeddings.position_embedding.weight": torch.zeros(1 + side**2, 768)}
        recipe, _ = LAYOUTS["transformers-clipseg"].convert(tensors)
        assert recipe.options == {"position_size": 16 * side}


class TestMedVlsm:
    def test_the_benchmarks_biomedclipseg_taps_one_block_later(self):
        for layout in ("medvlsm-biomedclipseg", "vlsm-ensemble-a"):
            recipe, _ = LAYOUTS[layout].convert({"x": torch.zeros(1)})
            assert recipe.options == {"taps": BENCHMARK_TAPS} == {"taps": (5, 8, 11)}


class TestMistakes:
    def save(self, folder: Path, *names: str) -> Path:
        torch.save({name: torch.zeros(1) for name in names}, folder / "model.pt")
        return folder / "model.pt"

    def test_an_unknown_layout_is_answered_with_the_closest(self, tmp_path):
        with pytest.raises(ModelError, match="No layout named 'openai'. Did you mean 'openai-clip'"):
            import_checkpoint(self.save(tmp_path, "x"), "openai")

    def test_biomedclip_is_no_clip_of_openais(self, tmp_path):
        path = self.save(tmp_path, "visual.trunk.cls_token", "text.proj.0.weight")
        with pytest.raises(
            ModelError, match=r"model\.pt: not CLIP in this layout: lacks visual\.conv1\.weight; has text"
        ):
            import_checkpoint(path, "openai-clip")

    @pytest.mark.parametrize(
        ("layout", "tensors"),
        [
            ("openai-clip", {"visual.conv1.weight": torch.tensor(1.0)}),
            ("open_clip-biomedclip", {"visual.trunk.cls_token": torch.ones(4)}),
            ("open_clip-biomedclip", {"visual.trunk.pos_embed": torch.ones(0, 4)}),
            ("open_clip-biomedclip", {"text.transformer.embeddings.token_type_embeddings.weight": torch.ones(0, 4)}),
            ("transformers-clipseg", {"clip.vision_model.embeddings.position_embedding.weight": torch.ones(0, 4)}),
            (
                "transformers-clipseg",
                {
                    f"decoder.layers.0.self_attn.{part}_proj.weight": torch.ones(4, width)
                    for part, width in {"q": 4, "k": 5, "v": 4}.items()
                },
            ),
        ],
    )
    def test_tensors_of_shapes_that_do_not_fit_are_refused(self, layout, tensors, tmp_path):
        torch.save(tensors, tmp_path / "odd.pt")
        with pytest.raises(ModelError, match=rf"odd\.pt: tensors do not have the shapes that {layout} gives them"):
            import_checkpoint(tmp_path / "odd.pt", layout)

    def test_another_models_file_is_refused_with_what_it_lacks(self, tmp_path):
        path = self.save(tmp_path, "conv11.weight", "conv11.bias")
        with (
            pytest.raises(ModelError, match=r"not those of CRISSegmenter: \d+ missing: .*; 2 unexpected: conv11"),
            torch.device("meta"),
        ):
            import_checkpoint(path, "medvlsm-cris")

    def test_a_checkpoint_of_vesaliuss_own_is_no_foreign_one(self, build_tiny, tmp_path):
        torch.save(build_tiny("unet_d").state_dict(), tmp_path / "model.pt")
        with pytest.raises(ModelError, match="not those of UNetSegmenter: .* unexpected: unet.unet"):
            import_checkpoint(tmp_path / "model.pt", "unet_d")


def test_rules_are_applied_to_every_name_one_after_the_other():
    renaming = Renaming([(r"^visual\.", "image."), (r"\.blocks\.(\d+)\.", r".layers.\1."), (r"^image\.", "vision.")])
    tensors = {"visual.blocks.10.weight": torch.ones(1), "text.weight": torch.zeros(1)}
    assert renaming.apply(tensors) == {
        "vision.layers.10.weight": tensors["visual.blocks.10.weight"],
        "text.weight": tensors["text.weight"],
    }


def test_unused_tensors_are_left_out_by_their_name_in_the_file():
    renaming = Renaming([(r"^head\.", "pooler.")], unused=(r"^pooler\.", r"position_ids$"))
    tensors = {"pooler.w": torch.ones(1), "head.w": torch.ones(1), "x.position_ids": torch.arange(3)}
    assert list(renaming.apply(tensors)) == ["pooler.w"]


def test_tensors_stored_in_another_form_are_changed():
    renaming = Renaming([(r"proj$", "projection.weight")], changes=[(r"proj$", transpose)])
    value = torch.arange(6.0).reshape(2, 3)
    changed = renaming.apply({"visual.proj": value, "other": value})
    assert torch.equal(changed["visual.projection.weight"], value.T)
    assert changed["visual.projection.weight"].is_contiguous()
    assert changed["other"] is value


def test_queries_keys_and_values_are_joined_in_this_order_whatever_that_of_the_file():
    names = {"k": "key", "v": "value", "q": "query"}
    renaming = Renaming([(rf"\.{short}_proj\.", f".qkv.{long}.") for short, long in names.items()])
    parts = {short: torch.full((2, 3), float(index)) for index, short in enumerate(("q", "k", "v"))}
    tensors = {f"layer.{short}_proj.weight": parts[short] for short in ("v", "k", "q")}
    joined = renaming.apply(tensors)
    assert list(joined) == ["layer.qkv.weight"]
    assert joined["layer.qkv.weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_a_part_that_is_missing_leaves_the_others_to_be_called_unexpected():
    tensors = {"layer.qkv.query.weight": torch.ones(2, 3), "layer.qkv.key.weight": torch.ones(2, 3)}
    assert Renaming([]).apply(tensors).keys() == tensors.keys()


@pytest.mark.slow
@torch.no_grad()
def test_the_labeller_sees_what_the_original_sees(golden, tmp_path, monkeypatch):
    original = golden("clip_vit_b32_openai")
    path = tmp_path / "pubmedclip-vit32" / "PubMedCLIP_ViT32.pth"
    path.parent.mkdir()
    torch.save({"epoch": 3, "state_dict": original.weights()}, path)
    monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))
    labeller = AnatomyLabeller("pubmedclip")
    path.unlink()
    pixels, spec = original.image(), labeller.runtime.model.spec
    mean, std = (torch.tensor(each)[:, None, None] for each in (spec.mean, spec.std))
    seen = torch.from_numpy(to_unit(labeller.runtime.embed_image((pixels * std + mean).permute(0, 2, 3, 1).numpy())))
    expected = F.normalize(torch.from_numpy(original.outputs["out_image_features"]), dim=-1)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-4)
    shades = np.arange(2 * 32 * 32, dtype=np.uint16).reshape(2, 32, 32)
    named = labeller.label(MedicalImage(shades, source=Path("x")))
    assert sum(named.slices[0].organ_probabilities.values()) == pytest.approx(1)
