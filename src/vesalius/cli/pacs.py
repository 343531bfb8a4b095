"""``vesalius pacs find``, ``segment`` and ``name``: with a DICOMweb service."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vesalius.cli.deidentify import check_copies, deidentified
from vesalius.cli.usage import AsJson, OutPath
from vesalius.console import print_json, print_path, say
from vesalius.errors import ConfigError, OutputError, PromptError, require
from vesalius.models.choices import DEFAULT_MODEL

if TYPE_CHECKING:
    from vesalius.pacs.dicomweb import DicomWeb


def pacs_find(
    *,
    url: str,
    filters: Annotated[tuple[str, ...], Parameter(name="--filter")] = (),
    limit: int = 50,
    as_json: AsJson = False,
) -> None:
    """List series that a DICOMweb service holds, by their UIDs; names of patients are neither asked for nor shown.

    Examples:
        vesalius pacs find --url http://localhost/dicom-web
        vesalius pacs find --url http://localhost/dicom-web --filter Modality=CT

    Documentation:
        docs/pacs.md

    Args:
        url: Address of the service; VESALIUS_PACS_TOKEN, or VESALIUS_PACS_USER and _PASSWORD, identify you.
        filters: KEYWORD=VALUE by DICOM keyword, with * and ? for any letters; repeat it for several.
        limit: Most series to list.
        as_json: Print JSON.
    """
    require_pacs()
    from vesalius.pacs.dicomweb import DicomWeb

    if limit < 1:
        raise ConfigError(f"--limit: expected 1 or more, got {limit}.")
    found = DicomWeb(url).find(_read_filters(filters), limit)
    if as_json:
        print_json({"series": [each.to_dict() for each in found]})
        return
    for each in found:
        about = (each.modality, each.body_part, each.description, each.date)
        say(f"{', '.join(filter(None, about))}{'' if each.instances is None else f' ({each.instances} instances)'}")
        print_path(f"--study {each.study} --series {each.series}")
    more = "; there may be more, see --limit" if len(found) == limit else ""
    say(f"{len(found)} series{more}. What identifies them is what `vesalius pacs segment` and `name` take.")


def pacs_segment(
    *,
    url: str,
    study: str,
    series: str,
    prompt: Annotated[tuple[str, ...], Parameter(alias="-p")],
    out: OutPath = None,
    model: str = DEFAULT_MODEL,
    send: bool = False,
    deidentify: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Segment a series of a DICOMweb service, and keep the result or store it there.

    Examples:
        vesalius pacs segment --url URL --study 1.2 --series 1.2.3 -p liver --send

    Documentation:
        docs/pacs.md

    Args:
        url: Address of the service, see `vesalius pacs find`.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        prompt: What to outline; repeat it for several.
        out: File for the segmentation (.dcm); a report of the same name with .report.dcm lies beside it.
        model: A model's name, or a checkpoint.
        send: Store segmentation and report in the service.
        deidentify: New folder for de-identified copies of the images; the results are made from them. Not with --send.
        overwrite: Replace files that are there.
    """
    require_pacs()
    from vesalius.clinical.work import DicomFiles, ReportOnlyError, check_outputs, segment_to_dicom
    from vesalius.imaging import read_image
    from vesalius.predict import Predictor
    from vesalius.prompts.user_prompts import check_distinct
    from vesalius.segmenting.request import Request

    check_distinct(prompt)
    with _place(out, send, deidentify) as place:
        files = DicomFiles(place, place.with_name(f"{place.stem}.report.dcm"))
        check_outputs(files.paths, place.parent, overwrite)
        with _fetched(url, study, series) as (service, folder):
            try:
                with deidentified([read_image(folder)], deidentify, files.paths) as (image,):
                    segment_to_dicom(image, Predictor(model), Request(prompt, model), files, overwrite=overwrite)
            except ReportOnlyError as error:
                _deliver(files.paths[1:], service, out, send)
                raise PromptError(
                    "The model learnt none of the phrases on such images; no segmentation was made, as the report says."
                ) from error
        _deliver(files.paths, service, out, send)


def pacs_name(
    *,
    url: str,
    study: str,
    series: str,
    out: OutPath = None,
    model: str = DEFAULT_MODEL,
    send: bool = False,
    deidentify: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Name what a series of a DICOMweb service shows, as a structured report.

    Examples:
        vesalius pacs name --url URL --study 1.2 --series 1.2.3 --out report.dcm

    Documentation:
        docs/pacs.md

    Args:
        url: Address of the service, see `vesalius pacs find`.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        out: File for the report (.dcm).
        model: A model that names, or a checkpoint.
        send: Store the report in the service.
        deidentify: New folder for de-identified copies of the images; the results are made from them. Not with --send.
        overwrite: Replace a file that is there.
    """
    require_pacs()
    from vesalius.clinical.work import check_outputs, report_names
    from vesalius.imaging.dicom import read_stacks
    from vesalius.naming.labeller import AnatomyLabeller, choose_stacks

    with _place(out, send, deidentify) as place:
        check_outputs([place], place.parent, overwrite)
        labeller = AnatomyLabeller(model)
        with (
            _fetched(url, study, series) as (service, folder),
            deidentified(read_stacks(folder), deidentify, [place]) as read,
        ):
            stacks = choose_stacks(read)
            report_names(place, labeller.label(stacks), stacks, model, overwrite=overwrite)
        _deliver([place], service, out, send)


def _read_filters(given: tuple[str, ...]) -> dict[str, str]:
    from pydicom.datadict import keyword_dict

    filters: dict[str, str] = {}
    for each in given:
        keyword, _, value = each.partition("=")
        if not value:
            raise ConfigError(f"--filter {each}: expected KEYWORD=VALUE, such as Modality=CT.")
        if keyword not in keyword_dict:
            close = get_close_matches(keyword, keyword_dict, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigError(f"--filter {each}: '{keyword}' is no keyword of DICOM.{hint}")
        if keyword in filters:
            raise ConfigError(f"--filter {each}: {keyword} is given twice; a series has to fit all filters.")
        filters[keyword] = value
    return filters


@contextmanager
def _place(out: Path | None, send: bool, deidentify: Path | None) -> Iterator[Path]:
    """Where the result goes: a temporary place if it is only sent."""
    if out is None and not send:
        raise ConfigError("The result would go nowhere: name a file with --out, or give --send.")
    if deidentify is not None:
        if send:
            raise ConfigError(
                "--deidentify with --send: the service knows neither the copies nor their patient; keep the result "
                "with --out alone."
            )
        check_copies(deidentify)
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="vesalius-") as temporary:
        yield Path(temporary) / "result.dcm"


@contextmanager
def _fetched(url: str, study: str, series: str) -> "Iterator[tuple[DicomWeb, Path]]":
    """The service, and a folder with the series."""
    from vesalius.addresses import check_uid
    from vesalius.pacs.dicomweb import DicomWeb

    check_uid(study, "--study")
    check_uid(series, "--series")
    service = DicomWeb(url)
    with tempfile.TemporaryDirectory(prefix="vesalius-") as temporary:
        instances = None
        with suppress(OutputError):  # it may be a service that does not search, or not for everybody
            found = service.find({"StudyInstanceUID": study, "SeriesInstanceUID": series}, 1)
            instances = next((each.instances for each in found if each.series == series), None)
        service.fetch(study, series, Path(temporary), instances=instances)
        yield service, Path(temporary)


def _deliver(files: list[Path], service: "DicomWeb", out: Path | None, send: bool) -> None:
    if out is not None:
        for file in files:
            print_path(file)
    if send:
        for file in files:
            service.store(file)
        say(f"{len(files)} results are stored in {service.url}.")


def require_pacs() -> None:
    """Refuse to go on without the extra.

    Raises:
        MissingPackageError: If a package of it is not installed.
    """
    require("highdicom", extra="pacs")
    require("pynetdicom", extra="pacs")
    require("dicomweb_client", extra="pacs")
