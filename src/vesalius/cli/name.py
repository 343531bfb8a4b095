"""``vesalius name PATH``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def name(
    path: Path,
    /,
    *,
    model: str = "pocket",
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Say which modality, plane and body stations a picture, series or volume shows.

    Modality and plane come from the header where it has them, everything else from pixels. No label is given where the
    likeliest has a probability under one half.

    Args:
        path: A PNG, JPEG or TIFF file, a DICOM file, a folder with a series, or a NIfTI volume.
        model: A model's name, a checkpoint or a run's folder.
        as_json: Print one JSON object, with every slice.
    """
    from vesalius.cli.output import print_json, print_table
    from vesalius.imaging import read_image
    from vesalius.naming import AnatomyLabeller
    from vesalius.progress import progress_bar

    picture = read_image(path)
    labeller = AnatomyLabeller(model)
    with progress_bar() as bar:
        task = bar.add_task("Naming", total=len(picture.slices()))
        series = labeller.label(picture, on_slices=lambda count: bar.advance(task, count))
    if as_json:
        stations = [asdict(each) for each in series.stations]
        print_json({"image": str(path), "model": model, **asdict(series), "stations": stations})
        return
    rows = [("modality", series.modality), ("plane", series.plane)]
    print_table(
        ("", "label", "probability", "from"),
        [(aspect, answer.label or "unsure", answer.probability, answer.source) for aspect, answer in rows],
        title=str(path),
    )
    print_table(
        ("slices", "position (mm)", "station"),
        [
            (_range(each.first, each.last), _range(each.first_mm, each.last_mm), each.station or "unsure")
            for each in series.stations
        ],
    )


def _range(first: float | None, last: float | None) -> str:
    if first is None or last is None:
        return "–"
    return f"{first:.0f}" if first == last else f"{first:.0f} … {last:.0f}"
