"""Strings to token ids: CLIP's byte pairs, BERT's word pieces, and nothing for models that read no text.

CLIP's and BERT's vocabularies travel with installed packages; PubMedBERT's lies among the weights.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers.implementations import BertWordPieceTokenizer

from vesalius.errors import ModelError
from vesalius.models.checkpoint_file import WEIGHTS

if TYPE_CHECKING:  # word pieces are cut where PyTorch need not be installed
    from instant_clip_tokenizer import Tokenizer as BytePairs
    from torch import Tensor


VocabularyName = Literal["bert", "pubmedbert"]
SIZE = 30522


def read_bert() -> Sequence[str]:
    """BERT's lower-case word pieces, in order of their ids."""
    packed = load_file(WEIGHTS / "wordpiece.safetensors")["vocabulary"]
    return packed.tobytes().decode().split("\n")


def _read_pubmedbert() -> Sequence[str]:
    """PubMedBERT's word pieces, which BiomedCLIP was trained with.

    Raises:
        ModelError: If the file is not on this machine, saying where to put it, or is another one.
    """
    from vesalius.models.public_weights import locate  # BERT's own vocabulary needs no table of public files

    path = locate("pubmedbert-vocabulary")
    # Not splitlines, which would also part pieces that are rarer separators themselves.
    with path.open(encoding="utf-8", errors="replace") as file:
        pieces = [line.removesuffix("\n") for line in file]
    if len(pieces) != SIZE:
        raise ModelError(f"{path}: expected PubMedBERT's {SIZE} word pieces, one a line, got {len(pieces)} lines.")
    return pieces


VOCABULARIES: Mapping[VocabularyName, Callable[[], Sequence[str]]] = {"bert": read_bert, "pubmedbert": _read_pubmedbert}


@lru_cache(maxsize=4)
def make_tokenizer(vocabulary: tuple[str, ...], context_length: int) -> BertWordPieceTokenizer:
    """A tokenizer that pads to the longest prompt of a batch and cuts what is longer than ``context_length`` tokens.

    Models of one vocabulary and length share it, as building it takes longer than reading the vocabulary.

    Args:
        vocabulary: One piece an id, in order, with ``[PAD]`` (id 0), ``[UNK]``, ``[CLS]`` and ``[SEP]``.
        context_length: Tokens of the longest prompt.
    """
    pieces = BertWordPieceTokenizer(vocab={piece: index for index, piece in enumerate(vocabulary)}, lowercase=True)
    pieces.enable_truncation(context_length)
    pieces.enable_padding()
    return pieces


def tokenize(tokenizer: BertWordPieceTokenizer, prompts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids of B prompts and which of them are real, both [B, L]."""
    encodings = tokenizer.encode_batch(list(prompts))
    return (
        np.array([encoding.ids for encoding in encodings], np.int64),
        np.array([encoding.attention_mask for encoding in encodings], np.int64),
    )


CLIP_END = 49407


@dataclass(frozen=True)
class Tokens:
    """Token ids of B prompts and which of them are real."""

    input_ids: "Tensor"
    """[B, L], int64."""
    attention_mask: "Tensor"
    """[B, L], int64: 1 for a token, 0 for padding."""


class Tokenizer(Protocol):
    """Turns B prompts into one padded batch."""

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Tokenise prompts, cutting those that are too long."""
        ...


class ClipTokenizer:
    """CLIP's byte-pair encoding, padded with the end token to a fixed length as the CLIPSeg processor does."""

    def __init__(self, context_length: int = 77) -> None:
        self.context_length = context_length

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Token ids [B, context_length], start and end tokens included."""
        import torch

        ids = torch.full((len(prompts), self.context_length), CLIP_END)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            pairs = _byte_pairs().encode(unicodedata.normalize("NFC", prompt))
            tokens = [CLIP_END - 1, *pairs[: self.context_length - 2], CLIP_END]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return Tokens(ids, mask)


@cache
def _byte_pairs() -> "BytePairs":
    """CLIP's table, read once and outside of models: it cannot be copied, and they can."""
    from instant_clip_tokenizer import Tokenizer as BytePairs  # only models with CLIP's text need it

    return BytePairs()


class WordPieceTokenizer:
    """BERT's lower-case word pieces, padded to the longest prompt of the batch.

    Args:
        read_vocabulary: Gives one piece an id, in order, with ``[PAD]`` (id 0), ``[UNK]``, ``[CLS]`` and ``[SEP]``; it
            is called when the first prompt comes, so that a model can be built without the file.
        context_length: Longest prompt in tokens.
    """

    def __init__(self, read_vocabulary: Callable[[], Sequence[str]], context_length: int) -> None:
        self._read_vocabulary = read_vocabulary
        self._context_length = context_length

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Token ids [B, L], L the longest prompt's."""
        import torch

        return Tokens(*map(torch.from_numpy, tokenize(self._pieces, prompts)))

    @cached_property
    def _pieces(self) -> BertWordPieceTokenizer:
        return make_tokenizer(tuple(self._read_vocabulary()), self._context_length)


class JointTokenizer:
    """The tokens of several models side by side, padded to the longest.

    Args:
        tokenizers: One for each of M models.
    """

    def __init__(self, tokenizers: Sequence[Tokenizer]) -> None:
        self._tokenizers = tokenizers

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Token ids and mask [B, M, L]."""
        import torch
        import torch.nn.functional as F

        each = [tokenizer(prompts) for tokenizer in self._tokenizers]
        length = max(tokens.input_ids.shape[1] for tokens in each)

        def stack(rows: "list[Tensor]") -> "Tensor":
            return torch.stack([F.pad(row, (0, length - row.shape[1])) for row in rows], dim=1)

        return Tokens(stack([tokens.input_ids for tokens in each]), stack([tokens.attention_mask for tokens in each]))


class NoTokenizer:
    """For models that do not read: every prompt is an empty row."""

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Empty ids [B, 0]."""
        import torch

        empty = torch.zeros(len(prompts), 0, dtype=torch.long)
        return Tokens(empty, empty)
