"""The word pieces of BERT's tokenizers: BERT's own travel with the package, PubMedBERT's lie among the weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from safetensors.numpy import load_file

from vesalius.errors import ModelError
from vesalius.models.embedded import WEIGHTS

VocabularyName = Literal["bert", "pubmedbert"]
SIZE = 30522


def read_bert() -> Sequence[str]:
    """BERT's lower-case word pieces, in order of their ids."""
    packed = load_file(WEIGHTS / "wordpiece.safetensors")["vocabulary"]
    return packed.tobytes().decode().split("\n")


def read_pubmedbert() -> Sequence[str]:
    """PubMedBERT's word pieces, which BiomedCLIP was trained with.

    Raises:
        ModelError: If the file is not on this machine, saying where to put it, or is another one.
    """
    from vesalius.models.sources import locate  # BERT's own vocabulary needs no table of public files

    path = locate("pubmedbert-vocabulary")
    # Not splitlines, which would also part pieces that are rarer separators themselves.
    with path.open(encoding="utf-8", errors="replace") as file:
        pieces = [line.removesuffix("\n") for line in file]
    if len(pieces) != SIZE:
        raise ModelError(f"{path}: expected PubMedBERT's {SIZE} word pieces, one a line, got {len(pieces)} lines.")
    return pieces


VOCABULARIES: Mapping[VocabularyName, Callable[[], Sequence[str]]] = {"bert": read_bert, "pubmedbert": read_pubmedbert}
