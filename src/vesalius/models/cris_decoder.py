"""CRIS's decoder: places of the map look at each other and at the words, then the prompt itself is the last filter."""

import torch.nn.functional as F
from torch import Tensor, nn

from vesalius.models.conv_norm import ConvNorm
from vesalius.models.positions import sine_positions, sine_positions_2d


class CrossLayer(nn.Module):
    """Attention among places, attention to words, and an MLP; each with a norm before and (inside) after it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        heads = width // 64
        self.places_norm = nn.LayerNorm(width)
        self.places = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.places_out_norm = nn.LayerNorm(width)
        self.words_norm = nn.LayerNorm(width)
        self.words = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.words_out_norm = nn.LayerNorm(width)
        self.mlp_norm = nn.LayerNorm(width)
        hidden = 4 * width
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.LayerNorm(hidden), nn.Linear(hidden, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor, keys: Tensor, tokens: Tensor, padding: Tensor) -> Tensor:
        """Pass the map's places on.

        Args:
            x: Places [B, N, D].
            positions: Of the places, [N, D].
            keys: Words with their positions, [B, L, D].
            tokens: Words without, [B, L, D].
            padding: [B, L], True where there is no word.

        Returns:
            [B, N, D].
        """
        values = self.places_norm(x)
        query = values + positions
        mixed, _ = self.places(query, query, values, need_weights=False)
        x = x + self.dropout(self.places_out_norm(mixed))
        query = self.words_norm(x) + positions
        mixed, _ = self.words(query, keys, tokens, key_padding_mask=padding, need_weights=False)
        x = x + self.dropout(self.words_out_norm(mixed))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class CrossDecoder(nn.Module):
    """``CrossLayer``s over a map and a prompt's words, with sine positions in both."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(CrossLayer(width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, tokens: Tensor, token_mask: Tensor) -> Tensor:
        """Map x [B, D, H, W], words [B, L, D] and which are real [B, L] -> [B, D, H, W]."""
        _, width, *size = x.shape
        positions = sine_positions_2d(size[0], size[1], width).to(x)
        keys = tokens + sine_positions(tokens.shape[1], width).to(x)
        places = x.flatten(2).mT
        for layer in self.layers:
            places = layer(places, positions, keys, tokens, token_mask == 0)
        return self.norm(places).mT.unflatten(2, size)


class PromptFilter(nn.Module):
    """Enlarge the map fourfold and filter it with a 3×3 convolution whose weights and bias the prompt gives."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        half = width // 2
        self.enlarge = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            ConvNorm(width, width, 3),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            ConvNorm(width, half, 3),
            nn.Conv2d(half, half, 1),
        )
        self.to_filter = nn.Linear(embedding, half * 9 + 1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Map x [B, D, H, W], prompts' vectors [B, E] -> logits [B, 1, 4 H, 4 W]."""
        x, weights = self.enlarge(x), self.to_filter(state)
        batch, channels, height, width = x.shape
        # One group an image filters every image by its own prompt in a single convolution.
        kernels = weights[:, :-1].reshape(batch, channels, 3, 3)
        images = x.reshape(1, batch * channels, height, width)
        return F.conv2d(images, kernels, weights[:, -1], padding=1, groups=batch).transpose(0, 1)
