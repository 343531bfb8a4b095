"""Vesalius at work on real images: writes demo/index.html and prints every number on it.

python demo/run.py
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from findings import Findings, Part, summarise
from page import render, today
from pictures import Album
from samples import CREDITS, SLICES, Brain, read_brain
from segmenting import IMAGES_EACH, WRONG_PHRASES, segment_brain, segment_held_out

from naming import name_samples
from vesalius import AnatomyLabeller, Predictor, __version__
from vesalius.console import print_table, progress_bar, say
from vesalius.errors import VesaliusError
from vesalius.files import write_text

HERE = Path(__file__).parent
SHARED = Path("../shared/data")


def main() -> None:
    """Run all parts, write the page, print the tables and where the page is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="pocket", help="a model's name, a checkpoint or a run's folder")
    parser.add_argument("--shared", type=Path, default=HERE.parent / SHARED, help="folder with held-out images")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for index.html and pictures/")
    args = parser.parse_args()
    started = time.monotonic()
    page = args.out / "index.html"
    try:
        predictor = Predictor(args.model)
        findings = find(args.model, predictor, args.shared, page)
        facts = {"Vesalius": __version__, "model": findings.model, "made": today()}
        write_text(page, render(findings, predictor.knowledge, CREDITS, facts))
    except VesaliusError as error:
        say(f"error: {error}")
        sys.exit(2)
    report(findings)
    print(f"{time.monotonic() - started:.0f} s. Open in a browser:")
    print(page.resolve())


def find(model: str, predictor: Predictor, shared: Path, page: Path) -> Findings:
    """Ask the model everything; pictures go beside the page."""
    album = Album(page)
    say("Reading the MNI152 template …")
    brain = read_brain()
    parts, skipped = segment_all(predictor, brain, shared, album)
    say("Naming pictures …")
    named, missing = name_samples(AnatomyLabeller(model), brain, album)
    return Findings(model, tuple(parts), tuple(named), tuple(skipped + missing))


def segment_all(predictor: Predictor, brain: Brain, shared: Path, album: Album) -> tuple[list[Part], list[str]]:
    """The brain, and held-out images where they are at hand; second, a line for each thing that is not."""
    with bar("Segmenting the brain", SLICES) as on_image:
        parts, skipped = [segment_brain(predictor, brain, album, on_image)], []
    if not shared.is_dir():
        return parts, [f"No held-out test images in {SHARED}, which is not part of the repository; skipped."]
    for name in WRONG_PHRASES:
        folder = shared / "segmentation" / name
        if folder.is_dir():
            with bar(f"Segmenting {name}", IMAGES_EACH) as on_image:
                parts.append(segment_held_out(predictor, folder, album, on_image))
        else:
            skipped.append(f"{name}: not in {SHARED}/segmentation; skipped.")
    return parts, skipped


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A line on stderr and a bar under it."""
    say(f"{title} …")
    with progress_bar() as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


def report(findings: Findings) -> None:
    """Every number and the summary, on stdout."""
    for part in findings.parts:
        rows = [
            (strip.title, answer.phrase, answer.dice, f"{100 * answer.share:.2f} %")
            for strip in part.strips
            for answer in strip.answers
        ]
        print_table(("image", "phrase", "Dice", "marked"), rows, title=part.title)
    judged = [
        (picture.title, each.aspect, f"{each.said or '–'} ({each.origin})", each.truth, each.verdict)
        for picture in findings.named
        for each in picture.judgements
    ]
    print_table(("picture", "aspect", "said", "truth", "verdict"), judged, title="Names")
    summary = [(row.pictures, row.asked, row.outcome) for row in summarise(findings)]
    print_table(("pictures", "asked", "result"), summary, title="Summary")
    for line in findings.skipped:
        print(line)
    print("The MNI152 template is skull-stripped: an easy case. For research, not for diagnosis.")


if __name__ == "__main__":
    main()
