"""A contrastive encoder small enough to train a hundred times: features for images, real captions for text."""

from collections.abc import Sequence

import torch
from synthetic_anatomy import WIDTH
from torch import Tensor, nn

from vesalius.models.clip import ContrastiveEncoder
from vesalius.models.encoder import EncoderSpec, ImageFeatures
from vesalius.models.tokenizers import ClipTokenizer, Tokens
from vesalius.models.towers import mean_pool

EMBEDDING = 32


class Vocabulary:
    """CLIP's tokens, with rows in a table as short as captions need, in the order in which tokens are first met."""

    ROWS = 128

    def __init__(self) -> None:
        self._clip = ClipTokenizer()
        self._rows: dict[int, int] = {}
        self._seen: dict[str, list[int]] = {}

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Rows of the table, [B, L]."""
        rows = [self._read(prompt) for prompt in prompts]
        length = max(len(row) for row in rows)
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
        return Tokens(ids, (torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]).long())

    def _read(self, prompt: str) -> list[int]:
        if prompt not in self._seen:
            tokens = self._clip([prompt])
            ids = tokens.input_ids[0][tokens.attention_mask[0] > 0].tolist()
            self._seen[prompt] = [self._rows.setdefault(each, len(self._rows)) for each in ids]
        return self._seen[prompt]


class TextTower(nn.Module):
    """One transformer layer over token vectors and places, averaged: wording and order matter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(Vocabulary.ROWS, width)
        self.places = nn.Parameter(0.1 * torch.randn(77, width))
        self.layer = nn.TransformerEncoderLayer(width, 2, 4 * width, 0, batch_first=True, norm_first=True)
        self.projection = nn.Linear(width, EMBEDDING)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Rows of the table and mask [B, L] -> [B, E]."""
        x = self.tokens(input_ids) + self.places[: input_ids.shape[1]]
        x = self.layer(x, src_key_padding_mask=attention_mask == 0)
        vectors: Tensor = self.projection(mean_pool(x, attention_mask))
        return vectors


class Towers(ContrastiveEncoder):
    """A contrastive encoder whose images are features already."""

    def __init__(self) -> None:
        image = nn.Sequential(nn.Linear(WIDTH, 128), nn.GELU(), nn.Linear(128, EMBEDDING))
        super().__init__(EncoderSpec(1), Vocabulary(), image, TextTower(EMBEDDING))
        self.bias = nn.Parameter(torch.zeros(()))

    def encode_image(self, images: Tensor) -> ImageFeatures:
        """Features [B, WIDTH] to unit vectors."""
        return self.encode_pixels(images)

    def read(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [M, E]; what repeats is encoded once."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        return self.encode_text(list(places)).embedding[[places[text] for text in texts]]
