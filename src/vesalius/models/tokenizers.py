"""Strings to token ids: CLIP's byte pairs, BERT's word pieces, and nothing for models that do not read.

Both vocabularies travel with installed packages, so no network is needed.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from instant_clip_tokenizer import Tokenizer as BytePairs
from tokenizers.implementations import BertWordPieceTokenizer
from torch import Tensor

CLIP_END = 49407


@dataclass(frozen=True)
class Tokens:
    """Token ids of B prompts and which of them are real."""

    input_ids: Tensor
    """[B, L], int64."""
    attention_mask: Tensor
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
        self._pairs = BytePairs()

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Token ids [B, context_length], start and end tokens included."""
        ids = torch.full((len(prompts), self.context_length), CLIP_END)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            pairs = self._pairs.encode(unicodedata.normalize("NFC", prompt))
            tokens = [CLIP_END - 1, *pairs[: self.context_length - 2], CLIP_END]
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return Tokens(ids, mask)


class WordPieceTokenizer:
    """BERT's lower-case word pieces, padded to the longest prompt of the batch.

    Args:
        vocabulary: One piece an id, in order; holds ``[PAD]`` (id 0), ``[UNK]``, ``[CLS]`` and ``[SEP]``.
        context_length: Longest prompt in tokens.
    """

    def __init__(self, vocabulary: Sequence[str], context_length: int) -> None:
        ids = {piece: index for index, piece in enumerate(vocabulary)}
        self._pieces = BertWordPieceTokenizer(vocab=ids, lowercase=True)
        self._pieces.enable_truncation(context_length)
        self._pieces.enable_padding()

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Token ids [B, L], L the longest prompt's."""
        encodings = self._pieces.encode_batch(list(prompts))
        ids = torch.tensor([encoding.ids for encoding in encodings])
        return Tokens(ids, torch.tensor([encoding.attention_mask for encoding in encodings]))


class NoTokenizer:
    """For models that do not read: every prompt is an empty row."""

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Empty ids [B, 0]."""
        empty = torch.zeros(len(prompts), 0, dtype=torch.long)
        return Tokens(empty, empty)
