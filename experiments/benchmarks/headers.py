"""What the header rules conclude on real series, and whether it is right.

    python experiments/benchmarks/headers.py ../shared/data/anatomy

Writes docs/results/anatomy-headers.md. The truths below were written by looking at the pictures, or where those have
16 pixels a side, by what their series is called; `None` is what a right answer does not name.
"""

import argparse
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pydicom.data

from vesalius import __version__
from vesalius.files import write_text
from vesalius.imaging import MedicalImage, Plane, read_image
from vesalius.imaging.dicom import read_stacks
from vesalius.imaging.orientation import common_plane

OUT = Path(__file__).parents[2] / "docs" / "results" / "anatomy-headers.md"
SAMPLES = Path(pydicom.data.__file__).parent / "test_files"
SHARED, PYDICOM = "shared", "pydicom"


@dataclass(frozen=True)
class Truth:
    """What a series is."""

    home: str
    path: str
    modality: str
    protocol: str | None
    plane: Plane | None
    purpose: str | None = None
    seen: str = "picture"
    """How it is known."""
    origin: str = ""


SERIES = (
    Truth(SHARED, "brain_mr/Epi", "MR", None, "axial", origin="gradient-echo EPI, T2*-weighted: frontal signal loss"),
    Truth(SHARED, "brain_mr/Flair", "MR", "FLAIR", "axial"),
    Truth(SHARED, "knee_mr/T1", "MR", "T1", "coronal"),
    Truth(SHARED, "knee_mr/T2", "MR", "T2", "sagittal"),
    Truth(SHARED, "knee_mr_localizer", "MR", None, None, "localizer", origin="nine slices in each of three planes"),
    Truth(SHARED, "chest_ct", "CT", None, "axial"),
    Truth(SHARED, "abdomen_pelvis_ct/ct.nii.gz", "CT", None, "axial"),
    Truth(
        SHARED, "abdomen_mr/mr.nii.gz", "MR", None, "axial", origin="NIfTI without a JSON header; weighting not judged"
    ),
    Truth(SHARED, "brain_atlas/t1.nii.gz", "MR", "T1", "axial", origin="NIfTI without a JSON header"),
    Truth(PYDICOM, "CT_small.dcm", "CT", None, "axial"),
    Truth(PYDICOM, "693_J2KI.dcm", "CT", None, "axial"),
    Truth(PYDICOM, "J2K_pixelrep_mismatch.dcm", "CT", None, "axial", origin="head, tilted gantry"),
    Truth(PYDICOM, "MR_small.dcm", "MR", "T2", "axial", seen="description", origin="64 pixels of a spin echo"),
    Truth(PYDICOM, "examples_overlay.dcm", "MR", "T1", "axial"),
    Truth(PYDICOM, "dicomdirtests/77654033/CR1", "CR", None, None, seen="description"),
    Truth(PYDICOM, "dicomdirtests/77654033/CT2", "CT", None, "axial", seen="description"),
    Truth(PYDICOM, "dicomdirtests/98892001/CT2N", "CT", None, None, "localizer", seen="description"),
    Truth(PYDICOM, "dicomdirtests/98892001/CT5N", "CT", None, "axial", seen="description"),
    Truth(PYDICOM, "dicomdirtests/98892003/MR1", "MR", None, "sagittal", "localizer", seen="description"),
    Truth(PYDICOM, "dicomdirtests/98892003/MR2", "MR", None, None, "localizer", seen="description"),
    Truth(PYDICOM, "dicomdirtests/98892003/MR700", "MR", None, None, "projection", seen="description"),
    Truth(PYDICOM, "examples_rgb_color.dcm", "US", None, None),
    Truth(PYDICOM, "SC_rgb_rle.dcm", "OT", None, None, "report", origin="screen shot"),
)
QUESTIONS = ("modality", "protocol", "plane", "purpose")


def conclude(truth: Truth, shared: Path) -> tuple[dict[str, str | None], list[str]]:
    """Answers to the questions, and the tags that gave them."""
    path = (shared if truth.home == SHARED else SAMPLES) / truth.path
    stacks = read_stacks(path) if path.is_dir() or path.suffix == ".dcm" else [read_image(path)]
    first = stacks[0]
    protocol = first.protocol if first.purpose.label is None else None
    answers = {
        "modality": first.modality,
        "protocol": protocol.label if protocol else None,
        "plane": common_plane(stack.plane for stack in stacks),
        "purpose": first.purpose.label,
    }
    return answers, tags(first, len(stacks))


def tags(image: MedicalImage, stacks: int) -> list[str]:
    """What the rules read."""
    told = [f"Modality {image.header['Modality']}" if "Modality" in image.header else "values"]
    if image.purpose.label:
        told.append(f"{image.purpose.source} ({image.purpose.confidence:.2f})")
    elif image.protocol:
        told.append(f"{image.protocol.source} ({image.protocol.confidence:.2f})")
    if image.obliquity is not None:
        told.append(f"{image.obliquity:.0f}° oblique" + (f", {stacks} stacks" if stacks > 1 else ""))
    return [tag.replace("|", "/").replace("\\", " ") for tag in told]


def verdict(truth: Truth, answers: dict[str, str | None]) -> dict[str, str]:
    """Right, wrong or unknown, question by question; a protocol counts only where slices are to be named."""
    marks = {}
    for question in QUESTIONS:
        expected, got = getattr(truth, question), answers[question]
        marks[question] = "right" if expected == got else "unknown" if got is None else "wrong"
    return marks


def cell(answer: str | None, expected: str | None, mark: str) -> str:
    """An answer, and where it is not right the truth."""
    return (answer or "–") + ("" if mark == "right" else f" ({mark}: {expected})")


def page(shared: Path) -> str:
    """The whole page."""
    found = [(truth, *conclude(truth, shared)) for truth in SERIES]
    marks = [verdict(truth, answers) for truth, answers, _ in found]
    lines = [
        "# Header rules on real series",
        "",
        f"Written by `python experiments/benchmarks/headers.py`: vesalius {__version__}, "
        f"{datetime.now(UTC).date().isoformat()}. "
        f"{len(SERIES)} series: {sum(truth.home == SHARED for truth in SERIES)} of the developers' data, the others "
        "samples of pydicom. The rules were written from documentation, and two words (pilot, angio) added after "
        "seeing these series, so this is no independent test.",
        "",
        "| question | right | unknown, though it has an answer | wrong |",
        "|---|---|---|---|",
    ]
    for question in QUESTIONS:
        given = [mark[question] for mark in marks]
        lines.append(f"| {question} | {given.count('right')} | {given.count('unknown')} | {given.count('wrong')} |")
    lines += ["", "| series | read from | modality | protocol | plane | purpose | truth known by |", "|" + "---|" * 7]
    for (truth, answers, told), mark in zip(found, marks, strict=True):
        cells = [cell(answers[question], getattr(truth, question), mark[question]) for question in QUESTIONS]
        name = f"{truth.path}{f' ({truth.origin})' if truth.origin else ''}"
        lines.append(f"| {name} | {'; '.join(told)} | {' | '.join(cells)} | {truth.seen} |")
    lines += [
        "",
        "A dash stands for no answer; the protocol of localizers and projections is not asked. "
        "How the rules decide: [anatomy-data.md](anatomy-data.md).",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path, help="folder with the developers' series")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a chest CT of every fifth slice
        text = page(parser.parse_args().anatomy)
    write_text(OUT, text)
    print(text)


if __name__ == "__main__":
    main()
