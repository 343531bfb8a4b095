"""Names for pictures whose truth is known."""

import re

import numpy as np
from findings import Judgement, NamedPicture
from pictures import Album, enlarge
from samples import DICOM_SAMPLES, Brain, read_dicom_sample

from vesalius import AnatomyLabeller, MedicalImage
from vesalius.naming import Answer
from vesalius.prompts import AnatomyLabel


def name_samples(labeller: AnatomyLabeller, brain: Brain, album: Album) -> tuple[list[NamedPicture], list[str]]:
    """Name the DICOM files and a slice of MNI152; second, a line for each file that pydicom does not carry."""
    title, remark = "MNI152 T1, middle slice", "Brain without skull; NIfTI does not say the modality"
    truth = AnatomyLabel.partial("MR", plane="axial", stations=["head"])
    named = [name_picture(labeller, brain.middle("axial"), truth, title, remark, album)]
    missing = []
    for sample in DICOM_SAMPLES:
        image = read_dicom_sample(sample)
        if image is None:
            missing.append(f"{sample.file}: not among the files of the installed pydicom; skipped.")
        else:
            named.append(name_picture(labeller, image, sample.truth, sample.file, sample.remark, album))
    return named, missing


def name_picture(
    labeller: AnatomyLabeller, image: MedicalImage, truth: AnatomyLabel, title: str, remark: str, album: Album
) -> NamedPicture:
    """Name a picture with its header, and once more as bare pixels, as if it were a screenshot."""
    rgb = image.slices()[0].rgb_square()
    whole = labeller.label(image)
    bare = labeller.label(MedicalImage(np.rint(rgb * 255).astype(np.uint8)[None], image.source))
    judgements = [
        *_judge("modality", str(truth.modality), whole.modality, bare.modality),
        *_judge("plane", str(truth.plane), whole.plane, bare.plane),
        *_judge("station", str(truth.station), whole.slices[0].station),
    ]
    picture = album.add(f"named-{re.sub(r'[^A-Za-z0-9]+', '-', title)}", enlarge(rgb))
    return NamedPicture(title, remark, picture, tuple(judgements))


def _judge(aspect: str, truth: str, *answers: Answer) -> list[Judgement]:
    """One judgement a source; a second answer from pixels is left out."""
    by_source = {answer.source: answer for answer in reversed(answers)}
    return [
        Judgement(aspect, truth, answer.label, answer.probability, source)
        for source, answer in sorted(by_source.items())
    ]
