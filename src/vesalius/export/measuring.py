"""How long models take for an image, a prompt and an answer, in turns, so that whatever disturbs one disturbs all."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from vesalius.models import Segmenter

ROUNDS = 15
PROMPT = "one small white polyp"


@dataclass(frozen=True)
class Timing:
    """Median milliseconds of one model, for one image at its working size and one prompt."""

    image: float
    """To encode an image."""
    prompt: float
    """To encode a prompt, which is done once for any number of images."""
    decoder: float
    """To answer one prompt about one image."""

    @property
    def answer(self) -> float:
        """For a new image and a prompt met before."""
        return self.image + self.decoder


def measure(models: Sequence[Segmenter], rounds: int = ROUNDS) -> list[Timing]:
    """Time models that work on the same size.

    Args:
        models: In evaluation mode.
        rounds: Turns of each, after one to warm up.
    """
    steps = [_steps(model) for model in models]
    seconds: list[list[list[float]]] = [[[] for _ in each] for each in steps]
    for turn in range(rounds + 1):
        for each, found in zip(steps, seconds, strict=True):
            for step, times in zip(each, found, strict=True):
                started = time.perf_counter()
                step()
                if turn:
                    times.append(time.perf_counter() - started)
    return [Timing(*(1000 * median(times) for times in found)) for found in seconds]


@torch.inference_mode()
def _steps(model: Segmenter) -> list[Callable[[], object]]:
    size = model.spec.image_size
    picture = torch.rand(1, 3, size, size)
    image, text = model.encode_image(picture), model.encode_text([PROMPT])
    return [
        torch.inference_mode()(lambda: model.encode_image(picture)),
        torch.inference_mode()(lambda: model.encode_text([PROMPT])),
        torch.inference_mode()(lambda: model.decode(image, text)),
    ]
