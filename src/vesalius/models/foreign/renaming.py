"""Tables of names: from those of other programs to ours."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Rules = Sequence[tuple[str, str]]
"""Patterns and what replaces them, applied one after the other to every name."""
Changes = Sequence[tuple[str, Callable[[Tensor], Tensor]]]
"""Patterns, and what is done to the tensors whose name in the file has them."""


def transpose(value: Tensor) -> Tensor:
    """A matrix that is stored the other way round."""
    return value.T.contiguous()


@dataclass(frozen=True)
class Renaming:
    """How one layout's tensors become ours; patterns are searched for in their names."""

    rules: Rules
    unused: Sequence[str] = ()
    """Tensors that no output of our model depends on; they are left out."""
    changes: Changes = ()
    """Tensors that are stored in another form."""

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our names and tensors; those that no rule knows keep their name, and will be called unexpected."""
        renamed = {}
        for name, value in tensors.items():
            if any(re.search(pattern, name) for pattern in self.unused):
                continue
            for pattern, change in self.changes:
                value = change(value) if re.search(pattern, name) else value
            renamed[self._rename(name)] = value
        return _join_attention(renamed)

    def _rename(self, name: str) -> str:
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name


def _join_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values that stand apart become the one matrix of our layers."""
    joined = {}
    for name, value in tensors.items():
        found = re.fullmatch(r"(.*\.qkv)\.(query|key|value)\.(weight|bias)", name)
        thirds = [f"{found[1]}.{part}.{found[3]}" for part in ("query", "key", "value")] if found else []
        if not found or not all(third in tensors for third in thirds):
            joined[name] = value
        elif found[2] == "query":
            joined[f"{found[1]}.{found[3]}"] = torch.cat([tensors[third] for third in thirds])
    return joined
