"""Many prompts about one image, in bounded memory."""

from collections.abc import Sequence

import torch

from vesalius.models.features import ImageFeatures, MaskPrediction, resize
from vesalius.models.segmenter import Segmenter
from vesalius.models.text_cache import TextCache

PROMPTS_AT_ONCE = 4
"""Prompts decoded together; bounds memory, changes no number."""


def ask(
    model: Segmenter,
    image: ImageFeatures,
    prompts: Sequence[str],
    texts: TextCache,
    size: tuple[int, int] | None = None,
) -> list[MaskPrediction]:
    """Decode prompts about one image.

    Args:
        model: In evaluation mode.
        image: Features of the one image.
        prompts: P phrases.
        texts: Remembers the phrases' features.
        size: Height and width to answer at; by default the resolution the decoder works in.

    Returns:
        P predictions, each with logits [1, 1, H, W] and existence [1] or None.
    """
    answers: list[MaskPrediction] = []
    if not prompts:
        return answers
    with torch.inference_mode():
        text = texts.encode(prompts)
        for rows in torch.arange(len(prompts)).split(PROMPTS_AT_ONCE):
            prediction = model.decode(image.take(torch.zeros_like(rows)), text.take(rows))
            logits = prediction.logits if size is None else resize(prediction.logits, size)
            existence = prediction.existence
            for row in range(len(rows)):
                answers.append(MaskPrediction(logits[row, None], None if existence is None else existence[row, None]))
    return answers
