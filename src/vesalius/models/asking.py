"""Images and prompts to answers in bounded memory, wherever the model is; the answers lie on the CPU."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from vesalius.models.devices import Precision, computing
from vesalius.models.encoder import VisionLanguageEncoder
from vesalius.models.features import ImageFeatures, MaskPrediction, resize
from vesalius.models.segmenter import Segmenter
from vesalius.models.text_cache import TextCache

PROMPTS_AT_ONCE = 4
"""Prompts decoded together; bounds memory, changes no number."""
IMAGES_AT_ONCE = 16
"""Images encoded together on a GPU; on a CPU, where numbers are published, none depends on an image's company."""
PIXELS_AT_ONCE = 2**24
"""Of images encoded together, all in all; 200 MB of RGB."""
Item = TypeVar("Item")


def encode(model: VisionLanguageEncoder, images: Tensor, precision: Precision = "32") -> ImageFeatures:
    """Encode images where the model is.

    Args:
        model: In evaluation mode, on any device.
        images: RGB [B, 3, H, W] in [0, 1], on any device.
        precision: Of computation.
    """
    with torch.inference_mode(), computing(model.device, precision):
        return model.encode_image(images.to(model.device))


def encode_each(
    model: VisionLanguageEncoder,
    items: Iterable[Item],
    image_of: Callable[[Item], Tensor],
    precision: Precision = "32",
) -> Iterator[tuple[Item, ImageFeatures]]:
    """Encode images one by one on a CPU, and neighbours of one size together on a GPU.

    Args:
        model: In evaluation mode, on any device.
        items: Whatever has an image; read as they are needed.
        image_of: The RGB [3, H, W] in [0, 1] of an item.
        precision: Of computation.

    Yields:
        Each item, in order, with the features of its one image.
    """
    for some in group_by_size(items, image_of, 1 if model.device.type == "cpu" else IMAGES_AT_ONCE):
        images = [image_of(item) for item in some]
        features = encode(model, images[0][None] if len(images) == 1 else torch.stack(images), precision)
        for row, item in enumerate(some):
            yield item, features.take(torch.tensor([row], device=model.device))


def group_by_size(items: Iterable[Item], image_of: Callable[[Item], Tensor], at_once: int) -> Iterator[list[Item]]:
    """Neighbours whose images have one size, at most so many together, and not more than memory is meant for."""
    group: list[Item] = []
    for item in items:
        image = image_of(item)
        if group and image_of(group[0]).shape != image.shape:
            yield group
            group = []
        group.append(item)
        if len(group) >= min(at_once, PIXELS_AT_ONCE // image[0].numel()):
            yield group
            group = []
    if group:
        yield group


def ask(
    model: Segmenter,
    image: ImageFeatures,
    prompts: Sequence[str],
    texts: TextCache,
    size: tuple[int, int] | None = None,
    precision: Precision = "32",
) -> list[MaskPrediction]:
    """Decode prompts about one image.

    Args:
        model: In evaluation mode, on any device.
        image: Features of the one image, where the model is.
        prompts: P phrases.
        texts: Remembers the phrases' features.
        size: Height and width to answer at; by default the resolution the decoder works in.
        precision: Of decoding; phrases are encoded once, in 32 bits.

    Returns:
        P predictions on the CPU in 32-bit floats, each with logits [1, 1, H, W] and existence [1] or None.
    """
    answers: list[MaskPrediction] = []
    if not prompts:
        return answers
    with torch.inference_mode():
        text = texts.encode(prompts)
        for rows in torch.arange(len(prompts), device=model.device).split(PROMPTS_AT_ONCE):
            with computing(model.device, precision):
                prediction = model.decode(image.take(torch.zeros_like(rows)), text.take(rows))
            logits = prediction.logits.float()
            logits = (logits if size is None else resize(logits, size)).cpu()
            existence = None if prediction.existence is None else prediction.existence.float().cpu()
            for row in range(len(rows)):
                answers.append(MaskPrediction(logits[row, None], None if existence is None else existence[row, None]))
    return answers
