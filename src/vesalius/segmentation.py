"""What one phrase names in one picture or slice, and how the slices of a series decide together.

Across the slices of a series, `smooth_across` smooths outlines and `gate_by_runs` decides on which slices anything is
marked. Both work in log-odds on the model's own small answers; masks and probabilities are enlarged when asked for.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.console import html_figure
from vesalius.errors import ImageError, OutputError
from vesalius.files import check_absent
from vesalius.imaging import SliceStack, overlay, write_mask, write_rgb
from vesalius.imaging.raster import check_picture_name, to_png
from vesalius.imaging.slices import to_file_order
from vesalius.knowledge import Understanding
from vesalius.runtime.contract import resize_plane, sigmoid

THRESHOLD = 0.5
"""Probability above which a pixel is marked."""

BAND_PIXELS = 2**22
"""Pixels of an answer enlarged at a time."""

RUN_MM = 6.0
"""Length of the run of slices of which most must agree that something is there."""
SHORTEST_RUN, LONGEST_RUN = 3, 21
"""Slices of a run, whatever their distance. Clips, whose frames have no distance, take the shortest."""
MAX_LOG_ODDS = 60.0
"""Largest log-odds of a gated answer, so that they stay finite."""

SMOOTHING_MM = 2.0
"""Standard deviation of the Gaussian across slices; chosen on half of the labelled volumes, see
docs/results/pocket-volumes.md."""
REACH = 3
"""Standard deviations on either side beyond which slices do not count."""
MAX_NEIGHBOURS = 10
"""Slices that count on either side at most, however close they lie."""
TINY = float(np.finfo(np.float64).tiny)
"""Smallest existence, whose logarithm is finite."""
SUREST = 20.0
"""Log-odds at which a slice's pixel is capped, so that one slice cannot outweigh all its neighbours."""

OVERLAY_SIDE = 2048
"""Pixels: overlays of pictures at least twice as long are drawn smaller; masks never are."""
NOTEBOOK_SIDE = 400
"""Pixels: the same in a notebook."""
ASK_OVERWRITE = "overwrite=True"
"""How results are replaced from Python."""


@dataclass(frozen=True, eq=False, repr=False)
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
    """Existence in the run of slices around this one, which decides whether a slice of a series is marked, see
    `gate_by_runs`; None for pictures, and for models that do not say."""
    understanding: Understanding | None = None
    """How the phrase was understood, see `vesalius.knowledge`; None if it was not matched to what the model learnt."""
    slices: SliceStack | None = None
    """Slices that the overlay is drawn on; None for answers made by hand, which have no overlay."""
    index: int = 0
    """Place of the slice among them."""

    @property
    def gate(self) -> float | None:
        """The existence that decides whether anything is marked: that of the run of slices where there is one."""
        return self.existence if self.run_existence is None else self.run_existence

    @property
    def known(self) -> bool:
        """Whether the model learnt what the phrase names, on pictures of this kind.

        If not, it was not asked, nothing is marked, and ``existence`` is None.
        """
        return self.understanding is None or self.understanding.asked is not None

    @property
    def probability(self) -> NDArray[np.float32]:
        """Probability of each pixel to be part of it, [H, W], at the picture's own size."""
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

    def overlay(self, longest: int = OVERLAY_SIDE) -> NDArray[np.uint8]:
        """The mask drawn over the picture, RGB [H, W, 3], 0–255.

        Args:
            longest: Pixels of the longer side; pictures at least twice as long are drawn smaller.

        Raises:
            ImageError: If the answer does not know its picture.
        """
        if self.slices is None:
            raise ImageError(f"{self!r} does not know its picture; use vesalius.imaging.overlay(rgb, answer.mask).")
        rgb = self.slices.render_small(self.index, longest)
        return overlay(rgb, self.mask_at((rgb.shape[0], rgb.shape[1])))

    def save(self, path: str | Path, overlay_path: str | Path | None = None, *, overwrite: bool = False) -> None:
        """Write the mask as a picture of 0 and 255, in the rows and columns of the file it came from.

        Those are the mask's own but for DICOM and NIfTI files that store a slice turned or mirrored.

        Args:
            path: Of a lossless format, such as .png.
            overlay_path: Where an overlay goes, if one is wanted.
            overwrite: Replace files that are there.

        Raises:
            ImageError: If the format would blur a mask, is none of pictures, or there is no picture to draw over.
            OutputError: If a file is there, cannot be written, or is to hold both.
        """
        paths = check_files(path, overlay_path, overwrite)
        drawn = None if overlay_path is None else self.overlay()
        write_mask(paths[0], self.mask if self.slices is None else to_file_order(self.mask, self.slices))
        if drawn is not None:
            write_rgb(paths[1], drawn)

    @property
    def _verdict(self) -> str:
        return describe_existence(self.gate, self.understanding)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.prompt!r}, {'×'.join(map(str, self.size))}, {self._verdict})"

    def _repr_png_(self) -> bytes | None:
        return None if self.slices is None else to_png(self.overlay(NOTEBOOK_SIDE))

    def _repr_html_(self) -> str:
        return html_figure(self._repr_png_(), f"“{self.prompt}”: {self._verdict}")


def check_files(path: str | Path, overlay_path: str | Path | None, overwrite: bool) -> list[Path]:
    """The files of a mask and, if one is wanted, its overlay, before either is written.

    Raises:
        ImageError: If the overlay's name is none of a picture.
        OutputError: If a file is there, or is to hold both.
    """
    paths = [Path(each) for each in (path, overlay_path) if each is not None]
    if len({each.resolve() for each in paths}) < len(paths):
        raise OutputError(f"{path}: is named for the mask and for the overlay; give each a file of its own.")
    for each in paths[1:]:
        check_picture_name(each)
    check_absent(paths, overwrite, ASK_OVERWRITE)
    return paths


def describe_existence(existence: float | None, understanding: Understanding | None) -> str:
    """How sure a model is that something is there, in words.

    >>> describe_existence(0.981, None), describe_existence(None, Understanding("fracture", None, known=False))
    ('existence 0.98', 'not learnt')
    """
    if understanding is not None and understanding.refusal:
        return understanding.refusal
    return "existence not judged" if existence is None else f"existence {existence:.2f}"


def run_length(slices: int, spacing_mm: float | None) -> int:
    """How many neighbouring slices decide together: an odd number, or all slices of a shorter series.

    Args:
        slices: Number of slices of the series.
        spacing_mm: Distance between them, None if unknown.

    >>> run_length(100, 5.0), run_length(1000, 0.5), run_length(87, None), run_length(2, 5.0), run_length(1, None)
    (3, 13, 3, 2, 1)
    """
    wanted = SHORTEST_RUN if spacing_mm is None else round(RUN_MM / spacing_mm) // 2 * 2 + 1
    return min(slices, max(SHORTEST_RUN, min(LONGEST_RUN, wanted)))


def smooth_across(
    answers: Iterable[list[Segmentation]], spacing_mm: float | None, sigma_mm: float = SMOOTHING_MM
) -> Iterator[list[Segmentation]]:
    """Let neighbouring slices decide together where the outline is: a Gaussian of the log-odds across them.

    What is smoothed are the log-odds of a pixel to be inside given that the object is there; each slice keeps its own
    existence, see `gate_by_runs`.

    Args:
        answers: For each slice, one answer a phrase.
        spacing_mm: Distance between slices; None if unknown.
        sigma_mm: Standard deviation; 0 smooths nothing.

    Yields:
        The same, a few slices after they came in; unchanged where slices are unplaced, or 6 mm apart and more.
    """
    reach = 0 if spacing_mm is None else min(MAX_NEIGHBOURS, int(REACH * sigma_mm / spacing_mm))
    if spacing_mm is None or reach == 0:
        yield from answers
        return
    weights = np.exp(-((np.arange(-reach, reach + 1) * spacing_mm / sigma_mm) ** 2) / 2)
    window: deque[tuple[list[Segmentation], list[NDArray[np.float64]]] | None] = deque([None] * (2 * reach + 1))
    for answer in itertools.chain(answers, [None] * reach):
        window.popleft()
        window.append(None if answer is None else (answer, [_odds_inside(each) for each in answer]))
        if (middle := window[reach]) is not None:
            near = [(weight, each[1]) for weight, each in zip(weights, window, strict=True) if each is not None]
            total = sum(weight for weight, _ in near)
            yield [
                _move_outline(each, np.asarray(sum(weight / total * odds[place] for weight, odds in near)))
                for place, each in enumerate(middle[0])
            ]


def gate_by_runs(answers: Iterable[list[Segmentation]], run: int) -> Iterator[list[Segmentation]]:
    """The rule by which the slices of a series decide together whether something is there.

    Objects extend over neighbouring slices. Each slice takes the median existence of the run of slices around it, at
    the ends of the series that of the nearest whole run. This median gates the slice's mask in the place of its own
    existence, and the existence in the series is that of its best run. So a false positive on one slice marks nothing,
    and a false negative on one slice leaves no hole. The price: objects on fewer than half the slices of every run,
    about 3 mm, are missed. `RUN_MM` and the limits of a run were chosen, not fitted to series; the existence of a run
    is no calibrated probability.

    Args:
        answers: For each slice, one answer a phrase.
        run: Slices of a run, 1 to their number, see `run_length`.

    Yields:
        The same with ``run_existence`` and gated by it, half a run after they came in; unchanged where a run is one
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


def decide_together(
    answers: Iterable[list[Segmentation]], count: int, spacing_mm: float | None, sigma_mm: float = SMOOTHING_MM
) -> Iterator[list[Segmentation]]:
    """Let the slices of a series decide together: `smooth_across`, then `gate_by_runs`.

    Args:
        answers: For each slice, one answer a phrase.
        count: Number of slices.
        spacing_mm: Distance between slices; None if unknown.
        sigma_mm: Standard deviation of the smoothing; 0 smooths nothing.

    Yields:
        The answers for each slice, some slices after they came in.
    """
    return gate_by_runs(smooth_across(answers, spacing_mm, sigma_mm), run_length(count, spacing_mm))


def best_gate(gates: Iterable[float | None]) -> float | None:
    """Existence in a series by the `Segmentation.gate` of each slice: that of its best run; None if none is judged."""
    return max((each for each in gates if each is not None), default=None)


def series_existence(existence: NDArray[np.float64], run: int) -> NDArray[np.float64]:
    """Existence in a series, as `gate_by_runs` has it: the median of the best run of slices.

    Args:
        existence: Existence in each slice looked at alone, [D, P] for P phrases, 0 to 1.
        run: Slices of a run, 1 to D.

    Returns:
        One a phrase, [P].
    """
    runs = np.lib.stride_tricks.sliding_window_view(existence, run, axis=0)
    best: NDArray[np.float64] = np.median(runs, axis=-1).max(axis=0)
    return best


def _gate(answer: list[Segmentation], run: Iterable[list[Segmentation]]) -> list[Segmentation]:
    phrases = zip(*run, strict=True)
    return [
        each if each.existence is None else _regate(each, float(np.median([other.existence or 0.0 for other in own])))
        for each, own in zip(answer, phrases, strict=True)
    ]


def _regate(answer: Segmentation, existence: float) -> Segmentation:
    """Replace the slice's existence in its answer, which is the product of both probabilities."""
    return replace(answer, logits=_with_existence(_log_inside(answer), existence), run_existence=existence)


def _move_outline(answer: Segmentation, odds: NDArray[np.float64]) -> Segmentation:
    """The same existence with other log-odds of each pixel to be inside given that the object is there."""
    if not answer.known:
        return answer
    existence = 1.0 if answer.existence is None else answer.existence
    return replace(answer, logits=_with_existence(-np.logaddexp(0, -odds), existence))


def _log_inside(answer: Segmentation) -> NDArray[np.float64]:
    """Log-probability of each pixel to be inside given that the object is there."""
    joint = -np.logaddexp(0, -answer.logits.astype(np.float64))
    existence = 1.0 if answer.existence is None else answer.existence
    found: NDArray[np.float64] = np.minimum(joint - np.log(max(existence, TINY)), 0)
    return found


def _odds_inside(answer: Segmentation) -> NDArray[np.float64]:
    """The same as log-odds, capped at `SUREST` either way."""
    log_inside = np.minimum(_log_inside(answer), -np.exp(-SUREST))
    odds: NDArray[np.float64] = np.maximum(log_inside - np.log(-np.expm1(log_inside)), -SUREST)
    return odds


def _with_existence(log_inside: NDArray[np.float64], existence: float) -> NDArray[np.float32]:
    """Log-odds of the product of both probabilities."""
    joint = np.minimum(log_inside + np.log(max(existence, TINY)), -np.exp(-MAX_LOG_ODDS))
    odds = np.clip(joint - np.log(-np.expm1(joint)), -MAX_LOG_ODDS, MAX_LOG_ODDS)
    return np.asarray(odds, np.float32)


def _enlarge(logits: NDArray[np.float32], size: tuple[int, int]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Bands of rows of an answer at a picture's size: a large one never lies whole in memory as real numbers."""
    height, width = size
    step = max(1, BAND_PIXELS // width)
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        yield rows, resize_plane(logits, size, rows)
