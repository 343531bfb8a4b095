"""A data set as examples whose pictures were encoded before."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.utils.data import Dataset

from vesalius.data.datasets import SegmentationDataset
from vesalius.data.features import FeatureStore
from vesalius.data.views import Example, View
from vesalius.errors import DataError


class StoredView(Dataset[Example]):
    """A view whose pictures' features and masks come from stores; prompts are drawn as ever.

    Args:
        view: What was stored.
        stores: One for each of ``view.numbers``, built.
        with_images: Read and augment the images too, for models part of which sees them while it trains; without,
            an example's image is [3, 0, 0].
    """

    def __init__(self, view: View, stores: Sequence[FeatureStore], *, with_images: bool) -> None:
        self.view = view
        self.stores = stores
        self.with_images = with_images

    def __len__(self) -> int:
        return len(self.view)

    def turn_to(self, epoch: int) -> None:
        """Draw as an epoch does from now on."""
        self.view.turn_to(epoch)

    def __getitem__(self, index: int) -> Example:
        frozen, mask = self.stores[self.view.number].read(index)
        prompt, present = self.view.ask(index)
        image = self.view.look(index, self.view.number)[0] if self.with_images else torch.empty(3, 0, 0)
        return Example(image, mask if present else torch.zeros_like(mask), prompt, frozen)


def fingerprint_files(source: SegmentationDataset, on_image: Callable[[int], None] = lambda steps: None) -> str:
    """SHA-256 over the contents of all images and masks of a split, in their order.

    Args:
        source: The split.
        on_image: Told 1 after each image with its mask, for progress.

    Raises:
        DataError: If a file cannot be read.
    """
    digest = hashlib.sha256()
    for record in source.records:
        for path in (source.root / "images" / record.img_name, source.root / "masks" / record.mask_name):
            digest.update(_hash(path))
        on_image(1)
    return digest.hexdigest()


def _hash(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        remedy = "`vesalius data check` lists what is missing"
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); {remedy}.") from error
