"""Compare an export with its model: differences of logits, and of Dice and names where 8 bits change numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from vesalius.data.datasets import Sample, SegmentationDataset
from vesalius.errors import ModelError
from vesalius.evaluation.metrics import dice
from vesalius.models import Segmenter
from vesalius.models.clip import label_logits, logit_scale, phrase_vectors
from vesalius.prompts import sort_families, variants
from vesalius.prompts.anatomy import phrases_of

TOLERANCE = 1e-3
"""Largest difference of any logit in 32-bit floats."""
DICE_TOLERANCE = 0.01
"""Largest change of mean Dice in 8 bits."""
NAMING_TOLERANCE = 0.5
"""Largest change in 8 bits of any station's log-odds, with which the export may still name."""
CHECKED = 50
"""Validation images that an 8-bit export is compared on."""
PHRASES = ("", "polyp", "one small round benign tumour, located in the top left of the image")


@dataclass(frozen=True)
class DiceChange:
    """Mean Dice on the same images before and after."""

    images: int
    before: float
    after: float

    @property
    def change(self) -> float:
        """Positive where the export is better."""
        return self.after - self.before


@torch.inference_mode()
def largest_difference(model: Segmenter, exported: Segmenter) -> float:
    """Largest difference of any logit, existence or embedding, on synthetic pictures, alone and in a batch.

    Args:
        model: In evaluation mode.
        exported: Made from it.

    Raises:
        ModelError: If the export answers less than the model, such as no existence.
    """
    pictures = _pictures(len(PHRASES))
    together = _difference(model, exported, pictures, PHRASES)
    alone = [_difference(model, exported, pictures[i : i + 1], PHRASES[i : i + 1]) for i in (0, 1)]
    return _largest([together, *alone])


def _difference(model: Segmenter, exported: Segmenter, pictures: Tensor, prompts: tuple[str, ...]) -> float:
    before, after = _answer(model, pictures, prompts), _answer(exported, pictures, prompts)
    shapes, found = ({name: list(value.shape) for name, value in each.items()} for each in (before, after))
    if shapes != found:
        raise ModelError(f"{model.recipe.name}: the export answers otherwise: expected {shapes}, got {found}.")
    return _largest([(one - after[name]).abs().max().item() for name, one in before.items() if one.numel()])


def _largest(differences: list[float]) -> float:
    """NaN if one is, which Python's max may drop."""
    return torch.tensor(differences, dtype=torch.float64).max().item()


def _answer(model: Segmenter, pictures: Tensor, prompts: tuple[str, ...]) -> dict[str, Tensor]:
    image, text = model.encode_image(pictures), model.encode_text(prompts)
    found = model.decode(image, text)
    existence = {} if found.existence is None else {"existence": found.existence}
    return {"logits": found.logits, "image": image.embedding, "text": text.embedding, **existence}


def _pictures(count: int) -> Tensor:
    """Smooth random pictures with some noise, [B, 3, H, W], the same every time."""
    generator = torch.Generator().manual_seed(0)
    blotches = F.interpolate(torch.rand(count, 3, 8, 8, generator=generator), (200, 240), mode="bicubic")
    return (blotches + 0.02 * torch.randn(blotches.shape, generator=generator)).clamp(0, 1)


def check_numbers(model: Segmenter, exported: Segmenter) -> float:
    """``largest_difference``, if it is small.

    Raises:
        ModelError: If it is not; such an export must not be kept.
    """
    difference = largest_difference(model, exported)
    if not difference <= TOLERANCE:  # a NaN is not
        found = f"logits differ by {difference:.2g}, expected {TOLERANCE:g} at most"
        raise ModelError(f"{model.recipe.name}: the export is not the same model: {found}; nothing was written.")
    return difference


def check_dice(
    model: Segmenter, exported: Segmenter, dataset: SegmentationDataset, on_image: Callable[[], object]
) -> DiceChange:
    """Mean Dice of both on the first images of a data set, if it is nearly the same.

    Args:
        model: In evaluation mode.
        exported: Made from it.
        dataset: Images neither was fitted to.
        on_image: Called after each.

    Raises:
        ModelError: If it changes by more than ``DICE_TOLERANCE``; such an export must not be kept.
    """
    before, after = [], []
    for index in range(min(len(dataset), CHECKED)):
        sample = dataset[index]
        before.append(_dice(model, sample))
        after.append(_dice(exported, sample))
        on_image()
    found = DiceChange(len(before), fmean(before), fmean(after))
    if abs(found.change) > DICE_TOLERANCE:
        change = f"Dice from {found.before:.3f} to {found.after:.3f} on {found.images} images"
        remedy = "calibrate on data the model was trained for, or export without --int8"
        raise ModelError(f"{model.recipe.name}: 8 bits change {change}, more than {DICE_TOLERANCE}; {remedy}.")
    return found


@torch.inference_mode()
def why_not_naming(model: Segmenter, exported: Segmenter, dataset: SegmentationDataset | None) -> str | None:
    """Why an export cannot name slices; None if it can.

    Args:
        model: In evaluation mode.
        exported: Made from it.
        dataset: Images to compare both on, where the export is meant to give other numbers.
    """
    widths = [model.encode_image(_pictures(1)).embedding.shape[1], model.encode_text([""]).embedding.shape[1]]
    if widths[0] != widths[1] or not widths[0]:
        return "the model's image and text vectors share no space"
    if dataset is None:
        return None
    shifts = [0.0]
    phrases = phrases_of("station")
    words = [phrase_vectors(each, phrases) for each in (model, exported)]
    for index in range(min(len(dataset), CHECKED)):
        picture = dataset[index].image[None]
        before, after = (
            label_logits(F.normalize(each.encode_image(picture).embedding, dim=-1), own, logit_scale(model))
            for each, own in zip((model, exported), words, strict=True)
        )
        shifts.append((before - after).abs().max().item())
    shift = _largest(shifts)
    if shift <= NAMING_TOLERANCE:
        return None
    return f"8 bits change a station's log-odds by {shift:.1f}, more than {NAMING_TOLERANCE:g}"


def choose_prompt(sample: Sample) -> str:
    """The first wording of p1, the class alone, or of the first family a record has."""
    families = sort_families(sample.record.prompts)
    return variants(sample.record.prompts, "p1" if "p1" in families else families[0])[0]


@torch.inference_mode()
def _dice(model: Segmenter, sample: Sample) -> float:
    logits = model(sample.image[None], [choose_prompt(sample)])
    return dice(logits[:, 0] > 0, sample.mask > 0.5).item()
