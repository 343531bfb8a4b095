"""Run the demo: segment the MNI152 brain and held-out images, and name pydicom's DICOM files."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vesalius.console import say, watch
from vesalius.data.annotations import annotations_path, read_annotations, read_pair
from vesalius.data.catalog import read_catalog
from vesalius.demo.page import (
    AskedPicture,
    DemoSection,
    Findings,
    Judgement,
    NamedPicture,
    PhraseAnswer,
    TargetAnswer,
    TargetEntry,
    TargetRegion,
)
from vesalius.demo.samples import (
    DICOM_SAMPLES,
    SLICES,
    TARGET_SAMPLES,
    Album,
    Brain,
    Mask,
    draw,
    enlarge,
    read_brain,
    read_dicom_sample,
)
from vesalius.imaging import MedicalImage
from vesalius.imaging.slices import mask_overlap, to_bytes
from vesalius.knowledge import Knowledge, LearntTarget
from vesalius.naming import AnatomyLabeller, Answer
from vesalius.naming.labeller import labeller_beside
from vesalius.predict import Predictor
from vesalius.prompts import AnatomyLabel, find_target
from vesalius.prompts.bank import list_regions

WRONG_PHRASES = {
    "kvasir_polyp": "lungs",
    "clinicdb_polyp": "lungs",
    "bkai_polyp": "breast tumour",
    "busi": "polyp",
    "cxr_lungs": "brain",
}
"""Held-out data sets, and a phrase for what is certainly not on their images."""
IMAGES_EACH = 4
"""Test images of each held-out data set."""
MISSING = "{}: not among the files of the installed pydicom; skipped."
NAMES_EACH = 4
"""Further names of each target on the page."""
MOST_WORDS = 3
"""Words of such a name."""
Step = Callable[[], None]
"""Called after each image, for progress."""


def find(model: str, predictor: Predictor, held_out: Path | None) -> tuple[Findings, Album]:
    """Ask the model everything.

    Args:
        model: A model's name, a checkpoint or a run's folder.
        predictor: The same model, opened.
        held_out: Folder of data sets in the benchmark's layout, by their names in the catalog.

    Returns:
        What it answered, and the pictures.

    Raises:
        DataError, ImageError: If a held-out image is missing or cannot be read.
        MissingPackageError: If nilearn is not installed.
        ModelError: If the model does not name.
    """
    album = Album()
    say("Reading the MNI152 template …")
    brain = read_brain()
    parts, skipped = _segment_all(predictor, brain, held_out, album)
    say("Naming pictures …")
    named, missing = name_samples(labeller_beside(predictor, model), brain, album)
    say("Asking for what it learnt …")
    regions, lacking = portray_targets(predictor, brain, album)
    notes = tuple(dict.fromkeys((*skipped, *missing, *lacking)))
    return Findings(model, tuple(parts), tuple(named), notes, tuple(regions)), album


def _segment_all(
    predictor: Predictor, brain: Brain, held_out: Path | None, album: Album
) -> tuple[list[DemoSection], list[str]]:
    """Segment the brain, and held-out images where they are found; second, a line for each data set that is not."""
    with bar("Segmenting the brain", SLICES) as on_image:
        parts, skipped = [_segment_brain(predictor, brain, album, on_image)], []
    for name in WRONG_PHRASES if held_out else ():
        folder = Path(held_out or "") / name
        if folder.is_dir():
            with bar(f"Segmenting {name}", IMAGES_EACH) as on_image:
                parts.append(segment_held_out(predictor, folder, album, on_image))
        else:
            skipped.append(f"{name}: not in {held_out}; skipped.")
    return parts, skipped


@contextmanager
def bar(title: str, total: int) -> Iterator[Step]:
    """A line on stderr and a bar under it."""
    say(f"{title} …")
    with watch(title, total) as advance:
        yield advance


def _segment_brain(predictor: Predictor, brain: Brain, album: Album, on_image: Step) -> DemoSection:
    """Ask for the brain, and for two things that no head shows, on the middle axial slices of MNI152."""
    slices = brain.image.slices("axial")
    pictures = []
    for place in brain.middle_slices:
        questions = {"brain": brain.mask[place], "polyp": None, "lungs": None}
        title = f"Axial slice at z = {slices[place].position_mm:.0f} mm".replace("-", "−")
        pictures.append(ask(predictor, album, title, f"mni152-{place:03d}", slices[place].rgb, questions))
        on_image()
    intro = (
        "The average T1 image of 152 healthy heads, as nilearn carries it. It is skull-stripped: everything but the "
        "brain is black already, so this is an easy case. The truth is nilearn's own brain mask. “polyp” and “lungs” "
        "name nothing that is there: their masks should be empty."
    )
    return DemoSection("MNI152 T1 template", intro, tuple(pictures))


def segment_held_out(predictor: Predictor, folder: Path, album: Album, on_image: Step) -> DemoSection:
    """The right and a wrong phrase on a few test images of a data set, none of which the model was trained on."""
    records = read_annotations(annotations_path(folder, "test"))
    target = find_target(read_catalog()[folder.name].target).phrases[0]
    pictures, empty = [], 0
    for place in spread(len(records)):
        record = records[place]
        picture, truth = read_pair(folder, record)
        questions = {target: truth, WRONG_PHRASES[folder.name]: None}
        empty += not truth.any()
        name = f"{folder.name}-{place:03d}"
        pictures.append(ask(predictor, album, record.img_name, name, picture.rgb, questions))
        on_image()
    title = read_catalog()[folder.name].title
    intro = (
        f"{len(pictures)} of {len(records)} test images, spread evenly over the list and not chosen by result; "
        f"vesalius evaluate scores all of them. “{WRONG_PHRASES[folder.name]}” is not on any of them."
    )
    if empty:
        intro += f" On {empty} there is no {target}: there an empty mask scores 1 and any mark 0."
    return DemoSection(title, intro, tuple(pictures))


def ask(
    predictor: Predictor,
    album: Album,
    title: str,
    name: str,
    rgb: NDArray[np.floating],
    questions: Mapping[str, Mask | None],
) -> AskedPicture:
    """Ask the model all phrases on one picture.

    Args:
        predictor: The model.
        album: Collects the pictures.
        title: Title of the picture.
        name: Stem of its files.
        rgb: Picture [H, W, 3] in [0, 1].
        questions: Phrases and their true masks [H, W]; None for what the picture does not show.
    """
    answers = []
    for number, found in enumerate(predictor.set_image(rgb).predict(list(questions))):
        truth = questions[found.prompt]
        overlap = None if truth is None else mask_overlap(found.mask, truth)
        picture = album.add(f"{name}-{number}", draw(rgb, found.mask, truth))
        answers.append(PhraseAnswer(found.prompt, float(found.mask.mean()), overlap, picture))
    return AskedPicture(title, album.add(name, enlarge(rgb)), tuple(answers))


def spread(count: int) -> list[int]:
    """The middles of equal parts of a list.

    >>> spread(100)
    [12, 37, 62, 87]
    """
    return [count * (2 * part + 1) // (2 * IMAGES_EACH) for part in range(IMAGES_EACH)]


def name_samples(labeller: AnatomyLabeller, brain: Brain, album: Album) -> tuple[list[NamedPicture], list[str]]:
    """Name the DICOM files and a slice of MNI152; second, a line for each file that pydicom does not carry."""
    title, remark = "MNI152 T1, middle slice", "Brain without skull; NIfTI does not say the modality"
    truth = AnatomyLabel.partial("MR", plane="axial", stations=["head"])
    named = [name_picture(labeller, brain.middle("axial"), truth, title, remark, album)]
    missing = []
    for sample in DICOM_SAMPLES:
        image = read_dicom_sample(sample.file)
        if image is None:
            missing.append(MISSING.format(sample.file))
        else:
            named.append(name_picture(labeller, image, sample.truth, sample.file, sample.remark, album))
    return named, missing


def name_picture(
    labeller: AnatomyLabeller, image: MedicalImage, truth: AnatomyLabel, title: str, remark: str, album: Album
) -> NamedPicture:
    """Name a picture with its header, and once more as bare pixels, as if it were a screenshot."""
    rgb = image.slices()[0].rgb_square()
    whole = labeller.label(image)
    bare = labeller.label(MedicalImage(to_bytes(rgb)[None], image.source))
    judgements = [
        *_judge("modality", str(truth.modality), whole.modality, bare.modality),
        *_judge("plane", str(truth.plane), whole.plane, bare.plane),
        *_judge("station", str(truth.station), whole.slices[0].station),
    ]
    picture = album.add(_file_name(f"named-{title}"), enlarge(rgb))
    return NamedPicture(title, remark, picture, tuple(judgements))


def _judge(kind: str, truth: str, *answers: Answer) -> list[Judgement]:
    """One judgement a source; a second answer from pixels is left out."""
    by_source = {answer.source: answer for answer in reversed(answers)}
    return [
        Judgement(kind, truth, answer.label, answer.probability, source) for source, answer in sorted(by_source.items())
    ]


def portray_targets(predictor: Predictor, brain: Brain, album: Album) -> tuple[list[TargetRegion], list[str]]:
    """List what the model learnt by part of the body; second, a line for each file that pydicom does not carry.

    A target comes with the model's answers on the pictures that show it and are of a kind that it was learnt on.
    """
    learnt = {each.name: each for each in predictor.knowledge.targets}
    answers: dict[str, list[TargetAnswer]] = {name: [] for name in learnt}
    missing = []
    pictures: list[tuple[str, tuple[str, ...], MedicalImage]] = [
        ("MR, average of 152 brains", ("brain",), brain.middle("axial"))
    ]
    for sample in TARGET_SAMPLES:
        image = read_dicom_sample(sample.file)
        if image is None:
            missing.append(MISSING.format(sample.file))
        else:
            pictures.append((sample.title, sample.targets, image))
    for title, shown, image in pictures:
        targets = [learnt[name] for name in shown if name in learnt]
        for name, answer in portray(predictor, album, title, image, targets).items():
            answers[name].append(answer)
    regions = []
    for title, members in list_regions().items():
        entries = [
            TargetEntry(learnt[name], choose_names(predictor.knowledge, learnt[name]), tuple(answers[name]))
            for name in members
            if name in learnt
        ]
        if entries:
            regions.append(TargetRegion(title, tuple(entries)))
    return regions, missing


def portray(
    predictor: Predictor, album: Album, title: str, image: MedicalImage, targets: Sequence[LearntTarget]
) -> dict[str, TargetAnswer]:
    """The answers about a picture for those targets that were learnt on pictures of its kind, by target."""
    ask = predictor.knowledge.understand
    expected = [each for each in targets if ask(each.phrase, image.modality).asked is not None]
    if not expected:
        return {}
    rgb = image.slices()[0].rgb
    found = predictor.set_image(image).predict([each.phrase for each in expected])
    answers = {}
    for each, answer in zip(expected, found, strict=True):
        picture = album.add(_file_name(f"target-{each.name}-{title}"), draw(rgb, answer.mask))
        answers[each.name] = TargetAnswer(title, picture, answer.existence, float(answer.mask.mean()))
    return answers


def choose_names(knowledge: Knowledge, target: LearntTarget) -> tuple[str, ...]:
    """A few short names of the prompt bank that the model takes for the target, first those least like its own."""
    bank = find_target(target.name)
    own = set(_words(target.phrase))
    short = [each for each in dict.fromkeys((*bank.nouns, *bank.phrases)) if len(each.split()) <= MOST_WORDS]
    chosen: dict[frozenset[str], str] = {frozenset(own): target.phrase}
    for name in sorted(short, key=lambda each: len(own & set(_words(each)))):
        if len(chosen) > NAMES_EACH:
            break
        understood = knowledge.understand(name)
        if understood.asked is not None and understood.target == target.phrase:
            chosen.setdefault(frozenset(_words(name)), name)
    return tuple(chosen.values())[1:]


def _words(name: str) -> list[str]:
    """Words without articles and number, to tell wordings apart that a reader would not."""
    return [each.removesuffix("s") for each in name.casefold().split() if each not in ("a", "an", "the", "both")]


def _file_name(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title)
