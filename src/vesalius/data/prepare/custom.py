"""A user's own data: images and masks paired by name, or listed in a table."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vesalius.data.annotations import compile_group_regex, find_group, is_wordings
from vesalius.data.prepare.pictures import PictureSample
from vesalius.data.prepare.samples import FoundSamples, Problem, SourceSample, plain_prompts, to_phrase
from vesalius.data.prepare.sources import Source
from vesalius.data.prepare.tables import Row, find_column, read_table, to_split
from vesalius.data.prepare.volumes import SliceConfig, Structure, VolumeSample, read_label_names
from vesalius.errors import ConfigError, DataError
from vesalius.files import parse_json
from vesalius.imaging.formats import (
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    VOLUME_SUFFIXES,
    file_stem,
    has_dicom_mark,
    read_start,
)
from vesalius.prompts import Variants

MASK_SUFFIX = re.compile(
    r"(?i)[ _.-]*(?:masks?|seg|segmentation|labels?|gt|ground[ _-]?truth|annotation)(?:[ _-]?\d+)?$"
)
IMAGE_SUFFIX = re.compile(r"(?i)[ _.-]*(?:image|img|_0000)$")


@dataclass(frozen=True)
class MaskedImage:
    """An image and its masks."""

    image: Path
    masks: tuple[Path, ...]
    stem: str
    """Stem of the prepared image, folders below --images included."""
    mask_stem: str
    """Stem of the prepared mask."""
    group: str | None = None
    split: str | None = None
    kind: str = ""
    prompts: Mapping[str, Variants] | None = None


def pair_by_name(images: Path, masks: Path) -> tuple[list[MaskedImage], list[Problem]]:
    """Pair image files, or folders with a DICOM series, with masks of the same name; several of one image are united.

    A mask may carry a word such as _mask or _gt and a number behind the image's name, an image _0000 or _image.

    Args:
        images: Searched with its subfolders, which count as part of a name.
        masks: Searched in the same way.

    Images whose names differ in their suffix alone (a.png and a.jpg) are left out with their masks, as nothing says
    whose a mask is; a problem tells it of each.

    Raises:
        DataError: If one of the folders is missing.
    """
    named: dict[str, list[Path]] = {}
    for path in _walk(images):
        named.setdefault(_stem(path, images), []).append(path)
    found = {stem: paths[0] for stem, paths in named.items() if len(paths) == 1}
    problems = [problem for stem, paths in named.items() if len(paths) > 1 for problem in _alike(stem, paths)]
    counts = Counter(IMAGE_SUFFIX.sub("", stem) for stem in named)
    short = {IMAGE_SUFFIX.sub("", stem): stem for stem in named}
    short = {name: stem for name, stem in short.items() if counts[name] == 1}
    matched: dict[str, list[Path]] = {}
    for path in _walk(masks):
        stem = _stem(path, masks)
        names = (stem, MASK_SUFFIX.sub("", stem))
        image = next((each for name in names for each in (name, short.get(name)) if each in named), None)
        if image is None:
            problems.append(Problem(str(path), f"has no image; expected '{names[1]}' with any suffix in {images}."))
        elif image in found:
            matched.setdefault(image, []).append(path)
        else:
            problems.append(Problem(str(path), f"is left out; {len(named[image])} images are called '{image}'."))
    for stem in found.keys() - matched.keys():
        problems.append(Problem(str(found[stem]), f"has no mask; expected a name that begins '{stem}' in {masks}."))
    pairs = [MaskedImage(path, tuple(matched[stem]), stem, stem) for stem, path in found.items() if stem in matched]
    return pairs, sorted(problems, key=lambda problem: problem.place)


def _alike(stem: str, paths: Sequence[Path]) -> Iterator[Problem]:
    for path in paths:
        others = ", ".join(other.name for other in paths if other != path)
        yield Problem(
            str(path),
            f"is left out; {others} is called '{stem}', too, so that nothing says whose a mask is. Rename or move all "
            "but one, or say with --table which mask belongs to which.",
        )


def pair_by_table(table: Path, images: Path | None, masks: Path | None) -> tuple[list[MaskedImage], list[Problem]]:
    """Pair images and masks as the rows of a table do; a row that is wrong becomes a problem.

    Args:
        table: CSV or Parquet, see `CustomConfig.table`.
        images: Folder that its image column starts from; by default the table's own.
        masks: Folder that its mask column starts from; by default the table's own.

    Raises:
        DataError: If the table cannot be read or has no columns image and mask.
    """
    rows = read_table(table)
    lacking = [name for name in ("image", "mask") if find_column(rows[0], name) is None]
    if lacking:
        raise DataError(f"{table}: has no column '{lacking[0]}'; its columns are {', '.join(rows[0])}.")
    homes = images or table.parent, masks or table.parent
    pairs: dict[str, MaskedImage] = {}
    problems = []
    for number, row in enumerate(rows, start=1):
        try:
            pair = _to_pair(row, *homes)
            taken = pairs.setdefault(pair.mask_stem, pair)
            if taken is not pair:
                raise DataError(f"'{pair.mask_stem}' is the name of another row's mask.")
        except DataError as error:
            problems.append(Problem(f"{table}, row {number}", str(error)))
    return list(pairs.values()), problems


def _to_pair(row: Row, images: Path, masks: Path) -> MaskedImage:
    image, mask = _file(row, "image", images), _file(row, "mask", masks)
    group, split = _cell(row, "group", "patient"), to_split(_cell(row, "split"))
    prompts = _to_prompts(row.get(find_column(row, "prompts") or ""))
    stem, mask_stem = _stem(image, images), _stem(mask, masks)
    return MaskedImage(image, (mask,), stem, mask_stem, group, split, _cell(row, "class") or "", prompts)


def _file(row: Row, column: str, home: Path) -> Path:
    name = _cell(row, column)
    if name is None:
        raise DataError(f"has no {column}.")
    path = home / name
    if not path.exists():
        raise DataError(f"{path}: no such {column} file.")
    return path


def _cell(row: Row, *columns: str) -> str | None:
    name = find_column(row, *columns)
    value = row[name] if name else None
    return None if value is None or not str(value).strip() else str(value).strip()


def _to_prompts(cell: object) -> Mapping[str, Variants] | None:
    """Families from a JSON object or a Parquet struct; any other text is p1."""
    if isinstance(cell, str) and cell.lstrip().startswith("{"):
        cell = parse_json(cell, "prompts")
    if cell is None or cell == "":
        return None
    if isinstance(cell, str):
        return {"p0": "", "p1": cell}
    families = {name: value for name, value in cell.items() if value is not None} if isinstance(cell, dict) else {}
    if not families or not all(is_wordings(value) for value in families.values()):
        raise DataError(f"prompts must be a sentence or an object such as {{'p1': 'polyp'}}, got {cell!r}.")
    return families


def _walk(folder: Path) -> Iterator[Path]:
    """Image files by suffix or DICOM mark; a folder directly full of DICOM counts as one."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder.")
    series: set[Path] = set()
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.parent != folder and _is_dicom(path):
            if path.parent not in series:
                series.add(path.parent)
                yield path.parent
        elif path.name.lower().endswith(IMAGE_SUFFIXES) or _is_dicom(path):
            yield path


def _is_dicom(path: Path) -> bool:
    return path.suffix.lower() in DICOM_SUFFIXES or (not path.suffix and has_dicom_mark(read_start(path)))


def _stem(path: Path, home: Path) -> str:
    """Name without suffix, with the folders below `home`; without them for files elsewhere."""
    inside = path.resolve().is_relative_to(home.resolve())
    relative = PurePosixPath(path.resolve().relative_to(home.resolve()) if inside else path.name)
    stem = relative.name if path.is_dir() else file_stem(relative.name)
    return str(relative.with_name(stem))


@dataclass(frozen=True)
class CustomConfig:
    """Where a user's own data lie, and what they show."""

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


def find_custom(config: CustomConfig, slicing: SliceConfig | None = None) -> tuple[FoundSamples, Source]:
    """Samples in a user's folders or table.

    Args:
        config: Where the data lie.
        slicing: How volumes are cut.

    Returns:
        The samples, and the source to prepare them from.

    Raises:
        DataError: If folders or table cannot be read.
        ConfigError: If neither folders nor a table are named, or nothing says what the prompts shall call an object.
    """
    pairs, problems = _find_pairs(config)
    labels = read_label_names(config.labels) if config.labels else None
    pairs, clashes = _without_clashes(pairs)
    _check_patients(pairs, config)
    pairs, several = (pairs, []) if labels is None else _with_one_map(pairs)
    clashes += several
    samples = tuple(_to_sample(pair, config, labels, slicing or SliceConfig()) for pair in pairs)
    paths = {path for pair in pairs for path in (pair.image, *pair.masks)}
    source = Source.of(config.table or config.images or Path(), sorted(paths))
    return FoundSamples(samples, (*problems, *clashes), tuple(_ungrouped(pairs, config))), source


def _find_pairs(config: CustomConfig) -> tuple[list[MaskedImage], list[Problem]]:
    if config.table is not None:
        return pair_by_table(config.table, config.images, config.masks)
    if config.images is None or config.masks is None:
        raise ConfigError("prepare custom needs --images DIR and --masks DIR, or --table FILE.")
    return pair_by_name(config.images, config.masks)


def _to_sample(
    pair: MaskedImage, config: CustomConfig, labels: Mapping[int, str] | None, slicing: SliceConfig
) -> SourceSample:
    group = pair.group or _match_group(pair, config) or pair.stem
    if not pair.masks[0].name.lower().endswith(VOLUME_SUFFIXES):
        return PictureSample(
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
    return VolumeSample(
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


def _to_structure(pair: MaskedImage, config: CustomConfig) -> Structure:
    prompts = _prompts(pair, config)
    masks = tuple(map(str, pair.masks))
    return Structure(pair.kind or config.phrase or "object", prompts, masks, _target(pair, config))


def _target(pair: MaskedImage, config: CustomConfig) -> str:
    """The phrase, or the table's class: told once, and kept with the data."""
    return config.phrase or to_phrase(pair.kind)


def _prompts(pair: MaskedImage, config: CustomConfig) -> Mapping[str, Variants]:
    return pair.prompts or plain_prompts(_target(pair, config) or _no_phrase(pair))


def _no_phrase(pair: MaskedImage) -> str:
    raise ConfigError(
        f"{pair.image}: nothing says what its mask outlines; give --phrase polyp, --labels FILE, or a table with a "
        "column class or prompts."
    )


def _match_group(pair: MaskedImage, config: CustomConfig) -> str | None:
    if config.group_regex is None:
        return None
    return find_group(compile_group_regex(config.group_regex), pair.image.as_posix())


def _check_patients(pairs: list[MaskedImage], config: CustomConfig) -> None:
    """See that no image is two patients', who could come into two splits.

    Raises:
        DataError: If one is.
    """
    owners: dict[Path, str | None] = {}
    for pair in pairs:
        first = owners.setdefault(pair.image, pair.group)
        if first != pair.group:
            told = " and ".join(f"'{each}'" if each else "nobody" for each in (first, pair.group))
            raise DataError(f"{config.table}: {pair.image} belongs to {told}; name one patient for it in all its rows.")


def _with_one_map(pairs: list[MaskedImage]) -> tuple[list[MaskedImage], list[Problem]]:
    """Leave out images with several label maps, of which --labels reads one."""
    several = [pair for pair in pairs if len(pair.masks) > 1]
    problems = [
        Problem(
            str(pair.image),
            f"is left out; it has {len(pair.masks)} label maps ({', '.join(each.name for each in pair.masks)}), where "
            "--labels reads one; unite them in one file.",
        )
        for pair in several
    ]
    return [pair for pair in pairs if len(pair.masks) == 1], problems


def _ungrouped(pairs: list[MaskedImage], config: CustomConfig) -> list[Problem]:
    if config.table is not None and config.group_regex is None and any(pair.group for pair in pairs):
        return [Problem(str(pair.image), "the table names no patient for it.") for pair in pairs if not pair.group]
    if config.group_regex is None:
        return []
    lone = [pair for pair in pairs if not pair.group and _match_group(pair, config) is None]
    return [Problem(str(pair.image), f"--group-regex '{config.group_regex}' finds no patient in it.") for pair in lone]


def _without_clashes(pairs: list[MaskedImage]) -> tuple[list[MaskedImage], list[Problem]]:
    """Leave out images whose prepared name another image has."""
    owners: dict[str, Path] = {}
    kept, problems = [], []
    for pair in pairs:
        if owners.setdefault(pair.stem, pair.image) == pair.image:
            kept.append(pair)
        else:
            problems.append(Problem(str(pair.image), f"is left out; its name is that of {owners[pair.stem]}."))
    return kept, problems
