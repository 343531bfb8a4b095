from pathlib import Path

import instant_clip_tokenizer
import pytest
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

from vesalius.models.tokenizers import (
    CLIP_END,
    ClipTokenizer,
    JointTokenizer,
    NoTokenizer,
    WordPieceTokenizer,
    read_bert,
)

CLIP_START = 49406
CLIP_MERGES = 48894
PROMPTS = [
    "a photo of a cat",
    "",
    "One small WHITE polyp, located in top-left of the image.",
    "Crohn's disease & ulcère: 3.5 cm (T2*)",
    "naïve café, Straße, İstanbul",
    "e\u0301te\u0301 with separate accents",
    "  double   spaces\tand\nlines ",
    "don't we'll I've",
    "日本語 text, β-catenin µm ½, emoji 🙂",
    "x-ray; CT/MR 12345 under_score",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "q" * 120,
    "polyp " * 100,
]


@pytest.fixture(scope="module")
def clip() -> ClipTokenizer:
    return ClipTokenizer()


@pytest.fixture(scope="module")
def published_clip() -> "transformers.CLIPTokenizer":
    """The tokenizer of transformers with CLIP's own merges, which lie as text in our tokenizer's binary."""
    (binary,) = Path(instant_clip_tokenizer.__file__).parent.glob("*.so")
    _, found, rest = binary.read_bytes().partition(b"bpe_simple_vocab_16e6.txt#version: 0.2\n")
    if not found:
        pytest.skip("this build of instant-clip-tokenizer does not hold CLIP's merges as text")
    merges = [tuple(line.split(" ")) for line in rest[:2_000_000].decode(errors="ignore").split("\n")[:CLIP_MERGES]]
    # OpenAI's order of bytes: the printable ones first.
    letters = sorted(ByteLevel.alphabet(), key=lambda letter: (ord(letter) > 255, ord(letter)))
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=merges)


@pytest.fixture(scope="module")
def vocabulary() -> list[str]:
    return read_bert()


class TestClipTokenizer:
    def test_known_ids(self, clip):
        # From the documentation of transformers' CLIP.
        assert clip(["a photo of a cat"]).input_ids[0, :8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 49407]

    @pytest.mark.parametrize("prompt", PROMPTS)
    def test_ids_equal_those_of_transformers(self, clip, published_clip, prompt):
        expected = published_clip([prompt], padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        tokens = clip([prompt])
        assert tokens.input_ids.tolist() == expected["input_ids"].tolist()
        assert tokens.attention_mask.tolist() == expected["attention_mask"].tolist()

    def test_the_empty_prompt_is_a_start_and_an_end(self, clip):
        tokens = clip([""])
        assert tokens.input_ids[0].tolist() == [CLIP_START] + 76 * [CLIP_END]
        assert tokens.attention_mask.sum() == 2

    def test_cutting_a_long_prompt_keeps_the_end_token(self):
        tokens = ClipTokenizer(context_length=8)(["polyp " * 30, "polyp"])
        assert tokens.input_ids.shape == (2, 8)
        assert tokens.input_ids[:, 0].tolist() == [CLIP_START, CLIP_START]
        assert tokens.input_ids[0].tolist().index(CLIP_END) == 7
        assert tokens.attention_mask.sum(1).tolist() == [8, tokens.input_ids[1].tolist().index(CLIP_END) + 1]

    def test_words_that_look_like_special_tokens_stay_words(self, clip):
        ids = clip(["polyp <|endoftext|> lungs"]).input_ids[0].tolist()
        assert ids.index(CLIP_END) > 5


class TestWordPieceTokenizer:
    def test_ids_equal_those_of_transformers(self, vocabulary):
        published = transformers.BertTokenizer(vocab={piece: index for index, piece in enumerate(vocabulary)})
        for prompts in ([prompt] for prompt in PROMPTS):
            expected = published(prompts, truncation=True, max_length=64, return_tensors="pt")
            assert (
                WordPieceTokenizer(lambda: vocabulary, 64)(prompts).input_ids.tolist() == expected["input_ids"].tolist()
            )

    def test_a_batch_is_padded_to_its_longest_prompt_as_transformers_does(self, vocabulary):
        published = transformers.BertTokenizer(vocab={piece: index for index, piece in enumerate(vocabulary)})
        expected = published(PROMPTS, truncation=True, max_length=64, padding=True, return_tensors="pt")
        tokens = WordPieceTokenizer(lambda: vocabulary, 64)(PROMPTS)
        assert tokens.input_ids.tolist() == expected["input_ids"].tolist()
        assert tokens.attention_mask.tolist() == expected["attention_mask"].tolist()

    def test_cutting_a_long_prompt_keeps_start_and_end(self, vocabulary):
        start, end = vocabulary.index("[CLS]"), vocabulary.index("[SEP]")
        ids = WordPieceTokenizer(lambda: vocabulary, 6)(["polyp " * 30]).input_ids[0].tolist()
        assert (len(ids), ids[0], ids[-1]) == (6, start, end)

    def test_the_empty_prompt_is_a_start_and_an_end(self, vocabulary):
        tokens = WordPieceTokenizer(lambda: vocabulary, 64)([""])
        assert [vocabulary[index] for index in tokens.input_ids[0]] == ["[CLS]", "[SEP]"]
        assert tokens.attention_mask.tolist() == [[1, 1]]

    def test_case_and_accents_do_not_matter(self, vocabulary):
        ids = WordPieceTokenizer(lambda: vocabulary, 64)(["ULCÈRE", "ulcere", "ulce\u0300re"]).input_ids
        assert torch.equal(ids[0], ids[1])
        assert torch.equal(ids[1], ids[2])

    def test_the_vocabulary_is_read_once_and_not_before_the_first_prompt(self, vocabulary):
        reads = []
        tokenizer = WordPieceTokenizer(lambda: reads.append("read") or vocabulary, 64)
        assert reads == []
        tokenizer(["polyp"])
        tokenizer(["lungs"])
        assert reads == ["read"]

    def test_the_vocabulary_is_that_of_bert(self, vocabulary):
        assert len(vocabulary) == len(set(vocabulary)) == 30522
        assert [vocabulary[index] for index in (0, 100, 101, 102)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


class TestJointTokenizer:
    def test_every_model_gets_the_tokens_of_its_own_tokenizer(self, clip, vocabulary):
        pieces = WordPieceTokenizer(lambda: vocabulary, 256)
        tokens, singles = JointTokenizer([pieces, clip])(PROMPTS), (pieces(PROMPTS), clip(PROMPTS))
        assert singles[0].input_ids.shape[1] > 77
        assert tokens.input_ids.shape == (len(PROMPTS), 2, singles[0].input_ids.shape[1])
        for row, single in enumerate(singles):
            length = single.input_ids.shape[1]
            assert torch.equal(tokens.input_ids[:, row, :length], single.input_ids)
            assert torch.equal(tokens.attention_mask[:, row, :length], single.attention_mask)

    def test_what_fills_the_shorter_rows_is_not_real(self, clip, vocabulary):
        tokens = JointTokenizer([WordPieceTokenizer(lambda: vocabulary, 256), clip])(["polyp"])
        assert tokens.input_ids.shape == (1, 2, 77)
        assert tokens.attention_mask.sum(dim=2).tolist() == [[4, 4]]
        assert not tokens.input_ids[0, 0, 4:].any()


def test_models_that_do_not_read_get_empty_rows():
    tokens = NoTokenizer()(["polyp", ""])
    assert tokens.input_ids.shape == tokens.attention_mask.shape == (2, 0)
    assert tokens.input_ids.dtype == torch.long
