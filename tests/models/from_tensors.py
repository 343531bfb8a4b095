"""What a model makes of tensors alone, for parity with other implementations."""

import torch
from torch import Tensor

from vesalius.models.encoder import Segmenter, resize


def segment_tensors(
    model: Segmenter, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None
) -> Tensor:
    """The same computation as ``forward``.

    Args:
        model: Any segmenter.
        pixel_values: Resized and normalised as its ``spec`` says, [B, 3, H, W].
        input_ids: [B, L].
        attention_mask: [B, L], 1 where a token is real; None means all are.

    Returns:
        Logits [B, 1, H, W] at the size of ``pixel_values``.
    """
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    prediction = model.decode(model.encode_pixels(pixel_values), model.encode_tokens(input_ids, mask))
    return resize(prediction.logits, (pixel_values.shape[-2], pixel_values.shape[-1]))
