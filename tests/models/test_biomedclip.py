from pathlib import Path

import pytest
import torch
import transformers

from vesalius.errors import ModelError
from vesalius.models import build_model
from vesalius.models.biomedclip import CONTEXT_LENGTH, BiomedTextEncoder
from vesalius.models.encoder import CLIP_MEAN, CLIP_STD
from vesalius.models.foreign.names import BERT_CHANGES, BERT_UNUSED, BIOMEDCLIP_TEXT, Renaming
from vesalius.models.tokenizers import SIZE

PROMPTS = ["one small white polyp", "", "both lungs in a chest X-ray", "Crohn's colitis, T2*"]


@pytest.fixture
def text(build_tiny, roughen) -> BiomedTextEncoder:
    return roughen(build_tiny("biomedclip", width=128).text)


@pytest.fixture
def published(text, roughen) -> "transformers.BertModel":
    config = transformers.BertConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512)
    model = roughen(transformers.BertModel(config))
    renaming = Renaming(BIOMEDCLIP_TEXT, BERT_UNUSED, BERT_CHANGES)
    ours = renaming.apply({f"text.transformer.{key}": value for key, value in model.state_dict().items()})
    text.bert.load_state_dict({key.removeprefix("text.bert."): value for key, value in ours.items()})
    return model


class TestText:
    @torch.no_grad()
    def test_a_prompt_is_berts_first_token_through_two_layers_without_biases(self, build_tiny, text, published):
        tokens = build_tiny("biomedclip").tokenizer(PROMPTS)
        first = published(tokens.input_ids, tokens.attention_mask).last_hidden_state[:, 0]
        narrow, wide = text.projection[0].weight, text.projection[2].weight
        assert (narrow.shape, wide.shape) == ((88, 128), (48, 88))
        expected = torch.nn.functional.gelu(first @ narrow.T) @ wide.T
        torch.testing.assert_close(text(tokens.input_ids, tokens.attention_mask), expected, rtol=0, atol=1e-5)

    def test_widths_are_the_published_ones(self):
        with torch.device("meta"):
            model = build_model("biomedclip")
        assert [tuple(layer.weight.shape) for layer in (model.text.projection[0], model.text.projection[2])] == [
            (640, 768),
            (512, 640),
        ]
        assert model.spec.context_length == CONTEXT_LENGTH == 256

    @pytest.mark.parametrize("name", ["biomedclip", "biomedclipseg", "biomedclipseg_a"])
    def test_long_prompts_are_cut_at_256_tokens(self, build_tiny, name):
        model = build_tiny(name)
        assert model.tokenizer(["polyp " * 400]).input_ids.shape == (1, 256)
        assert model.encode_text(["polyp " * 400]).embedding.isfinite().all()


class TestTaps:
    def test_they_are_4_7_and_10_unless_others_are_named(self):
        with torch.device("meta"):
            assert build_model("biomedclipseg").taps == (4, 7, 10)
            later = build_model("biomedclipseg", taps=(5, 8, 11))
        assert (later.taps, len(later.vision.layers)) == ((5, 8, 11), 11)

    @pytest.mark.parametrize("taps", [(4, 7, 10), (5, 8, 11)])
    @torch.no_grad()
    def test_they_are_outputs_of_blocks_counted_from_1(self, build_tiny, taps):
        model, pixels = build_tiny("biomedclipseg", taps=taps), torch.randn(1, 3, 48, 48)
        assert len(model.vision.layers) == taps[-1], "blocks behind the last tap are not kept"
        outputs = model.vision(pixels)
        for tap, block in zip(model.encode_pixels(pixels).taps, taps, strict=True):
            assert torch.equal(tap, outputs[block - 1])

    def test_the_benchmarks_taps_are_one_block_later_and_give_another_mask(self, build_tiny):
        # Defect 3 of the released code. Its checkpoints are read with the taps they were trained with.
        ours, theirs = (build_tiny("biomedclipseg", taps=taps) for taps in ((1, 2, 3), (2, 3, 4)))
        theirs.load_state_dict(ours.state_dict(), strict=False)
        images = torch.rand(1, 3, 48, 48)
        with torch.no_grad():
            assert (ours(images, ["polyp"]) - theirs(images, ["polyp"])).abs().max() > 1e-3


def test_pixels_are_normalised_as_clips_are_not_as_clipsegs(build_tiny):
    for name in ("biomedclip", "biomedclipseg", "biomedclipseg_a", "biomedclipseg_d"):
        spec = build_tiny(name).spec
        assert (spec.mean, spec.std) == (CLIP_MEAN, CLIP_STD)


def test_gradients_reach_the_vision_tower_unless_it_is_frozen(build_tiny):
    # Defect 4: the released BiomedCLIPSeg runs it under inference_mode, whatever the settings.
    for frozen in ((), ("image",)):
        model = build_tiny("biomedclipseg").freeze(*frozen).train()
        model(torch.rand(2, 3, 48, 48), ["polyp", "lungs"]).square().mean().backward()
        assert (model.vision.patches.weight.grad is None) == bool(frozen)


class TestVocabulary:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("VESALIUS_WEIGHTS", str(tmp_path))
        return tmp_path

    @staticmethod
    def place(folder: Path, pieces: list[str]) -> None:
        path = folder / "pubmedbert-vocabulary" / "vocab.txt"
        path.parent.mkdir()
        path.write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")

    @staticmethod
    def pieces() -> list[str]:
        """As many as PubMedBERT has, and other ids than BERT's for the same words."""
        words = ["one", "small", "white", "polyp", "both", "lungs", "in", "a", "chest", "x", "-", "ray", "cro", "##hn"]
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, "colitis", ",", "'", "s", "t", "##2", "*"]
        words += ["\u2028", "\x85", "\x1e"]  # separators to some, pieces in some vocabularies
        return words + [f"[unused{index}]" for index in range(SIZE - len(words))]

    def test_an_unknown_one_is_refused(self, build_tiny):
        with pytest.raises(ModelError, match="No vocabulary named 'biobert'.*Available: bert, pubmedbert"):
            build_tiny("biomedclip", vocabulary="biobert")

    @pytest.mark.parametrize("name", ["biomedclip", "biomedclipseg", "biomedclipseg_a", "biomedclipseg_d"])
    def test_a_model_is_built_without_the_file_and_names_its_place_when_asked(self, build_tiny, folder, name):
        model = build_tiny(name, vocabulary="pubmedbert")
        with pytest.raises(ModelError, match="vesalius weights fetch pubmedbert-vocabulary") as caught:
            model(torch.rand(1, 3, 48, 48), ["polyp"])
        assert str(folder / "pubmedbert-vocabulary" / "vocab.txt") in str(caught.value)

    def test_the_file_in_its_place_is_read_as_transformers_reads_it(self, build_tiny, folder):
        self.place(folder, self.pieces())
        published = transformers.BertTokenizer(vocab={piece: index for index, piece in enumerate(self.pieces())})
        expected = published(PROMPTS, padding=True, return_tensors="pt")
        tokens = build_tiny("biomedclip", vocabulary="pubmedbert").tokenizer(PROMPTS)
        assert tokens.input_ids.tolist() == expected["input_ids"].tolist()
        assert tokens.attention_mask.tolist() == expected["attention_mask"].tolist()
        assert tokens.input_ids.tolist() != build_tiny("biomedclip").tokenizer(PROMPTS).input_ids.tolist()

    @pytest.mark.parametrize("count", [0, 4, SIZE + 1])
    def test_another_file_in_its_place_is_refused(self, build_tiny, folder, count):
        self.place(folder, [*self.pieces(), "more"][:count])
        with pytest.raises(
            ModelError, match=rf"vocab\.txt: expected PubMedBERT's 30522 word pieces, .*got {count} lines"
        ):
            build_tiny("biomedclip", vocabulary="pubmedbert").tokenizer(["polyp"])
