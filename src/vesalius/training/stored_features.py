"""Stored features: a frozen image encoder runs once over every picture of a run, and training reads what it gave.

A store's key holds all that decides its features, so none is ever stale; ``data.features`` has the files.
"""

import dataclasses
import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from vesalius.console import watch
from vesalius.data.features import FeatureStore, RowLayout, StoredView, fingerprint_files
from vesalius.data.views import View
from vesalius.errors import ConfigError
from vesalius.models import Segmenter
from vesalius.models.exported import flatten_image
from vesalius.training.callbacks import say_once
from vesalius.training.config import TrainConfig
from vesalius.training.module import fingerprint_encoders

PACKAGES = ("vesalius", "torch")
"""Packages whose versions are part of a store's key."""


def store_pictures(
    model: Segmenter, views: Sequence[View], config: TrainConfig, folder: Path
) -> Sequence[View | StoredView]:
    """Put stored features in the place of pictures that come again, if the encoder that sees them is frozen.

    Args:
        model: Already frozen as the configuration says; it moves to the accelerator if there is one.
        views: What the run will look at.
        config: Says whether to store, how, and how much.
        folder: Where stores lie, or will.

    Returns:
        One data set for each view; the views themselves where nothing can be stored.

    Raises:
        ConfigError: If the stores would be too large.
        DataError: If one is damaged, or its type too small for the features.
        OutputError: If the folder cannot be written.
    """
    if not config.cached_augmentations or not config.store.on:
        return views
    if "image" not in model.frozen or not model.encoder_modules("image"):
        reason = "the image encoder trains" if model.encoder_modules("image") else "the model has no encoder to freeze"
        say_once(f"Features are not stored: {reason}.")
        return views
    model.to(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    stores = _name_stores(model, views, config, folder)
    _check_size({store.folder: store for each in stores for store in each}.values(), config.store.limit_gb, folder)
    return [_fill(model, view, each, config.batch_size) for view, each in zip(views, stores, strict=True)]


@torch.no_grad()
def _encode(model: Segmenter, images: Tensor) -> dict[str, Tensor]:
    return flatten_image(model.encode_frozen(images.to(model.device)))


def _name_stores(
    model: Segmenter, views: Sequence[View], config: TrainConfig, folder: Path
) -> list[list[FeatureStore]]:
    """For each view a store for each of its pictures' numbers, none of them built."""
    side = model.spec.image_size
    trial = _encode(model, torch.zeros(1, 3, side, side))
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in trial.items()}
    layout = RowLayout(shapes, side, config.store.dtype)
    encoder = {
        "model": model.recipe.to_json(),
        "spec": dataclasses.asdict(model.spec),
        "weights": fingerprint_encoders(model, ["image"]),
        "versions": {name: version(name) for name in PACKAGES},
    }
    return [_name_each(view, encoder, folder, layout) for view in views]


def _name_each(view: View, encoder: Mapping[str, object], folder: Path, layout: RowLayout) -> list[FeatureStore]:
    source = view.source
    name = f"{source.root.resolve().name}-{source.split}"
    with watch(f"Reading {name}", len(view)) as advance:
        key = {**encoder, "files": fingerprint_files(source, advance)}
    return [
        FeatureStore(folder, f"{name}-{number}", {**key, "pictures": view.picture_key(number)}, len(view), layout)
        for number in view.picture_numbers
    ]


def _check_size(stores: Collection[FeatureStore], limit_gb: float, folder: Path) -> None:
    """Complain before hours of encoding, not after."""
    total = sum(store.total_bytes for store in stores) / 1e9
    pictures, row_bytes = sum(store.rows for store in stores), next(iter(stores)).layout.row_bytes
    size = f"{pictures} pictures, {row_bytes:,} bytes each, {total:.2f} GB"
    if total > limit_gb:
        remedy = "Take fewer cached_augmentations or a smaller dtype, raise limit_gb, or say on = false"
        raise ConfigError(f"{folder}: features of {size}, are above the limit of {limit_gb:g} GB. {remedy} in [store].")
    missing = sum(store.total_bytes for store in stores if not store.folder.exists()) / 1e9
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    room = shutil.disk_usage(existing).free / 1e9
    if missing > room:
        raise ConfigError(f"{folder}: features need {missing:.2f} GB more, and {room:.2f} GB are free there.")
    say_once(f"Features of {size}, in {folder}, which may be deleted after the run.")


def _fill(model: Segmenter, view: View, stores: Sequence[FeatureStore], batch_size: int) -> StoredView:
    """Encode what the stores lack."""
    for number, store in zip(view.picture_numbers, stores, strict=True):
        name = store.folder.name.rpartition("-")[0]
        wait = partial(say_once, f"Another process is encoding {name}; waiting for it ...")
        with store.building(wait) as missing, watch(f"Encoding {name}", store.rows) as advance:
            advance(store.rows - len(missing))
            for start in range(0, len(missing), batch_size):
                rows = missing[start : start + batch_size]
                pictures = [view.draw_picture(row, number) for row in rows]
                images, masks = (torch.stack(tensors) for tensors in zip(*pictures, strict=True))
                store.write(rows, _encode(model, images), masks)
                advance(len(rows))
    return StoredView(view, stores, with_images=model.completes_with_images)
