"""Segment with a trained model: ``Predictor`` outlines what phrases name, in pictures, slices and whole volumes.

`segment` and `segment_volume` do it in one call for a single image.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError, PromptError
from vesalius.imaging import Plane, SliceStack
from vesalius.imaging.orientation import voxel_spacing
from vesalius.imaging.read import ImageLike, as_image
from vesalius.knowledge import Knowledge, Understanding
from vesalius.runtime import RuntimeChoice, as_runtime
from vesalius.runtime.contract import EncodedImages, Runtime, sigmoid
from vesalius.segmentation import MAX_LOG_ODDS, Segmentation, gate_by_runs, run_length, smooth_across
from vesalius.volumes import VolumeSegmentation

if TYPE_CHECKING:
    from vesalius.models import Segmenter
    from vesalius.models.inference import Precision

    Model = str | Path | Runtime | Segmenter

DEFAULT_MODEL = "pocket"

ENCODED_SIDE = 1024
"""Pixels; models work at 224 to 480 a side, so pictures at least twice as long are reduced before one encodes them."""

Window = tuple[float, float] | str
"""Center and width in stored values, or of CT a name such as "lung"."""
_Answer = TypeVar("_Answer")


class FeatureCache:
    """Features of slices, kept so that further phrases about them encode nothing.

    What was used least recently goes first, image by image. Of an image that is larger than all room the first slices
    are kept, and the rest is encoded each time.

    Args:
        limit: Bytes that are kept at most.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        """Bytes that are kept."""
        self._kept: OrderedDict[SliceStack, dict[int, EncodedImages]] = OrderedDict()

    def find(self, slices: SliceStack, index: int, encode: Callable[[], EncodedImages]) -> EncodedImages:
        """The features of one slice, encoded if they are not kept.

        Args:
            slices: Stack of the slice; another stack of the same image is another image.
            index: Place of the slice.
            encode: Encodes it.
        """
        kept = self._kept.setdefault(slices, {})
        self._kept.move_to_end(slices)
        if index in kept:
            return kept[index]
        found = encode()
        size = _bytes_of(found)
        while self.nbytes + size > self.limit and len(self._kept) > 1:
            self.forget(next(iter(self._kept)))
        if self.nbytes + size <= self.limit:
            kept[index] = found
            self.nbytes += size
        return found

    def forget(self, slices: SliceStack) -> None:
        """Drop the features of all slices of a stack."""
        self.nbytes -= sum(map(_bytes_of, self._kept.pop(slices, {}).values()))


def _bytes_of(features: object) -> int:
    """Bytes of all arrays and tensors within."""
    if isinstance(features, EncodedImages):
        return _bytes_of(features.vectors) + _bytes_of(features.maps)
    if isinstance(features, Mapping):
        return sum(map(_bytes_of, features.values()))
    if isinstance(features, list | tuple):
        return sum(map(_bytes_of, features))
    return int(getattr(features, "nbytes", 0))


class Predictor:
    """An opened model: ``set_image`` encodes a picture once, ``predict`` answers any number of phrases about it.

    A model whose notes say what it learnt is not asked about anything else: the answer to such a phrase marks nothing
    and says so (``known``, ``understanding``).

    Args:
        model: A name ("pocket"), a checkpoint or run folder; or a model in memory, which is asked every phrase.
        runtime: Program that runs the model, see `vesalius.runtime.open_runtime`; ignored for models in memory.
        device: Device that computes: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: Precision of computation in PyTorch.
        threads: Threads that compute on a CPU; 0 for all cores.
        features: Where features of slices are kept for further phrases; by default those of one slice are.

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
        threads: int = 0,
        features: FeatureCache | None = None,
    ) -> None:
        self.features = FeatureCache(0) if features is None else features
        self.runtime = as_runtime(model, runtime=runtime, device=device, precision=precision, threads=threads)
        self.knowledge = Knowledge.read(model, self.runtime) if isinstance(model, str | Path) else Knowledge()
        self._name = str(model) if isinstance(model, str | Path) else type(model).__name__
        self._encoded: EncodedImages | None = None
        self._slices: SliceStack | None = None
        self._index = 0

    def set_image(self, image: ImageLike, *, window: Window | None = None) -> "Predictor":
        """Encode the picture that the next phrases are about.

        Args:
            image: A file, an image of one slice, an array ([H, W], [H, W, 3] or [H, W, 4], see
                `vesalius.imaging.read.as_image`), or a picture of Pillow.
            window: Center and width in stored values, or of CT a name such as "lung"; by default `default_range`.

        Raises:
            ImageError: If it cannot be read, holds other numbers, or is a volume (use ``predict_volume``).
        """
        picture = as_image(image)
        slices = picture.slices(window=window)
        if len(slices) != 1:
            raise ImageError(
                f"{picture.source}: has {len(slices)} slices; use segment_volume or predict_volume, which take volumes."
            )
        return self._encode(slices, 0)

    @overload
    def predict(self, prompts: str) -> Segmentation: ...  # type: ignore[overload-overlap]  # a str is a Sequence, too
    @overload
    def predict(self, prompts: Sequence[str]) -> list[Segmentation]: ...
    def predict(self, prompts: str | Sequence[str]) -> Segmentation | list[Segmentation]:
        """Answer one phrase, or several, about the picture set before.

        Args:
            prompts: A phrase, or several; an empty phrase asks for what the model finds most likely.

        Returns:
            One answer for one phrase, a list for a list.

        Raises:
            ImageError: If no picture was set.
        """
        if self._encoded is None or self._slices is None:
            raise ImageError("No image is set; call set_image first.")
        slices, place = self._slices, self._index
        understood = [self.knowledge.understand(prompt, slices.modality) for prompt in _as_list(prompts)]
        phrases = [each.asked for each in understood if each.asked is not None]
        found = iter(_decode(self.runtime, self._encoded, phrases))
        answers = [_answer(each, _NOTHING if each.asked is None else next(found), slices, place) for each in understood]
        return _like(prompts, answers)

    def predict_slices(
        self, slices: SliceStack, prompts: str | Sequence[str], *, together: bool = True
    ) -> Iterator[list[Segmentation]]:
        """Answer the same phrases for slice after slice.

        The slices of a series decide together: outlines are smoothed across slices that lie close, see
        `smooth_across`, and where the model judges existence, a mask is gated by the run of slices around its own, see
        `gate_by_runs`. So answers come some slices late, and memory does not grow with the series.

        Args:
            slices: Slices of an image, ``image.slices()``.
            prompts: A phrase, or several.
            together: Whether slices decide together; if not, each is answered as a picture of its own.

        Yields:
            The answers for each slice, in order.
        """
        asked = _as_list(prompts)
        answers = (self._encode(slices, index).predict(asked) for index in range(len(slices)))
        if not together:
            return answers
        spacing = None if slices.affine is None else voxel_spacing(slices.affine)[0]
        return gate_by_runs(smooth_across(answers, spacing), run_length(len(slices), spacing))

    @overload
    def predict_volume(  # type: ignore[overload-overlap]  # a str is a Sequence, too
        self,
        image: ImageLike,
        prompts: str,
        *,
        plane: Plane | None = None,
        window: Window | None = None,
        on_slices: Callable[[int], None] = ...,
    ) -> VolumeSegmentation: ...
    @overload
    def predict_volume(
        self,
        image: ImageLike,
        prompts: Sequence[str],
        *,
        plane: Plane | None = None,
        window: Window | None = None,
        on_slices: Callable[[int], None] = ...,
    ) -> list[VolumeSegmentation]: ...
    def predict_volume(
        self,
        image: ImageLike,
        prompts: str | Sequence[str],
        *,
        plane: Plane | None = None,
        window: Window | None = None,
        on_slices: Callable[[int], None] = lambda count: None,
    ) -> VolumeSegmentation | list[VolumeSegmentation]:
        """Answer one phrase, or several, about a volume or series; every slice is encoded once.

        Each slice takes a fraction of a second on a CPU. The image and the answers at the model's resolution stay in
        memory, 100 kB a slice and phrase for pocket; if that is too much for a long series, use ``predict_slices``.

        Args:
            image: A file, a folder with a series, an image, or an array of slices ([D, H, W] or [D, H, W, 3], see
                `vesalius.imaging.read.as_image`).
            prompts: A phrase, or several.
            plane: "axial", "coronal" or "sagittal"; by default the plane the image was taken in.
            window: Center and width in stored values, or of CT a name such as "lung"; by default `default_range`.
            on_slices: Called with the number of slices that were just finished, for progress.

        Returns:
            One answer for one phrase, a list for a list.

        Raises:
            ImageError: If the image cannot be read, or cannot be shown so.
            PromptError: If there is no phrase, or an empty one.
        """
        asked = _as_list(prompts)
        check_prompts(asked)
        whole = as_image(image, volume=True)
        slices = whole.slices(plane, window)
        found: list[list[Segmentation]] = []
        for answers in self.predict_slices(slices, asked):
            found.append(answers)
            on_slices(1)
        by_phrase = zip(asked, zip(*found, strict=True), strict=True)
        return _like(prompts, [VolumeSegmentation(each, whole, slices, own) for each, own in by_phrase])

    def _encode(self, slices: SliceStack, index: int) -> "Predictor":
        self._encoded = self.features.find(
            slices, index, lambda: self.runtime.encode_image(slices.render_small(index, ENCODED_SIDE)[None])
        )
        self._slices, self._index = slices, index
        return self

    def __repr__(self) -> str:
        shown = "no image" if self._slices is None else "×".join(map(str, self._slices.pixels.shape[1:3]))
        runs = f"{self.runtime.name} on {self.runtime.device}"
        return f"{type(self).__name__}({self._name!r}, {runs}, {shown})"


@overload
def segment(  # type: ignore[overload-overlap]  # a str is a Sequence, too
    model: "Model", image: ImageLike, prompts: str, *, window: Window | None = None
) -> Segmentation: ...
@overload
def segment(
    model: "Model", image: ImageLike, prompts: Sequence[str], *, window: Window | None = None
) -> list[Segmentation]: ...
def segment(
    model: "Model", image: ImageLike, prompts: str | Sequence[str], *, window: Window | None = None
) -> Segmentation | list[Segmentation]:
    """Outline what a phrase, or several, name in a picture or single slice.

    Args:
        model: A name ("pocket"), a checkpoint or run folder, or a model in memory. For a device or runtime of your
            choice, and for several pictures, use a `Predictor`.
        image: A file, an image of one slice, an array ([H, W], [H, W, 3] or [H, W, 4], see
            `vesalius.imaging.read.as_image`), or a picture of Pillow.
        prompts: The phrase, or several.
        window: Center and width in stored values, or of CT a name such as "lung"; by default `default_range`.

    Returns:
        One answer for one phrase, a list for a list.

    Raises:
        PromptError: If there is no phrase, or an empty one.
        ImageError, ModelError: If one of them cannot be read.
    """
    check_prompts(_as_list(prompts))
    return Predictor(model).set_image(image, window=window).predict(prompts)


@overload
def segment_volume(  # type: ignore[overload-overlap]  # a str is a Sequence, too
    model: "Model", image: ImageLike, prompts: str, *, plane: Plane | None = None, window: Window | None = None
) -> VolumeSegmentation: ...
@overload
def segment_volume(
    model: "Model",
    image: ImageLike,
    prompts: Sequence[str],
    *,
    plane: Plane | None = None,
    window: Window | None = None,
) -> list[VolumeSegmentation]: ...
def segment_volume(
    model: "Model",
    image: ImageLike,
    prompts: str | Sequence[str],
    *,
    plane: Plane | None = None,
    window: Window | None = None,
) -> VolumeSegmentation | list[VolumeSegmentation]:
    """Outline what a phrase, or several, name in a volume or series; see `Predictor.predict_volume`.

    Args:
        model: A name ("pocket"), a checkpoint or run folder, or a model in memory. For a device or runtime of your
            choice, and for several volumes, use a `Predictor`.
        image: A file, a folder with a series, an image, or an array of slices [D, H, W] or [D, H, W, 3].
        prompts: The phrase, or several.
        plane: "axial", "coronal" or "sagittal"; by default the plane the image was taken in.
        window: Center and width in stored values, or of CT a name such as "lung"; by default `default_range`.

    Returns:
        One answer for one phrase, a list for a list.

    Raises:
        PromptError: If there is no phrase, or an empty one.
        ImageError, ModelError: If one of them cannot be read.
    """
    check_prompts(_as_list(prompts))
    return Predictor(model).predict_volume(image, prompts, plane=plane, window=window)


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse an empty list of phrases, and empty phrases.

    Raises:
        PromptError: If there is no prompt, or an empty one.
    """
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise PromptError('A prompt is needed: say what to outline, for example "polyp" or "lungs".')


def _decode(
    runtime: Runtime, image: EncodedImages, phrases: Sequence[str]
) -> Iterator[tuple[NDArray[np.float32], float | None]]:
    """Logits [h, w] and existence for each phrase."""
    if not phrases:
        return
    found = runtime.decode(image, runtime.encode_text(phrases))
    for place, logits in enumerate(found.logits):
        yield logits, None if found.existence is None else float(sigmoid(found.existence[place]))


_NOTHING = np.full((1, 1), -MAX_LOG_ODDS, np.float32), None
"""Answer to a phrase that the model was not asked."""


def _answer(
    understood: Understanding, found: tuple[NDArray[np.float32], float | None], slices: SliceStack, index: int
) -> Segmentation:
    logits, existence = found
    size = slices.pixels.shape[1], slices.pixels.shape[2]
    return Segmentation(
        understood.prompt, logits, size, existence, understanding=understood, slices=slices, index=index
    )


def _as_list(prompts: str | Sequence[str]) -> list[str]:
    return [prompts] if isinstance(prompts, str) else list(prompts)


def _like(prompts: str | Sequence[str], answers: list[_Answer]) -> _Answer | list[_Answer]:
    """One answer for one phrase, a list for a list."""
    return answers[0] if isinstance(prompts, str) else answers
