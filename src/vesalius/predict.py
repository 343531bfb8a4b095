"""Trained models at work: ``Predictor`` outlines what phrases name, in pictures, slices and whole volumes."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError, PromptError
from vesalius.imaging import MedicalImage, SliceStack, read_image
from vesalius.imaging.orientation import voxel_spacing
from vesalius.knowledge import Knowledge, Understanding
from vesalius.runtime import RuntimeChoice, as_runtime
from vesalius.runtime.contract import EncodedImages, Runtime
from vesalius.runtime.resample import resize_plane, sigmoid

if TYPE_CHECKING:
    from vesalius.models import Segmenter
    from vesalius.models.devices import Precision

DEFAULT_MODEL = "pocket"
THRESHOLD = 0.5

ENCODED_SIDE = 1024
"""Pixels; models work at 224 to 480 a side, so pictures at least twice as long are reduced before one encodes them."""
BAND_PIXELS = 2**22
"""Pixels of an answer enlarged at a time."""

RUN_MM = 6.0
"""Length of the run of slices of which most must agree that something is there."""
SHORTEST_RUN, LONGEST_RUN = 3, 21
"""Slices of a run, whatever their distance; also of clips, whose frames have none."""
MOST_LOG_ODDS = 60.0
"""Of a gated answer, so that it stays finite."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What one phrase names in one picture or slice."""

    prompt: str
    logits: NDArray[np.float32]
    """Log-odds of each pixel to be part of it, [h, w], at the resolution the model answers in."""
    size: tuple[int, int]
    """Height and width of the picture."""
    existence: float | None
    """Probability that the picture shows it at all; None for models that do not say."""
    run_existence: float | None = None
    """The same of the run of slices around this one, which decides whether a slice of a series is marked, see
    `gate_by_runs`; None for pictures, and for models that do not say."""
    understanding: Understanding | None = None
    """How the phrase was understood, see `vesalius.knowledge`; None where nobody looked."""

    @property
    def known(self) -> bool:
        """Whether the model learnt what the phrase names, on pictures of this kind.

        If not, it was not asked, nothing is marked, and ``existence`` is None.
        """
        return self.understanding is None or self.understanding.asked is not None

    @property
    def probability(self) -> NDArray[np.float32]:
        """Of each pixel to be part of it, [H, W], at the picture's own size."""
        found = np.empty(self.size, np.float32)
        for rows, logits in _enlarge(self.logits, self.size):
            found[rows] = sigmoid(logits)
        return found

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels more likely inside than outside, [H, W]."""
        return self.mask_at(self.size)

    def mask_at(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """The mask of a copy of the picture that has another size, [H, W]."""
        found = np.empty(size, np.bool_)
        for rows, logits in _enlarge(self.logits, size):
            found[rows] = sigmoid(logits) > THRESHOLD
        return found


class Predictor:
    """One model, ready to be asked: ``set_image`` encodes a picture once, ``predict`` answers any number of phrases.

    A model whose notes say what it learnt is not asked about anything else: the answer to such a phrase marks nothing
    and says so (``known``, ``understanding``).

    Args:
        model: A name ("pocket"), a checkpoint or run folder; or a model in memory, which is asked everything.
        runtime: What runs it, see `vesalius.runtime.open_runtime`; not looked at for models in memory.
        device: Where: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: Of computation in PyTorch.

    Raises:
        ConfigError: If there is no such device, or the runtime cannot do that.
        MissingPackageError: If PyTorch is needed and not installed.
        ModelError: If there is no such model or no weights of it.
    """

    def __init__(
        self,
        model: "str | Path | Runtime | Segmenter" = DEFAULT_MODEL,
        *,
        runtime: RuntimeChoice = "auto",
        device: str = "auto",
        precision: "Precision" = "32",
    ) -> None:
        self.runtime = as_runtime(model, runtime=runtime, device=device, precision=precision)
        self._encoded: EncodedImages | None = None
        self._size = (0, 0)
        self._modality: str | None = None
        self.knowledge = Knowledge.read(model, self.runtime) if isinstance(model, str | Path) else Knowledge()

    def set_image(self, image: str | Path | MedicalImage | NDArray[np.generic]) -> "Predictor":
        """Encode the picture that the next phrases are about.

        Args:
            image: A file, an image of one slice, or RGB [H, W, 3] as bytes or as real numbers in [0, 1].

        Raises:
            ImageError: If it cannot be read, holds other numbers, or is a volume (use ``predict_slices``).
        """
        return self._encode(_only_slice(image), 0)

    def predict(self, prompts: str | Sequence[str]) -> list[Segmentation]:
        """Answer one phrase or several about the picture set before.

        Args:
            prompts: Phrases; an empty one asks for whatever the model finds most likely.

        Raises:
            ImageError: If no picture was set.
        """
        if self._encoded is None:
            raise ImageError("No image is set; call set_image first.")
        asked = [prompts] if isinstance(prompts, str) else list(prompts)
        understood = [self.knowledge.understand(prompt, self._modality) for prompt in asked]
        phrases = [each.asked for each in understood if each.asked is not None]
        found = iter(_decode(self.runtime, self._encoded, phrases))
        return [
            _nothing(each, self._size) if each.asked is None else _to_segmentation(each, next(found), self._size)
            for each in understood
        ]

    def predict_slices(self, slices: SliceStack, prompts: Sequence[str]) -> Iterator[list[Segmentation]]:
        """Answer the same phrases for slice after slice.

        Where the model judges existence, the slices of a series decide together: a mask is gated by the run of slices
        around its own, see `gate_by_runs`. So answers come half a run late, and memory does not grow with the series.

        Yields:
            The answers for each slice, in order.
        """
        answers = (self._encode(slices, index).predict(prompts) for index in range(len(slices)))
        run = run_length(len(slices), None if slices.affine is None else voxel_spacing(slices.affine)[0])
        return gate_by_runs(answers, run)

    def _encode(self, slices: SliceStack, index: int) -> "Predictor":
        self._size = (slices.pixels.shape[1], slices.pixels.shape[2])
        self._modality = slices.modality
        self._encoded = self.runtime.encode_image(slices.render_small(index, ENCODED_SIDE)[None])
        return self


def segment(
    model: "str | Path | Runtime | Segmenter", image: str | Path | MedicalImage | NDArray[np.generic], prompt: str
) -> Segmentation:
    """Outline what a phrase names in a picture or single slice.

    Args:
        model: A name ("pocket"), a checkpoint or run folder, or a model in memory.
        image: A file, an image of one slice, or RGB [H, W, 3] as bytes or as real numbers in [0, 1].
        prompt: The phrase.

    Raises:
        PromptError: If the phrase is empty.
        ImageError, ModelError: If one of them cannot be read.
    """
    check_prompts([prompt])
    return Predictor(model).set_image(image).predict(prompt)[0]


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse a question that asks nothing.

    Raises:
        PromptError: If there is no prompt, or an empty one.
    """
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise PromptError('A prompt is needed: say what to outline, for example "polyp" or "lungs".')


def run_length(slices: int, spacing_mm: float | None) -> int:
    """How many neighbouring slices decide together; odd, but where a series is shorter.

    Args:
        slices: Of the series.
        spacing_mm: Distance between them, None if unknown.

    >>> run_length(100, 5.0), run_length(1000, 0.5), run_length(87, None), run_length(2, 5.0), run_length(1, None)
    (3, 13, 3, 2, 1)
    """
    wanted = SHORTEST_RUN if spacing_mm is None else round(RUN_MM / spacing_mm) // 2 * 2 + 1
    return min(slices, max(SHORTEST_RUN, min(LONGEST_RUN, wanted)))


def gate_by_runs(answers: Iterable[list[Segmentation]], run: int) -> Iterator[list[Segmentation]]:
    """The rule by which the slices of a series decide together whether something is there.

    A slice's own score is one look; what is there shows on its neighbours too. Each slice takes the median existence of
    the run of slices around it, at the ends of the series of the nearest whole run. That gates its mask in the place of
    its own score, and the series shows the thing as surely as its best run does. So a false alarm on one slice makes
    nothing "there", and a slice on which it is overlooked leaves no hole. The price: what shows on fewer than half the
    slices of every run, about 3 mm, is missed. `RUN_MM` and its companions were chosen, not fitted to series; a run's
    existence is no calibrated probability.

    Args:
        answers: For each slice, one a phrase.
        run: Slices of a run, 1 to their number, see `run_length`.

    Yields:
        The same with ``run_existence`` and gated by it, half a run after they came in; as they are where a run is one
        slice or the model does not judge existence.
    """
    waiting: deque[list[Segmentation]] = deque()
    recent: deque[list[Segmentation]] = deque(maxlen=run)
    for answer in answers:
        if run == 1 or all(each.existence is None for each in answer):
            yield answer
            continue
        waiting.append(answer)
        recent.append(answer)
        while len(recent) == run and len(waiting) > run // 2:
            yield _gate(waiting.popleft(), recent)
    while waiting:
        yield _gate(waiting.popleft(), recent)


def _gate(answer: list[Segmentation], run: Iterable[list[Segmentation]]) -> list[Segmentation]:
    phrases = zip(*run, strict=True)
    return [
        each if each.existence is None else _regate(each, float(np.median([other.existence or 0.0 for other in own])))
        for each, own in zip(answer, phrases, strict=True)
    ]


def _regate(answer: Segmentation, existence: float) -> Segmentation:
    """Take the slice's own existence out of its answer, the product of both probabilities, and put another in."""
    least = np.finfo(np.float64).tiny
    joint = -np.logaddexp(0, -answer.logits.astype(np.float64))  # log-probability
    inside = np.minimum(joint - np.log(max(answer.existence or 0.0, least)), 0)
    gated = np.minimum(inside + np.log(max(existence, least)), -np.exp(-MOST_LOG_ODDS))
    logits = np.clip(gated - np.log(-np.expm1(gated)), -MOST_LOG_ODDS, MOST_LOG_ODDS).astype(np.float32)
    return replace(answer, logits=logits, run_existence=existence)


def _decode(
    runtime: Runtime, image: EncodedImages, phrases: Sequence[str]
) -> Iterator[tuple[NDArray[np.float32], float | None]]:
    """Logits [h, w] and existence for each phrase."""
    if not phrases:
        return
    found = runtime.decode(image, runtime.encode_text(phrases))
    for place, logits in enumerate(found.logits):
        yield logits, None if found.existence is None else float(sigmoid(found.existence[place]))


def _to_segmentation(
    understood: Understanding, found: tuple[NDArray[np.float32], float | None], size: tuple[int, int]
) -> Segmentation:
    logits, existence = found
    return Segmentation(understood.prompt, logits, size, existence, understanding=understood)


def _nothing(understood: Understanding, size: tuple[int, int]) -> Segmentation:
    """What is said of a phrase that the model was not asked."""
    nowhere = np.full((1, 1), -MOST_LOG_ODDS, np.float32)
    return Segmentation(understood.prompt, nowhere, size, None, understanding=understood)


def _enlarge(logits: NDArray[np.float32], size: tuple[int, int]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Bands of rows of an answer at a picture's size: a large one never lies whole in memory as real numbers."""
    height, width = size
    step = max(1, BAND_PIXELS // width)
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        yield rows, resize_plane(logits, size, rows)


def _only_slice(image: str | Path | MedicalImage | NDArray[np.generic]) -> SliceStack:
    if isinstance(image, np.ndarray):
        return MedicalImage(_checked_rgb(image)[None], source=Path("array")).slices()
    picture = image if isinstance(image, MedicalImage) else read_image(image)
    slices = picture.slices()
    if len(slices) != 1:
        raise ImageError(f"{picture.source}: has {len(slices)} slices; use predict_slices(image.slices(), prompts).")
    return slices


def _checked_rgb(image: NDArray[np.generic]) -> NDArray[np.uint8 | np.float32]:
    """RGB [H, W, 3] of one of two types, if it is what it should be."""
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(f"Expected RGB [H, W, 3], got an array of shape {list(image.shape)}.")
    if image.dtype == np.uint8:
        return image.astype(np.uint8, copy=False)
    expected = "Expected RGB as bytes (uint8, 0 to 255) or as real numbers from 0 to 1"
    if image.dtype.kind != "f":
        raise ImageError(f"{expected}, got {image.dtype}; convert it, for example with image.astype(np.uint8).")
    values = image.astype(np.float32, copy=False)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ImageError(f"{expected}, got NaN or infinite values; replace them first.")
    if low < 0 or high > 1:
        raise ImageError(f"{expected}, got values from {low:g} to {high:g}; scale or clip them first.")
    return values
