"""Name images: from the file's header where it answers a question, else by comparing pixels with phrases.

First what headers say, then models with their calibration, then the labeller.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vesalius.errors import ImageError, ModelError, require
from vesalius.imaging import MedicalImage
from vesalius.imaging.memory import ImageLike, as_image
from vesalius.imaging.mr_protocol import find_protocol
from vesalius.imaging.orientation import common_plane
from vesalius.imaging.safeguards import Notice
from vesalius.imaging.search import find_series
from vesalius.imaging.slices import SliceStack, to_square_pixels
from vesalius.models.checkpoint_file import CONTRACT_NAME, find_checkpoint, read_contract, read_notes
from vesalius.models.choices import DEFAULT_MODEL, Precision, RuntimeChoice
from vesalius.models.public_weights import find_encoder_source
from vesalius.naming.labels import Answer, SeriesName, SliceName
from vesalius.naming.landmarks import find_landmarks
from vesalius.naming.phrasebook import NamingCalibration, Phrasebook
from vesalius.naming.series import (
    Bools,
    Probabilities,
    build_names,
    cap_organs,
    name_organs,
    name_stations,
    smoothing_of,
)
from vesalius.prompts.anatomy import CROSS_SECTIONAL, PROTOCOL_MODALITY
from vesalius.prompts.modalities import UNTOLD, find_label
from vesalius.prompts.phrase_vectors import to_unit
from vesalius.runtime import as_runtime, open_runtime
from vesalius.runtime.contract import Floats, Runtime, resize_rgb

if TYPE_CHECKING:
    from vesalius.models.encoder import VisionLanguageEncoder
    from vesalius.predict import Predictor

SLICES_AT_ONCE = 4
"""Slices encoded together; 16 take 400 MB more and, on CPUs, are slower."""
LEAST_CONTRAST = 1 / 255
"""Difference between the darkest and the brightest pixel, 0 to 1, below which a slice shows nothing."""
OVERSAMPLING = 2
"""Large slices are rendered at this multiple of the model's size, so that none is held whole as real numbers."""


def header_modality(image: MedicalImage) -> Answer | None:
    """Modality by the header, or by stored values in HU; None if neither tells."""
    code = image.modality or ""
    if code in UNTOLD:
        return None
    label = find_label(code)
    if "Modality" not in image.header:
        return Answer(label, None, "values", "stored values are HU")
    return Answer(label, None, "header", f"Modality {code}" + ("" if label else ", which has no name here"))


def header_protocol(image: MedicalImage, modality: Answer) -> Answer | None:
    """Protocol by the header of an MR series; None if the header says nothing, so that pixels decide.

    A header that names another technique (T2*, angiography) or contradicts itself is an answer without a label.
    """
    if modality.label != PROTOCOL_MODALITY:
        return Answer(None, None, modality.source, "of MR only" if modality.label else "")
    found = image.protocol
    if found is None or found == find_protocol({}):
        return None
    return Answer(found.label, None, "header", found.source, found.confidence or None)


def header_plane(stacks: Sequence[MedicalImage], modality: Answer) -> Answer | None:
    """Plane by the affine of the slices; None if there is none and the modality is cross-sectional or unknown.

    Args:
        stacks: One, or all of a localizer.
        modality: The series' modality.
    """
    planes = [stack.plane for stack in stacks]
    if len(stacks) > 1 and common_plane(planes) is None:
        kinds = ", ".join(dict.fromkeys(plane or "unplaced" for plane in planes))
        return Answer(None, None, "header", f"{len(stacks)} stacks: {kinds}")
    first = stacks[0]
    if first.plane is None:
        placeless = modality.label is not None and modality.label not in CROSS_SECTIONAL
        return Answer(None, None, modality.source, f"{modality.label} has none") if placeless else None
    return Answer(first.plane, None, "header", f"{first.obliquity or 0:.0f}° from {first.nearest_plane}")


def open_namer(
    model: str | Path, *, runtime: RuntimeChoice, device: str, precision: Precision, threads: int = 0
) -> tuple[Runtime, NamingCalibration]:
    """Open a model with its calibration.

    Args:
        model: "pocket", a checkpoint, a run's folder, "pubmedclip", or a name of ``vesalius weights list``.
        runtime: See `open_runtime`, as for the other arguments; public weights always run in PyTorch.
        device: Where to compute.
        precision: Precision of computation.
        threads: Threads that compute on a CPU; 0 for all cores.

    Raises:
        ConfigError: If the runtime cannot do what is asked.
        MissingPackageError: If PyTorch is needed and not installed.
        ModelError: As ``load_namer``.
    """
    if find_encoder_source(str(model)) is None:
        calibration = read_calibration(model)
        return open_runtime(model, runtime=runtime, device=device, precision=precision, threads=threads), calibration
    loaded, calibration = load_namer(model)
    if threads:
        require("torch", extra="train").set_num_threads(threads)
    return as_runtime(loaded, device=device, precision=precision), calibration


def load_namer(model: str | Path) -> tuple["VisionLanguageEncoder", NamingCalibration]:
    """Load a model in PyTorch, in evaluation mode, with its calibration.

    Args:
        model: As for ``open_namer``.

    Raises:
        MissingPackageError: If PyTorch is not installed.
        ModelError: If there is no such model, its weights are not on this machine (the message says where they
            belong), or it is an export that does not name.
    """
    calibration = read_calibration(model)
    require("torch", extra="train")
    public = find_encoder_source(str(model))
    if public is None:
        from vesalius.models.checkpoints import load_model

        return load_model(model), calibration
    from vesalius.models.foreign import import_checkpoint

    assert public.layout is not None
    return import_checkpoint(public.path, public.layout).eval(), calibration


def read_calibration(model: str | Path) -> NamingCalibration:
    """Calibration of a model that is not opened; public weights have none.

    Raises:
        ModelError: As ``load_namer``, or if its notes are damaged.
    """
    path = find_checkpoint(model, "name")
    if find_encoder_source(str(model)) is not None:
        return NamingCalibration({})
    reason = read_contract(path).refused.get("name") if path.name == CONTRACT_NAME else None
    if reason is not None:
        raise ModelError(f"{path.parent}: this export does not name: {reason}; use the checkpoint it was made from.")
    return NamingCalibration.from_notes(read_notes(path), path)


def render_for_model(slices: SliceStack, index: int, side: int) -> Floats:
    """One slice as a model is shown it: RGB [side, side, 3] in [0, 1], its pixels made square first.

    Args:
        slices: Slices of an image.
        index: Slice, from 0.
        side: Side of the square that the model takes, pixels.
    """
    rgb = to_square_pixels(slices.render_small(index, OVERSAMPLING * side), slices.pixel_spacing_mm)
    return resize_rgb(rgb, side)


def shows_anything(rgb: Floats) -> bool:
    """Whether a slice, as `render_for_model` gives it, holds more than one value; of others no model can tell."""
    return bool(np.ptp(rgb, axis=(0, 1)).max() >= LEAST_CONTRAST)


def label_slices(phrases: Phrasebook, odds: Mapping[str, Floats], shows: Bools) -> dict[str, Probabilities]:
    """What pixels tell of slices, each alone; a slice that shows nothing gets 0 throughout.

    Args:
        phrases: The phrases that slices were compared with.
        odds: Question -> log-odds [D, L]; with organs, stations too.
        shows: Slices that show anything, [D].

    Returns:
        Question -> probabilities [D, L].
    """
    found = {
        name: Probabilities(phrases.labels[name], np.where(shows[:, None], phrases.probabilities(name, rows), 0.0))
        for name, rows in odds.items()
    }
    if phrases.calibration.caps_organs:
        found["organs"] = cap_organs(found["organs"], found["stations"])
    return found


@dataclass(frozen=True, eq=False)
class _EncodedStack:
    """One stack and the scores of its slices."""

    image: MedicalImage
    positions: list[float | None]
    """Position of each slice, mm."""
    odds: dict[str, Floats]
    """Question -> log-odds [D, L]."""
    shows: Bools
    """Slices that show anything, [D]; the others hold one value throughout, and no model can tell what of."""


class AnatomyLabeller:
    """Names pictures, series and volumes; one labeller may be used by several threads at once.

    Args:
        model: "pocket", a checkpoint or run's folder, "pubmedclip" or other public weights by name, or a model in
            memory whose image vectors share a space with its text's.
        calibration: Calibration of a model in memory; others bring their own.
        runtime: Program that runs it, see `vesalius.runtime.open_runtime`; ignored for models in memory.
        device: Device to compute on: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: Precision of computation in PyTorch.
        threads: Threads that compute on a CPU; 0 for all cores.

    Raises:
        ConfigError: If there is no such device, or the runtime cannot do what is asked.
        MissingPackageError: If PyTorch is needed and not installed.
        ModelError: If there is no such model, or no weights of it.
    """

    def __init__(
        self,
        model: "str | Path | Runtime | VisionLanguageEncoder" = DEFAULT_MODEL,
        calibration: NamingCalibration | None = None,
        *,
        runtime: RuntimeChoice = "auto",
        device: str = "auto",
        precision: Precision = "32",
        threads: int = 0,
    ) -> None:
        own = NamingCalibration({})
        if isinstance(model, str | Path):
            self.runtime, own = open_namer(model, runtime=runtime, device=device, precision=precision, threads=threads)
        else:
            self.runtime = as_runtime(model, device=device, precision=precision)
        self._name = str(model) if isinstance(model, str | Path) else type(model).__name__
        self.calibration = calibration or own
        self._phrases = Phrasebook(self.runtime, self.calibration, self._name)

    def label(
        self,
        image: ImageLike | Sequence[MedicalImage],
        *,
        smooth: bool = True,
        on_slices: Callable[[int], None] = lambda count: None,
    ) -> SeriesName:
        """Name one series, slice by slice and as a whole; every slice is encoded once.

        Args:
            image: A file, a folder with one series, an image in memory (an array [H, W], [H, W, 3] or [H, W, 4] or a
                picture of Pillow, too), or all stacks of one series.
            smooth: Whether neighbouring slices support one another.
            on_slices: Called with the number of slices just finished, for progress.

        Raises:
            ImageError: If it cannot be read, or a folder holds several series.
            ModelError: If the model cannot name.
        """
        stacks = _read(image)
        chosen = choose_stacks(stacks)
        seen = [self._encode(stack, on_slices) for stack in chosen]
        modality = header_modality(chosen[0]) or self._choose("modality", seen)
        plane = header_plane(chosen, modality) or self._choose("plane", seen)
        names: list[SliceName] = []
        least = self.calibration.least_probability
        for each in seen:
            names += self._name_slices(each, plane.label, len(names), smooth)
        return SeriesName(
            source=chosen[0].source,
            modality=modality,
            protocol=header_protocol(chosen[0], modality) or self._choose("protocol", seen),
            plane=plane,
            slices=tuple(names),
            obliquity=chosen[0].obliquity if len(chosen) == 1 else None,
            purpose=chosen[0].purpose,
            stacks=len(stacks),
            smoothed=smoothing_of(chosen[0]) if smooth else None,
            calibrated=tuple(sorted(self.calibration.scalings)),
            header=chosen[0].header,
            notices=tuple(dict.fromkeys([*(notice for each in stacks for notice in each.notices), *_tell_blank(seen)])),
            least_probability=least,
            landmarks=find_landmarks(names, chosen[0], least, smooth=smooth) if len(chosen) == 1 else (),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {self.runtime.name} on {self.runtime.device})"

    def _encode(self, image: MedicalImage, on_slices: Callable[[int], None]) -> _EncodedStack:
        """Render and shrink slices one by one, so that a long series takes no more memory than a short one."""
        slices, side = image.slices(), self.runtime.image_size
        positions: list[float | None] = []
        vectors, shows = [], []
        for start in range(0, len(slices), SLICES_AT_ONCE):
            small = []
            for place in range(start, min(start + SLICES_AT_ONCE, len(slices))):
                positions.append(slices.position_mm(place))
                small.append(render_for_model(slices, place, side))
                shows.append(shows_anything(small[-1]))
            vectors.append(self.runtime.embed_image(np.stack(small)))
            on_slices(len(small))
        return _EncodedStack(image, positions, self._phrases.odds(to_unit(np.concatenate(vectors))), np.array(shows))

    def _choose(self, question: str, seen: Sequence[_EncodedStack]) -> Answer:
        """One answer for all slices together."""
        odds = np.concatenate([each.odds[question][each.shows] for each in seen])
        if not len(odds):
            return Answer(None, None, "pixels", "no slice shows anything")
        shares = self._phrases.probabilities(question, odds).mean(0)
        best = int(shares.argmax())
        probability = float(shares[best])
        sure = probability >= self.calibration.least_probability
        return Answer(self._phrases.labels[question][best] if sure else None, probability, "pixels")

    def _name_slices(self, seen: _EncodedStack, plane: str | None, first: int, smooth: bool) -> list[SliceName]:
        asked = {name: seen.odds[name] for name in ("stations", "organs")}
        found = label_slices(self._phrases, asked, seen.shows)
        smoothing = smoothing_of(seen.image) if smooth else None
        least = self.calibration.least_probability
        places = [position or 0.0 for position, shows in zip(seen.positions, seen.shows, strict=True) if shows]

        def name(each: Probabilities, decide: Callable[..., Bools]) -> tuple[Probabilities, Bools]:
            named = np.zeros(each.values.shape, np.bool_)
            if places:
                kept = Probabilities(each.labels, each.values[seen.shows])
                named[seen.shows] = decide(kept, places, smoothing, least)
            return each, named

        where = [(position, seen.image.plane or plane) for position in seen.positions]
        return build_names(name(found["stations"], name_stations), name(found["organs"], name_organs), where, first)


def labeller_beside(predictor: "Predictor", model: str | Path) -> AnatomyLabeller:
    """A labeller that shares the weights of a predictor, so that they are in memory once.

    Args:
        predictor: The opened model.
        model: What it was opened from.

    Raises:
        ModelError: If the model does not name, or its notes are damaged.
    """
    return AnatomyLabeller(predictor.runtime, read_calibration(model))


def _tell_blank(seen: Sequence[_EncodedStack]) -> list[Notice]:
    shows = np.concatenate([each.shows for each in seen])
    if shows.all():
        return []
    why = "they hold one value throughout, so nothing is to be seen"
    return [Notice("slices not named", why, count=int((~shows).sum()), total=len(shows))]


def choose_stacks(stacks: Sequence[MedicalImage]) -> Sequence[MedicalImage]:
    """The stacks that are named: all of a localizer, which mixes planes; of any other series the largest."""
    return stacks if stacks[0].purpose.label == "localizer" else stacks[:1]


def _read(image: ImageLike | Sequence[MedicalImage]) -> Sequence[MedicalImage]:
    if isinstance(image, Sequence) and not isinstance(image, str):
        return image
    if not isinstance(image, str | Path):
        return [as_image(image)]
    found = find_series(Path(image))
    if len(found) > 1:
        listed = ", ".join(str(each.source) for each in found[:3])
        raise ImageError(f"{image}: holds {len(found)} series ({listed}, …); name one of them, or each in turn.")
    return found[0].read()
