"""One's own data: images and masks paired by name, or listed in a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.groups import compile_group_regex, find_group
from vesalius.data.prepare.items import Found, Item, plain_prompts
from vesalius.data.prepare.labels import read_label_names
from vesalius.data.prepare.naming import to_phrase
from vesalius.data.prepare.pairing import Pair, pair_by_name, pair_by_table
from vesalius.data.prepare.pictures import PictureItem
from vesalius.data.prepare.report import Problem
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.volumes import SliceConfig, Structure, VolumeItem
from vesalius.errors import ConfigError
from vesalius.imaging.formats import VOLUME_SUFFIXES
from vesalius.prompts import Variants


@dataclass(frozen=True)
class CustomConfig:
    """Where one's own data lie, and what they show."""

    images: Path | None = None
    """Folder of images: pictures, NIfTI volumes, or folders with one DICOM series each."""
    masks: Path | None = None
    """Folder of masks with the images' names; a suffix such as _mask does not matter."""
    table: Path | None = None
    """CSV or Parquet table instead, with columns image and mask, and if need be patient (or group), split, class, \
prompts."""
    labels: Path | None = None
    """JSON file of label numbers and names, if masks are label maps: {"1": "liver", …}."""
    phrase: str | None = None
    """What masks outline, such as polyp; by default the table's class. It is kept with the data."""
    threshold: float | None = None
    """Values of masks above it are inside; by default what is not 0, where only one other value occurs."""
    group_regex: str | None = None
    """Expression whose first group, or match, in an image's path is its patient."""

    def __post_init__(self) -> None:
        if self.group_regex is not None:
            compile_group_regex(self.group_regex)


def find_custom(config: CustomConfig, slicing: SliceConfig | None = None) -> tuple[Found, Source]:
    """What one's own folders or table hold.

    Args:
        config: Where the data lie.
        slicing: How volumes are cut.

    Returns:
        The items, and the source to prepare them from.

    Raises:
        DataError: If folders or table cannot be read.
        ConfigError: If neither folders nor a table are named, or nothing says what the prompts shall call an object.
    """
    pairs, problems = _find_pairs(config)
    labels = read_label_names(config.labels) if config.labels else None
    pairs, clashes = _without_clashes(pairs)
    items = tuple(_to_item(pair, config, labels, slicing or SliceConfig()) for pair in pairs)
    paths = {path for pair in pairs for path in (pair.image, *pair.masks)}
    source = Source.of(config.table or config.images or Path(), sorted(paths))
    return Found(items, (*problems, *clashes), tuple(_ungrouped(pairs, config))), source


def _find_pairs(config: CustomConfig) -> tuple[list[Pair], list[Problem]]:
    if config.table is not None:
        return pair_by_table(config.table, config.images, config.masks)
    if config.images is None or config.masks is None:
        raise ConfigError("prepare custom needs --images DIR and --masks DIR, or --table FILE.")
    return pair_by_name(config.images, config.masks)


def _to_item(pair: Pair, config: CustomConfig, labels: Mapping[int, str] | None, slicing: SliceConfig) -> Item:
    group = pair.group or _match_group(pair, config) or pair.stem
    if not pair.masks[0].name.lower().endswith(VOLUME_SUFFIXES):
        return PictureItem(
            stem=pair.stem,
            image=str(pair.image),
            masks=tuple(map(str, pair.masks)),
            mask_stem=pair.mask_stem if labels is None else f"{{name}}/{pair.mask_stem}",
            prompts={} if labels else _prompts(pair, config),
            group=group,
            split=pair.split,
            kind=pair.kind,
            labels=labels,
            target="" if labels else _target(pair, config),
            threshold=config.threshold,
        )
    return VolumeItem(
        stem=pair.stem,
        image=str(pair.image),
        mask_stem=pair.mask_stem,
        structures=() if labels else (_to_structure(pair, config),),
        group=group,
        split=pair.split,
        slicing=slicing,
        label_map=str(pair.masks[0]) if labels else "",
        labels=labels or {},
        threshold=config.threshold,
    )


def _to_structure(pair: Pair, config: CustomConfig) -> Structure:
    prompts = _prompts(pair, config)
    masks = tuple(map(str, pair.masks))
    return Structure(pair.kind or config.phrase or "object", prompts, masks, _target(pair, config))


def _target(pair: Pair, config: CustomConfig) -> str:
    """The phrase, or the table's class: told once, and kept with the data."""
    return config.phrase or to_phrase(pair.kind)


def _prompts(pair: Pair, config: CustomConfig) -> Mapping[str, Variants]:
    return pair.prompts or plain_prompts(_target(pair, config) or _no_phrase(pair))


def _no_phrase(pair: Pair) -> str:
    raise ConfigError(
        f"{pair.image}: nothing says what its mask outlines; give --phrase polyp, --labels FILE, or a table with a "
        "column class or prompts."
    )


def _match_group(pair: Pair, config: CustomConfig) -> str | None:
    if config.group_regex is None:
        return None
    return find_group(compile_group_regex(config.group_regex), pair.image.as_posix())


def _ungrouped(pairs: list[Pair], config: CustomConfig) -> list[Problem]:
    if config.group_regex is None:
        return []
    lone = [pair for pair in pairs if not pair.group and _match_group(pair, config) is None]
    return [Problem(str(pair.image), f"--group-regex '{config.group_regex}' finds no patient in it.") for pair in lone]


def _without_clashes(pairs: list[Pair]) -> tuple[list[Pair], list[Problem]]:
    """Leave out images whose prepared name another image has."""
    owners: dict[str, Path] = {}
    kept, problems = [], []
    for pair in pairs:
        if owners.setdefault(pair.stem, pair.image) == pair.image:
            kept.append(pair)
        else:
            problems.append(Problem(str(pair.image), f"is left out; its name is that of {owners[pair.stem]}."))
    return kept, problems
