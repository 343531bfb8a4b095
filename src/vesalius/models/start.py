"""Where training starts: a trained checkpoint, public weights of the parts, or random; and how large a model is."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from vesalius.errors import ModelError, unknown_name
from vesalius.models.checkpoint_file import EMBEDDED, find_checkpoint
from vesalius.models.checkpoints import fill_model, load_model, load_segmenter
from vesalius.models.encoder import PARTS, Segmenter, VisionLanguageEncoder
from vesalius.models.foreign import import_checkpoint
from vesalius.models.public_weights import (
    WeightSource,
    check_here,
    find_encoder_source,
    find_source,
    list_encoder_weights,
    locate,
    read_sources,
)
from vesalius.models.registry import Option, as_segmenter, build_model, list_encoders, list_models

WeightOrigin = Literal["trained", "pretrained", "untrained"]
VOCABULARY = "pubmedbert-vocabulary"
"""Row of ``sources.toml`` that models read prompts with unless they are told otherwise."""
BUILD_AS_PUBLISHED = "only the image size may differ from the published model's"


@dataclass(frozen=True)
class Donor:
    """Public weights that a model takes parts of."""

    source: str
    """Row of ``sources.toml``."""
    places: Mapping[str, str]
    """Prefix of the donor's tensor names -> prefix of the model's."""


def _biomedclip(branch: str) -> Donor:
    return Donor("biomedclip", {"image.trunk.": f"{branch}vision.", "text.": f"{branch}text."})


def _clipseg(branch: str) -> Donor:
    return Donor("clipseg-rd64-refined", {"": branch})


DONORS: Mapping[str, tuple[Donor, ...]] = {
    "biomedclipseg": (_biomedclip(""),),
    "biomedclipseg_a": (_biomedclip("branch."),),
    "biomedclipseg_d": (_biomedclip(""), Donor("clipseg-rd64-refined", {"decoder.": "decoder."})),
    "clipseg": (_clipseg(""),),
    "clipseg_b": (_clipseg("branch."),),
    "cris": (Donor("clip-rn50", {"image.trunk.": "trunk.", "image.pool.": "pool.", "text.": "text."}),),
    "ensemble_c": (_biomedclip("members.0.branch."), _clipseg("members.1.branch.")),
}
"""What ``--pretrained`` loads into each model, as in the papers; the rest starts untrained."""


def start_model(
    source: str, *, seed: int = 0, options: Mapping[str, Option] | None = None, pretrained: bool = False
) -> tuple[Segmenter, WeightOrigin]:
    """A model to train.

    Args:
        source: A model's name, a checkpoint file or a folder with one.
        seed: Decides untrained weights.
        options: Of the model; of a trained one only those that its weights do not depend on, such as ``image_size``.
        pretrained: Start such a model from public weights, where there are any for its parts.

    Returns:
        The model, and where its weights come from.

    Raises:
        ModelError: If there is no such model, or its weights are not there or do not fit.
    """
    if source in list_models() and source not in EMBEDDED:
        check_here(needed_weights(source, options or {}, pretrained=pretrained))  # now, not after a minute of building
        torch.manual_seed(seed)
        model = as_segmenter(build_model(source, **(options or {})))
        return (load_pretrained(model), "pretrained") if pretrained else (model, "untrained")
    path = find_checkpoint(source, "train")
    if pretrained:
        raise ModelError(f"--pretrained cannot be used with {source}, which is trained already; name a model to build.")
    model = load_segmenter(path)
    if not options:
        return model, "trained"
    changed = as_segmenter(build_model(model.recipe.name, **{**model.recipe.options, **options}))
    return fill_model(changed, model.state_dict(), source).eval(), "trained"


def needed_weights(name: str, options: Mapping[str, Option] | None = None, *, pretrained: bool = True) -> list[str]:
    """Rows of ``sources.toml`` that a model starts from and reads its prompts with.

    Args:
        name: Of a segmenter, or of a model that encodes, "pubmedclip" included.
        options: Of the model.
        pretrained: Whether it starts from public weights; some need a vocabulary anyway.

    Raises:
        ModelError: If it is to start from public weights and there are none for it.
    """
    needed = [VOCABULARY] if _reads_pubmedbert(name, options or {}) else []
    if not pretrained:
        return needed
    if name in DONORS:
        return [*(donor.source for donor in DONORS[name]), *needed]
    encoder = find_encoder_source(name) or find_encoder_source(name.replace("_", "-"))
    if encoder is None and name in list_models():
        raise ModelError(f"{name}: no public weights to start from; with some: {', '.join(sorted(DONORS))}.")
    if encoder is None:
        raise ModelError(unknown_name("model with public weights", name, {*DONORS, *list_encoder_weights()}))
    return [encoder.name, *needed]


def _reads_pubmedbert(name: str, options: Mapping[str, Option]) -> bool:
    part = options.get("a", options)  # the one of an ensemble that reads with it
    chosen = part.get("vocabulary") if isinstance(part, Mapping) else None
    return name in read_sources()[VOCABULARY].models and chosen in (None, "pubmedbert")


def load_pretrained(model: Segmenter) -> Segmenter:
    """Give a model the public weights of its parts.

    Raises:
        ModelError: If there are none for it, they are not on this machine (saying where they belong), or do not fit.
    """
    name = model.recipe.name
    check_here(needed_weights(name, model.recipe.options))
    for donor in DONORS[name]:
        _transplant(donor, locate(donor.source), model)
    return model


def _transplant(donor: Donor, path: Path, model: Segmenter) -> None:
    layout = find_source(donor.source).layout
    assert layout is not None
    given, own = import_checkpoint(path, layout).state_dict(), model.state_dict()
    for old, new in donor.places.items():
        taken = {f"{new}{key.removeprefix(old)}": value for key, value in given.items() if key.startswith(old)}
        for key in [key for key in own if key.startswith(new)]:
            if key not in taken:
                raise ModelError(f"{path}: the public weights have nothing for {key}; {BUILD_AS_PUBLISHED}.")
            if taken[key].shape != own[key].shape:
                sizes = f"{list(taken[key].shape)} where the model has {list(own[key].shape)}"
                raise ModelError(f"{path}: for {key} the public weights have {sizes}; {BUILD_AS_PUBLISHED}.")
            own[key] = taken[key]
    model.load_state_dict(own)


def start_encoder(
    source: str, *, seed: int = 0, options: Mapping[str, Option] | None = None
) -> tuple[VisionLanguageEncoder, WeightOrigin]:
    """A model of any kind to train.

    Args:
        source: A checkpoint file or a folder with one; a name that ``naming.load_namer`` knows, such as "pubmedclip",
            for public weights; or the name of a model to build anew.
        seed: Decides untrained weights.
        options: Of a model built anew.

    Returns:
        The model, and where its weights come from.

    Raises:
        ModelError: If there is no such model, its public weights are not on this machine, or options are given to a
            trained one.
    """
    public = find_encoder_source(source)
    if source in {*list_models(), *list_encoders()} - EMBEDDED.keys() and (options or public is None):
        torch.manual_seed(seed)
        return build_model(source, **(options or {})), "untrained"
    path = public.path if public else find_checkpoint(source, "train-naming")
    if options:
        raise ModelError(f"{source} is trained already, so [model] options cannot change it; leave them out.")
    return (_import_encoder(public), "pretrained") if public else (load_model(path), "trained")


def _import_encoder(source: WeightSource) -> VisionLanguageEncoder:
    assert source.layout is not None
    check_here([source.name, *([VOCABULARY] if _reads_pubmedbert(source.name, {}) else [])])
    return import_checkpoint(source.path, source.layout)


@dataclass(frozen=True)
class ParameterCount:
    """Numbers in a model's weights."""

    total: int
    decoder: int
    """Parameters that train when both encoders are frozen, as in the papers' recipe."""


def count_parameters(name: str) -> ParameterCount:
    """Count a named model's parameters at its default sizes.

    >>> count_parameters("unet_d").total
    11833593

    Raises:
        ModelError: If the name is unknown.
    """
    with torch.device("meta"):
        model = build_model(name).freeze(*PARTS)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return ParameterCount(sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains))
