"""Routes that put files together: results as DICOM and as a zip file, corrections as training data."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from vesalius.files import to_json
from vesalius.imaging.formats import file_stem
from vesalius.results import slugs
from vesalius.serve.names import safe_name
from vesalius.serve.refusals import Refusal, ServiceError
from vesalius.serve.routes import Handle
from vesalius.serve.service import Service, reading_form, removing, save, send_file
from vesalius.serve.store import size_of
from vesalius.serve.uploads import RESULTS, Upload, list_results

Numbers = Annotated[
    list[Annotated[int, Field(ge=1, le=10**9)]], Query(description="results to take; all by default", max_length=1000)
]
CORRECTION = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["mask", "phrase"],
                    "properties": {
                        "mask": {"type": "string", "format": "binary"},
                        "phrase": {"type": "string"},
                        "slice": {"type": "integer", "minimum": 0},
                    },
                }
            }
        },
    }
}
"""The form of a correction, for /openapi.json."""


def make_downloads(service: Service) -> APIRouter:
    """The routes of a service."""
    router = APIRouter()
    for kind, what in (("seg", "segmentation"), ("sr", "structured report")):
        _add_dicom(router, service, kind, what)

    @router.get("/uploads/{id}/results.zip", response_class=FileResponse)
    async def results(id: Handle, numbers: Numbers = []) -> FileResponse:  # noqa: A002, B006
        """Masks, and what was found, in one zip file."""
        upload = await run_in_threadpool(service.store.read, id)
        folder = service.store.uploads / id
        await run_in_threadpool(lambda: service.store.check_room(size_of(folder / RESULTS)))
        with service.store.scratch(id) as scratch:
            path = await run_in_threadpool(_zip_results, folder, upload, scratch / "results.zip", numbers)
            return send_file(path, removing(scratch), "application/zip")

    @router.post("/uploads/{id}/corrections", response_class=FileResponse, openapi_extra=CORRECTION)
    async def correct(id: Handle, request: Request) -> FileResponse:  # noqa: A002
        """Turn a corrected mask into training data: a zip file with images, masks and annotations (docs/data.md).

        The mask is a picture of the image's size, or of a volume a .nii.gz on the grid of its masks; with a slice, from
        0 as displayed, only that one is written, and its mask may be a picture of it.
        """
        with service.store.scratch(id) as scratch:
            async with reading_form(service, request, "mask") as (files, texts):
                if len(files) != 1:
                    raise ServiceError(422, Refusal("Expected one mask", "mask", "one file", f"{len(files)} files"))
                number = _read_slice(texts.get("slice", ""))
                path = scratch / safe_name(files[0].filename or "mask.png")
                await run_in_threadpool(save, files[0].file, path)
            wanted = {"mask": str(path), "phrase": texts.get("phrase", ""), "slice_number": number}
            made = await service.ask(id, "correct", **wanted)
            return send_file(Path(str(made["path"])), removing(scratch), "application/zip")

    return router


def _add_dicom(router: APIRouter, service: Service, kind: str, what: str) -> None:
    @router.get(
        f"/uploads/{{id}}/{kind}.dcm",
        name=kind,
        response_class=FileResponse,
        description=f"Results as a DICOM {what}; needs the extra clinical, and an upload that is DICOM.",
    )
    async def dicom(id: Handle, numbers: Numbers = []) -> FileResponse:  # noqa: A002, B006
        with service.store.scratch(id) as scratch:
            made = await service.ask(id, "dicom", form=kind, numbers=numbers, folder=str(scratch))
            return send_file(Path(str(made["path"])), removing(scratch), "application/dicom")


def _read_slice(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 6:
        raise ServiceError(422, Refusal("No such slice", "slice", "a number from 0", text[:20]))
    return int(text)


def _zip_results(folder: Path, upload: Upload, path: Path, numbers: Sequence[int]) -> Path:
    """Masks under names that say what they are, and results.json."""
    rows = list_results(folder, numbers)
    stem = safe_name(file_stem(upload.name))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for row, slug in zip(rows, slugs([str(each["phrase"]) for each in rows]), strict=True):
            mask = folder / RESULTS / f"{row['number']}{upload.suffix}"
            if mask.is_file():
                row["mask"] = f"{stem}.{slug}.mask{upload.suffix}"
                archive.write(mask, str(row["mask"]))
        archive.writestr("results.json", to_json({"image": upload.to_dict(), "results": rows}))
    return path
