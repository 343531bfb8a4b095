"""Inference in PyTorch: devices and precision, cached text features, and decoding in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import TypeVar

import torch
from torch import Tensor

from vesalius.errors import ConfigError
from vesalius.models.choices import Precision
from vesalius.models.encoder import (
    ImageFeatures,
    MaskPrediction,
    Segmenter,
    TextFeatures,
    VisionLanguageEncoder,
    resize,
)

CPU = torch.device("cpu")
Model = TypeVar("Model", bound=VisionLanguageEncoder)
_HALVES = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


def choose_device(wanted: str = "auto") -> torch.device:
    """A device that is there.

    Args:
        wanted: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        ConfigError: If there is no such device on this machine.
    """
    if wanted == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "mps" if has_mps() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"--device: expected auto, cpu, cuda, cuda:N or mps; got '{wanted}'.") from error
    there = list_devices()
    if device.type not in ("cpu", "cuda", "mps") or (device.type == "cuda" and device.index is None):
        device = torch.device("cuda:0") if device.type == "cuda" else device
    if str(device) not in there:
        raise ConfigError(f"--device {wanted}: is not on this machine; there are: {', '.join(there)}.")
    return device


def has_mps() -> bool:
    """Whether Apple's GPU can be used."""
    return torch.backends.mps.is_available()


def computing(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """A context in which a model computes in this precision."""
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, _HALVES[precision])


def place(model: Model, device: str = "auto", precision: Precision = "32") -> Model:
    """Move a model to where it is to compute.

    Args:
        model: Any of ours; an export computes on the CPU, in the numbers it was written with.
        device: See ``choose_device``.
        precision: What it is to compute in.

    Raises:
        ConfigError: If there is no such device, or the model is an export that is to compute elsewhere or otherwise.
    """
    wanted = choose_device(device)
    if next(model.parameters(), None) is not None:
        return model.to(wanted)
    if precision != "32" or (device != "auto" and wanted.type != "cpu"):
        asked = f"--precision {precision}" if precision != "32" else f"--device {device}"
        raise ConfigError(f"{asked}: an exported model computes on the CPU, as it was written; leave the option out.")
    return model


def wait(device: torch.device) -> None:
    """Wait until a GPU has finished; a CPU already has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def describe_device(device: torch.device, precision: Precision) -> dict[str, object]:
    """Device and precision, for the record of a command."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"device": str(device), **({"device_name": name} if name else {}), "precision": precision}


def list_devices() -> list[str]:
    """Names of all devices of this machine that PyTorch can use, "cpu" first."""
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *(["mps"] if has_mps() else [])]


LIMIT_BYTES = 256 * 2**20
"""Memory of cached features: 100,000 prompts of pocket, 1,600 of CRIS, which keeps every token."""
ENTRY_BYTES = 1024
"""Memory of an entry beside its tensors."""


class TextCache:
    """Text features of a model that does not change, cached by prompt; the least recently used are dropped first.

    Args:
        model: Its text encoder must stay as it is for as long as the cache is used.
        at_once: New prompts that are encoded together. With 1, a prompt's features do not depend on its batch, not
            even in the last bit.
        limit_bytes: Memory of all that is cached between two calls.
    """

    def __init__(self, model: VisionLanguageEncoder, at_once: int = 64, limit_bytes: int = LIMIT_BYTES) -> None:
        self.model = model
        self.at_once = at_once
        self.limit_bytes = limit_bytes
        self._known: dict[str, TextFeatures] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> TextFeatures:
        """Features of B prompts, computing only those not remembered."""
        asked = dict.fromkeys(prompts)
        found = {prompt: self._known[prompt] for prompt in asked if prompt in self._known}
        new = sorted(asked.keys() - found.keys())
        for start in range(0, len(new), self.at_once):
            some = new[start : start + self.at_once]
            features = self.model.encode_text(some)
            rows = torch.arange(len(some), device=features.embedding.device).split(1)
            found |= {prompt: features.index_select(row) for prompt, row in zip(some, rows, strict=True)}
        for prompt in asked:
            self._remember(prompt, found[prompt])
        self._forget()
        return TextFeatures.join([found[prompt] for prompt in prompts])

    def _remember(self, prompt: str, features: TextFeatures) -> None:
        """Put it last in line to be forgotten."""
        if self._known.pop(prompt, None) is None:
            self._bytes += count_bytes(features)
        self._known[prompt] = features

    def _forget(self) -> None:
        while self._bytes > self.limit_bytes:
            self._bytes -= count_bytes(self._known.pop(next(iter(self._known))))


def count_bytes(features: TextFeatures) -> int:
    """Bytes of all tensors, those of parts included, and of the Python objects around them."""
    values = [getattr(features, each.name) for each in fields(features)]
    own = sum(value.nbytes for value in values if isinstance(value, Tensor))
    return ENTRY_BYTES + own + sum(count_bytes(part) for part in features.parts)


PROMPTS_AT_ONCE = 4
"""Prompts decoded together; bounds memory, changes no number."""
IMAGES_AT_ONCE = 16
"""Images encoded together on a GPU; on a CPU, where numbers are published, none depends on an image's batch."""
PIXELS_AT_ONCE = 2**24
"""Largest number of pixels of all images encoded together; 200 MB of RGB."""
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
            yield item, features.index_select(torch.tensor([row], device=model.device))


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


def decode_prompts(
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
                prediction = model.decode(image.index_select(torch.zeros_like(rows)), text.index_select(rows))
            logits = prediction.logits.float()
            logits = (logits if size is None else resize(logits, size)).cpu()
            existence = None if prediction.existence is None else prediction.existence.float().cpu()
            for row in range(len(rows)):
                answers.append(MaskPrediction(logits[row, None], None if existence is None else existence[row, None]))
    return answers
