"""Segment with a trained model: ``Predictor`` outlines what phrases name, in pictures, slices and whole volumes.

`segment` and `segment_volume` do it in one call for a single image.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from vesalius.errors import ImageError
from vesalius.imaging import Plane, SliceStack
from vesalius.imaging.memory import ImageLike, as_image
from vesalius.knowledge import Knowledge, Understanding, list_candidates, tells_kind
from vesalius.models.choices import DEFAULT_MODEL, Precision, RuntimeChoice
from vesalius.prompts.user_prompts import check_prompts, list_prompts
from vesalius.runtime import as_runtime
from vesalius.runtime.contract import EncodedImages, FeatureCache, Runtime, check_finite, sigmoid
from vesalius.segmentation import MAX_LOG_ODDS, Segmentation, decide_together, run_length, series_existence
from vesalius.volumes import VolumeSegmentation

if TYPE_CHECKING:
    from vesalius.models import Segmenter

    Model = str | Path | Runtime | Segmenter

SAMPLE = 5
"""Slices by which the kind of a series is told where its header does not tell it."""
ENCODED_SIDE = 1024
"""Pixels; models work at 224 to 480 a side, so pictures at least twice as long are reduced before one encodes them."""

Window = tuple[float, float] | str
"""Center and width in stored values, or of CT a name such as "lung"."""
Asked = str | Iterable[str] | Iterable[Understanding]
"""A phrase, several, or what `Predictor.understand` made of them."""
_Answer = TypeVar("_Answer")


class Predictor:
    """An opened model: ``set_image`` encodes a picture once, ``predict`` answers any number of phrases about it.

    A model whose notes say what it learnt is not asked about anything else: the answer marks nothing and says so
    (``known``, ``understanding``). Words for a family of targets ("tumour") are decided by a look, see `understand`.

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
        precision: Precision = "32",
        threads: int = 0,
        features: FeatureCache | None = None,
    ) -> None:
        self.features = FeatureCache(0) if features is None else features
        self.runtime = as_runtime(model, runtime=runtime, device=device, precision=precision, threads=threads)
        self.knowledge = Knowledge.read(model, self.runtime) if isinstance(model, str | Path) else Knowledge()
        self._name = str(model) if isinstance(model, str | Path) else type(model).__name__
        self._picture: tuple[SliceStack, EncodedImages] | None = None
        self._last: tuple[SliceStack, int, EncodedImages] | None = None

    def set_image(self, image: ImageLike, *, window: Window | None = None) -> "Predictor":
        """Encode the picture that the next phrases are about.

        Args:
            image: A file, an image of one slice, an array ([H, W], [H, W, 3] or [H, W, 4], see
                `vesalius.imaging.memory.as_image`), or a picture of Pillow.
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
        self._picture = slices, self._encode(slices, 0)
        return self

    @overload
    def predict(self, prompts: str) -> Segmentation: ...  # type: ignore[overload-overlap]  # a str is a Sequence, too
    @overload
    def predict(self, prompts: Iterable[str]) -> list[Segmentation]: ...
    def predict(self, prompts: str | Iterable[str]) -> Segmentation | list[Segmentation]:
        """Answer one phrase, or several, about the picture that ``set_image`` was given last.

        Args:
            prompts: A phrase, or several; an empty phrase asks for what the model finds most likely.

        Returns:
            One answer for one phrase, a list for a list.

        Raises:
            ImageError: If no picture was set.
            PromptError: If there is no phrase, or one that is no text.
        """
        if self._picture is None:
            raise ImageError("No image is set; call set_image first.")
        slices, encoded = self._picture
        return _like(prompts, self._reply(self._match(list_prompts(prompts), slices), slices, 0, encoded))

    def understand(
        self,
        slices: SliceStack,
        prompts: Asked,
        *,
        watch: Callable[[Iterable[int], int], Iterable[int]] = lambda places, total: places,
    ) -> list[Understanding]:
        """Match phrases to what the model learnt.

        A word for a family of targets is decided once for all slices: the member whose existence in the series is the
        highest answers. For that every slice is encoded, which ``predict_slices`` does once more.

        Args:
            slices: Slices of an image, ``image.slices()``.
            prompts: A phrase, or several; what is understood already stays as it is.
            watch: Goes through the places of the slices, of which there are so many, and may tell how far they are.

        Returns:
            One for each phrase, in order, for ``predict_slices``.
        """
        understood = self._match(prompts, slices)
        if not list_candidates(understood):
            return understood
        sample = np.unique(np.linspace(0, len(slices) - 1, SAMPLE + 2).round().astype(int)[1:-1])
        understood = self._narrow(understood, slices, [self._encode(slices, place).vectors for place in sample])
        names, rows = list_candidates(understood), []
        if not names:
            return understood
        for place in watch(range(len(slices)), len(slices)):
            found = self._decode(self._encode(slices, place), names)
            rows.append([found[name][1] or 0.0 for name in names])
        whole = series_existence(np.array(rows), run_length(len(slices), slices.slice_spacing_mm))
        existence = dict(zip(names, whole.tolist(), strict=True))
        return [self.knowledge.decide(each, existence) for each in understood]

    def predict_slices(
        self, slices: SliceStack, prompts: Asked, *, together: bool = True
    ) -> Iterator[list[Segmentation]]:
        """Answer the same phrases for slice after slice.

        The slices of a series decide together: outlines are smoothed across slices that lie close, see
        `smooth_across`, and where the model judges existence, a mask is gated by the run of slices around its own, see
        `gate_by_runs`. So answers come some slices late, and memory does not grow with the series.

        Args:
            slices: Slices of an image, ``image.slices()``.
            prompts: A phrase, or several; or what ``understand`` made of them.
            together: Whether slices decide together; if not, each is answered as a picture of its own.

        Yields:
            The answers for each slice, in order.
        """
        understood = self.understand(slices, prompts) if together else self._match(prompts, slices)
        if not list_candidates(understood) and all(each.asked is None for each in understood):  # nothing to encode
            return ([_answer(each, {}, slices, place) for each in understood] for place in range(len(slices)))
        answers = (self._reply(understood, slices, place, self._encode(slices, place)) for place in range(len(slices)))
        return decide_together(answers, len(slices), slices.slice_spacing_mm) if together else answers

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
        prompts: Iterable[str],
        *,
        plane: Plane | None = None,
        window: Window | None = None,
        on_slices: Callable[[int], None] = ...,
    ) -> list[VolumeSegmentation]: ...
    def predict_volume(
        self,
        image: ImageLike,
        prompts: str | Iterable[str],
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
                `vesalius.imaging.memory.as_image`).
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
        asked = check_prompts(prompts)
        whole = as_image(image, volume=True)
        slices = whole.slices(plane, window)
        found: list[list[Segmentation]] = []
        for answers in self.predict_slices(slices, asked):
            found.append(answers)
            on_slices(1)
        by_phrase = zip(asked, zip(*found, strict=True), strict=True)
        return _like(prompts, [VolumeSegmentation(each, whole, slices, own) for each, own in by_phrase])

    def _encode(self, slices: SliceStack, index: int) -> EncodedImages:
        """Encode a slice, unless it was the last one or is kept."""
        if self._last is None or self._last[0] is not slices or self._last[1] != index:
            rgb = partial(slices.render_small, index, ENCODED_SIDE)
            encoded = self.features.find(slices, index, lambda: self.runtime.encode_image(rgb()[None]))
            self._last = slices, index, encoded
        return self._last[2]

    def _match(self, prompts: Asked, slices: SliceStack) -> list[Understanding]:
        every = [prompts] if isinstance(prompts, str) else prompts
        ask = self.knowledge.understand
        return [each if isinstance(each, Understanding) else ask(each, slices.modality) for each in every]

    def _reply(
        self, understood: list[Understanding], slices: SliceStack, index: int, encoded: EncodedImages
    ) -> list[Segmentation]:
        """Answer about a slice; what is undecided is decided by this slice alone."""
        understood = self._narrow(understood, slices, [encoded.vectors])
        names = list_candidates(understood)
        found = self._decode(encoded, [*(each.asked for each in understood if each.asked is not None), *names])
        existence = {name: found[name][1] or 0.0 for name in names}
        decided = [self.knowledge.decide(each, existence) for each in understood]
        return [_answer(each, found, slices, index) for each in decided]

    def _decode(self, image: EncodedImages, phrases: Sequence[str]) -> "dict[str, _Found]":
        """What is found for each phrase."""
        different = list(dict.fromkeys(phrases))
        if not different:
            return {}
        found = self.runtime.decode(image, self.runtime.encode_text(different))
        odds = [None] * len(different) if found.existence is None else found.existence
        check_finite(self._name, found.logits, [each for each in odds if each is not None])
        existence = [None if each is None else float(sigmoid(each)) for each in odds]
        return dict(zip(different, zip(found.logits, existence, strict=True), strict=True))

    def _narrow(
        self, understood: list[Understanding], slices: SliceStack, vectors: Sequence[NDArray[np.float32]]
    ) -> list[Understanding]:
        """Leave out members of families that such pictures do not show, where the header does not tell the kind."""
        unsure = list_candidates(understood) and not tells_kind(slices.modality)
        looks_like = self.knowledge.look(np.concatenate(vectors)) if unsure else None
        return [self.knowledge.narrow(each, looks_like) for each in understood]

    def __repr__(self) -> str:
        shown = "no image" if self._picture is None else "×".join(map(str, self._picture[0].pixels.shape[1:3]))
        runs = f"{self.runtime.name} on {self.runtime.device}"
        return f"{type(self).__name__}({self._name!r}, {runs}, {shown})"


@overload
def segment(  # type: ignore[overload-overlap]  # a str is a Sequence, too
    model: "Model", image: ImageLike, prompts: str, *, window: Window | None = None
) -> Segmentation: ...
@overload
def segment(
    model: "Model", image: ImageLike, prompts: Iterable[str], *, window: Window | None = None
) -> list[Segmentation]: ...
def segment(
    model: "Model", image: ImageLike, prompts: str | Iterable[str], *, window: Window | None = None
) -> Segmentation | list[Segmentation]:
    """Outline what a phrase, or several, name in a picture or single slice.

    Args:
        model: A name ("pocket"), a checkpoint or run folder, or a model in memory. For a device or runtime of your
            choice, and for several pictures, use a `Predictor`.
        image: A file, an image of one slice, an array ([H, W], [H, W, 3] or [H, W, 4], see
            `vesalius.imaging.memory.as_image`), or a picture of Pillow.
        prompts: The phrase, or several.
        window: Center and width in stored values, or of CT a name such as "lung"; by default `default_range`.

    Returns:
        One answer for one phrase, a list for a list.

    Raises:
        PromptError: If there is no phrase, or an empty one.
        ImageError, ModelError: If one of them cannot be read.
    """
    asked = check_prompts(prompts)
    return _like(prompts, Predictor(model).set_image(image, window=window).predict(asked))


@overload
def segment_volume(  # type: ignore[overload-overlap]  # a str is a Sequence, too
    model: "Model", image: ImageLike, prompts: str, *, plane: Plane | None = None, window: Window | None = None
) -> VolumeSegmentation: ...
@overload
def segment_volume(
    model: "Model",
    image: ImageLike,
    prompts: Iterable[str],
    *,
    plane: Plane | None = None,
    window: Window | None = None,
) -> list[VolumeSegmentation]: ...
def segment_volume(
    model: "Model",
    image: ImageLike,
    prompts: str | Iterable[str],
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
    asked = check_prompts(prompts)
    return _like(prompts, Predictor(model).predict_volume(image, asked, plane=plane, window=window))


_Found = tuple[NDArray[np.float32], float | None]
"""Logits [h, w] and existence."""


_NOTHING = np.full((1, 1), -MAX_LOG_ODDS, np.float32), None
"""Answer to a phrase that the model was not asked."""


def _answer(understood: Understanding, found: Mapping[str, _Found], slices: SliceStack, index: int) -> Segmentation:
    logits, existence = _NOTHING if understood.asked is None else found[understood.asked]
    if understood.considered and understood.target is None:  # none of a family is there, whatever the threshold
        logits = _NOTHING[0]
    size = slices.pixels.shape[1], slices.pixels.shape[2]
    return Segmentation(
        understood.prompt, logits, size, existence, understanding=understood, slices=slices, index=index
    )


def _like(prompts: str | Iterable[str], answers: list[_Answer]) -> _Answer | list[_Answer]:
    """One answer for one phrase, a list for a list."""
    return answers[0] if isinstance(prompts, str) else answers
