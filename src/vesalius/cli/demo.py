"""``vesalius demo``."""

import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius import __version__
from vesalius.cli.usage import Overwrite
from vesalius.console import print_path, print_table, say
from vesalius.errors import ConfigError, require
from vesalius.files import write_text
from vesalius.folders import Claim
from vesalius.models.choices import DEFAULT_MODEL

if TYPE_CHECKING:
    from vesalius.demo.page import Findings


def demo(
    *,
    out: Annotated[Path, Parameter(alias="-o")] = Path("demo"),
    model: str = DEFAULT_MODEL,
    held_out: Path | None = None,
    overwrite: Overwrite = False,
) -> None:
    """Segment and name real images that installed packages carry, and write a page of the answers beside the truth.

    The MNI152 brain, which nilearn carries, and five of pydicom's DICOM files. A second page lists all that the model
    learnt, by part of the body. Nothing is downloaded; nilearn is installed with: pip install 'vesalius[demo]'.

    Examples:
        vesalius demo
        vesalius demo -o pages/demo --model runs/mine

    Documentation:
        README.md

    Args:
        out: Folder for index.html, targets.html and pictures/.
        model: A model's name, a checkpoint or a run's folder.
        held_out: Folder of data sets in the benchmark's layout, such as kvasir_polyp/, some of whose test images are
            asked about, too.
    """
    from vesalius.demo.page import PAGES, render_pages
    from vesalius.demo.run import find
    from vesalius.demo.samples import CREDITS
    from vesalius.predict import Predictor
    from vesalius.provenance import identify_data, identify_weights

    started = time.monotonic()
    require("nilearn", extra="demo")
    if held_out and not held_out.is_dir():
        raise ConfigError(
            f"--held-out {held_out}: no such folder; leave it out to ask about the packages' images alone."
        )
    sets = {each.name: identify_data(each) for each in sorted(held_out.iterdir()) if each.is_dir()} if held_out else {}
    origin = {"weights": identify_weights(model), "held_out": sets}
    Claim(out, "demo", origin, PAGES, overwrite).check()  # complains now, not after the pass
    predictor = Predictor(model)
    findings, album = find(model, predictor, held_out)
    Claim(out, "demo", origin, [*PAGES, *album.pictures], overwrite).make()
    album.write(out)
    facts = {"Vesalius": __version__, "model": findings.model, "made": date.today().isoformat()}
    for name, page in render_pages(findings, predictor.knowledge, CREDITS, facts).items():
        write_text(out / name, page)
    _report(findings)
    say(f"{time.monotonic() - started:.0f} s. Open in a browser:")
    print_path((out / PAGES[0]).resolve())


def _report(findings: "Findings") -> None:
    """Print every number and the summary."""
    from vesalius.demo.page import summarise_findings

    for section in findings.sections:
        rows = [
            (picture.title, answer.phrase, answer.dice, f"{100 * answer.share:.2f} %")
            for picture in section.pictures
            for answer in picture.answers
        ]
        print_table(("image", "phrase", "Dice", "area"), rows, title=section.title)
    judged = [
        (picture.title, each.kind, f"{each.said or '–'} ({each.origin})", each.truth, each.verdict)
        for picture in findings.named
        for each in picture.judgements
    ]
    print_table(("picture", "label kind", "said", "truth", "verdict"), judged, title="Names")
    asked = [(entry.learnt.phrase, answer.title, answer.result) for entry, answer in findings.portrayed]
    print_table(("target", "picture", "answer"), asked, title="What it learnt, no test: there is no truth to compare")
    print_table(("pictures", "asked", "result"), summarise_findings(findings), title="Summary")
    for line in findings.skipped:
        say(line)
    say("The MNI152 template is skull-stripped: an easy case. For research, not for diagnosis.")
