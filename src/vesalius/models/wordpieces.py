"""BERT's lower-case word pieces, without PyTorch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers.implementations import BertWordPieceTokenizer


def make_tokenizer(vocabulary: Sequence[str], context_length: int) -> BertWordPieceTokenizer:
    """A tokenizer that pads to the longest prompt of a batch and cuts what is longer than ``context_length`` tokens.

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
