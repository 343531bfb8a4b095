"""Labelled slices as pocket's trunk sees them: plain, and changed as other scanners and files would change them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
import torch.nn.functional as F
from labelled_slice import LabelledSlice
from torch import Tensor

from vesalius.console import progress_bar
from vesalius.data.augment import SliceAugment, augment_slice
from vesalius.models.encoder import resize
from vesalius.models.pocket import PocketSegmenter
from vesalius.prompts.anatomy import AnatomyLabel

AUGMENT = SliceAugment(clahe=0.1, contrast=0.5, gamma=0.5, scale_factor=1.25)
VIEWS, MR_VIEWS, OTHER_VIEWS = 2, 3, 1
"""Changed views of a training slice as it was taken; MR, whose contrast depends on the sequence, has more, and slices
across the plane or in other windows fewer."""
COARSEST = 48
"""Every changed view is reduced to a side drawn from here to its own: sets differ in sharpness, MedNIST's pictures
have 64 pixels, and a head would otherwise learn which set is sharp instead of what it shows."""
NOISE = 0.04
"""Largest standard deviation of noise on changed views, which tells sets apart likewise."""
ZOOM_OUT, SMALLEST = 0.25, 0.55
"""Share of changed views with black around them, as where a large field of view is shown, and the least side of what
is left."""
WINDOW = 0.5
"""Share of changed views of CT in another window."""
BODY = 0.06
"""Shades above it are tissue, below it air."""
BATCH = 16


def see(each: LabelledSlice, size: int, number: int, place: int) -> Tensor:
    """View ``number`` of slice ``place``, [3, S, S]; view 0 is the slice as `name` sees it."""
    image = torch.from_numpy(each.rgb).permute(2, 0, 1)
    if number == 0:
        return resize(image[None], (size, size))[0]
    draws = draw(number, place)
    if each.label.modality == "MR":
        image = change_contrast(image, draw_contrast(each, draws))
    elif each.label.modality == "CT":
        image = change_window(image, draws)
    image = zoom_out(image, draws)
    side = round(COARSEST * (image.shape[1] / COARSEST) ** torch.rand((), generator=draws).item())
    seen = augment_slice(resize(image[None], (side, side))[0], AUGMENT, size, draws)
    strength = NOISE * torch.rand((), generator=draws)
    return (seen + strength * torch.randn(seen[:1].shape, generator=draws)).clamp(0, 1)


def draw(number: int, place: int) -> torch.Generator:
    """What decides a changed view."""
    return torch.Generator().manual_seed(hash((place, number)) % 2**63)


def draw_contrast(each: LabelledSlice, draws: torch.Generator) -> int:
    """A kind of ``change_contrast``: the first that is drawn for a view of MR; a slice made of others keeps its own."""
    kind = int(torch.randint(3, (), generator=draws))
    return 0 if each.made else kind


def label_view(each: LabelledSlice, number: int, place: int) -> AnatomyLabel:
    """What a view shows: a changed contrast is that of no protocol in particular."""
    if each.label.modality != "MR" or number == 0 or draw_contrast(each, draw(number, place)) == 0:
        return each.label
    return replace(each.label, protocol=None)


def change_contrast(image: Tensor, kind: int) -> Tensor:
    """The same anatomy as another sequence might show it: as it is, fluid bright, or bright parts pressed."""
    if kind == 0:
        return image
    return torch.where(image > BODY, 1 + BODY - image, image) if kind == 1 else torch.minimum(image, 0.5 * image.sqrt())


def change_window(image: Tensor, draws: torch.Generator) -> Tensor:
    """The same anatomy in another window, sometimes: its lower end and width in shades of this one."""
    changed, low, width = torch.rand(3, generator=draws).tolist()
    return ((image - 0.3 * low + 0.1) / (0.5 + 0.8 * width)).clamp(0, 1) if changed < WINDOW else image


def zoom_out(image: Tensor, draws: torch.Generator) -> Tensor:
    """The same with black around it, sometimes, [3, S', S']."""
    changed, left = torch.rand(2, generator=draws).tolist()
    border = round(image.shape[1] * (1 / (SMALLEST + (1 - SMALLEST) * left) - 1) / 2)
    return F.pad(image, [border] * 4) if changed < ZOOM_OUT else image


@dataclass(frozen=True)
class Views:
    """V views of slices as the trunk sees them."""

    pooled: Tensor
    """Features [V, C]."""
    places: list[int]
    """Which slice each view shows."""
    labels: list[AnatomyLabel]
    """What is known of each view."""


@torch.inference_mode()
def encode(model: PocketSegmenter, slices: Sequence[LabelledSlice], tested: Collection[int]) -> Views:
    """Encode view 0 of what is tested, and changed views of what may be trained on.

    Args:
        model: In evaluation mode.
        slices: All of them.
        tested: Places of those that will be tested.
    """
    jobs = [(place, 0) for place in tested]
    for place, each in enumerate(slices):
        count = OTHER_VIEWS if not each.native else MR_VIEWS if each.label.modality == "MR" else VIEWS
        jobs += [(place, 1 + turn) for turn in range(0 if each.test else count)]
    size, pooled = model.spec.image_size, []
    views = (see(slices[place], size, number, place) for place, number in jobs)
    with progress_bar() as bar:
        task = bar.add_task("Encoding slices", total=len(jobs))
        for batch in batched(views, BATCH):
            pooled.append(model.projection.pool(model.encode_frozen(torch.stack(batch)).taps))
            bar.advance(task, len(batch))
    labels = [label_view(slices[place], number, place) for place, number in jobs]
    return Views(torch.cat(pooled).clone(), [place for place, _ in jobs], labels)


def batched(items: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Lists of up to ``size`` items (``itertools.batched`` needs Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
