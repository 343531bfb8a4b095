"""``vesalius demo``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from vesalius.demo.page import Findings

PAGE = "index.html"


def demo(
    *,
    out: Annotated[Path, Parameter(alias="-o")] = Path("demo"),
    model: str = "pocket",
    held_out: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Segment and name real images that installed packages carry, and write a page of the answers beside the truth.

    The MNI152 brain, which nilearn carries, and four of pydicom's DICOM files. Nothing is downloaded; nilearn is
    installed with: pip install 'vesalius[demo]'.

    Examples:
        vesalius demo
        vesalius demo -o pages/demo --model runs/mine

    Documentation:
        README.md

    Args:
        out: Folder for index.html and pictures/.
        model: A model's name, a checkpoint or a run's folder.
        held_out: Folder of data sets in the benchmark's layout, such as kvasir_polyp/, some of whose test images are
            asked about, too.
        overwrite: Replace what lies there from something else.
    """
    from vesalius import __version__
    from vesalius.console import print_path, say
    from vesalius.demo.page import render, today
    from vesalius.demo.run import find
    from vesalius.demo.samples import CREDITS
    from vesalius.errors import ConfigError, require
    from vesalius.files import write_text
    from vesalius.folders import Claim
    from vesalius.predict import Predictor

    started = time.monotonic()
    require("nilearn", extra="demo")
    if held_out and not held_out.is_dir():
        raise ConfigError(
            f"--held-out {held_out}: no such folder; leave it out to ask about the packages' images alone."
        )
    origin = {"model": model, "held_out": str(held_out) if held_out else None}
    Claim(out, "demo", origin, [PAGE], overwrite).check()  # complains now, not after the pass
    predictor = Predictor(model)
    findings, album = find(model, predictor, held_out)
    Claim(out, "demo", origin, [PAGE, *album.pictures], overwrite).make()
    album.write(out)
    facts = {"Vesalius": __version__, "model": findings.model, "made": today()}
    write_text(out / PAGE, render(findings, predictor.knowledge, CREDITS, facts))
    _report(findings)
    say(f"{time.monotonic() - started:.0f} s. Open in a browser:")
    print_path((out / PAGE).resolve())


def _report(findings: "Findings") -> None:
    """Every number and the summary."""
    from vesalius.console import print_table, say
    from vesalius.demo.page import summarise

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
        say(line)
    say("The MNI152 template is skull-stripped: an easy case. For research, not for diagnosis.")
