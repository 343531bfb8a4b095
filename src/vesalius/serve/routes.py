"""The routes under /api: uploads, results, names and the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse
from starlette.concurrency import run_in_threadpool

from vesalius import __version__
from vesalius.knowledge import LearntTarget
from vesalius.prompts.bank import find_target
from vesalius.serve.refusals import Refusal, ServiceError
from vesalius.serve.schemas import ModelInfo, ResultInfo, SegmentAnswer, SegmentRequest, TargetInfo, UploadInfo
from vesalius.serve.service import Service, reading_form, send_file
from vesalius.serve.uploads import RESULTS, Upload, read_result

Handle = Annotated[str, InPath(description="id of an upload, 32 hexadecimal digits")]
Number = Annotated[int, InPath(ge=1, le=10**9)]
FILES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            }
        },
    }
}
"""The form of an upload, for /openapi.json; it is read part by part."""
MEDIA = {".png": "image/png", ".gz": "application/gzip"}


def make_router(service: Service) -> APIRouter:
    """The routes of a service."""
    router = APIRouter()
    _add_uploads(router, service)
    _add_results(router, service)

    @router.get("/model")
    async def model() -> ModelInfo:
        """What the model is, and what it learnt."""
        targets = [_describe_target(each) for each in service.knowledge.targets]
        return ModelInfo(name=service.settings.model, version=__version__, targets=targets)

    return router


def _add_uploads(router: APIRouter, service: Service) -> None:
    @router.post("/uploads", status_code=201, response_model=UploadInfo, openapi_extra=FILES)
    async def upload(request: Request) -> dict[str, Any]:
        """Send a picture, DICOM files of a series, a zip file of them, or a NIfTI volume.

        Several series get a handle each, listed as series, the largest first; the answer is about that one.
        """
        async with reading_form(service, request) as (files, _):
            arrived = await service.keep(files)
        made = await service.take_in(arrived)
        told = [_describe_upload(service, each) for each in made]
        return {**told[0], "series": told if len(told) > 1 else []}

    @router.get("/uploads/{id}", response_model=UploadInfo)
    async def show(id: Handle) -> dict[str, Any]:  # noqa: A002
        """What is known of an upload."""
        return _describe_upload(service, await run_in_threadpool(service.store.read, id))

    @router.delete("/uploads/{id}", status_code=204)
    async def delete(id: Handle) -> Response:  # noqa: A002
        """Delete an upload with all its results."""
        await service.remove(id)
        return Response(status_code=204)

    @router.get("/uploads/{id}/image", response_class=FileResponse)
    async def image(id: Handle) -> FileResponse:  # noqa: A002
        """The image on the grid of its masks: PNG of a picture, .nii.gz of a volume, whose values are as stored.

        Colours of a volume come as grey.
        """
        made = await service.ask(id, "image")
        return _send_file(Path(str(made["path"])))

    @router.post("/uploads/{id}/segment", response_model=SegmentAnswer)
    async def segment(id: Handle, asked: SegmentRequest, request: Request) -> dict[str, Any]:  # noqa: A002
        """Outline what each phrase names."""
        found = await service.ask(id, "segment", phrases=asked.phrases, threshold=asked.threshold)
        upload = await run_in_threadpool(service.store.read, id)
        return {"results": [_with_addresses(each, upload, request) for each in found["results"]]}

    @router.post("/uploads/{id}/name")
    async def name(id: Handle) -> JSONResponse:  # noqa: A002
        """Say what the series shows, slice by slice and as a whole; `series` is as `vesalius name --json` prints it."""
        return JSONResponse(await service.ask(id, "name"))


def _add_results(router: APIRouter, service: Service) -> None:
    @router.get("/uploads/{id}/results/{number}.json", response_model=ResultInfo)
    async def result(id: Handle, number: Number, request: Request) -> dict[str, Any]:  # noqa: A002
        """What was found for one phrase."""
        upload = await run_in_threadpool(service.store.read, id)
        found = await run_in_threadpool(read_result, service.store.folder(id), number)
        return _with_addresses(found, upload, request)

    for suffix in (".png", ".nii.gz"):
        _add_masks(router, service, suffix)


def _add_masks(router: APIRouter, service: Service, suffix: str) -> None:
    @router.get(f"/uploads/{{id}}/results/{{number}}{suffix}", name=f"mask{suffix}", response_class=FileResponse)
    async def mask(id: Handle, number: Number) -> FileResponse:  # noqa: A002
        """The mask of a result, on the grid of the image's file: .png of a picture, .nii.gz of a volume."""
        folder = await run_in_threadpool(service.store.folder, id)
        path = folder / RESULTS / f"{number}{suffix}"
        if not path.is_file():
            raise ServiceError(404, Refusal("No such mask", "number", f"a result with a mask ({suffix})", str(number)))
        return _send_file(path)

    @router.get(
        f"/uploads/{{id}}/results/{{number}}/probability{suffix}",
        name=f"probability{suffix}",
        response_class=FileResponse,
    )
    async def probability(id: Handle, number: Number) -> FileResponse:  # noqa: A002
        """The probability of each pixel: 0 to 255 in a .png; 0 to 1 in a .nii.gz, by its scale."""
        upload = await run_in_threadpool(service.store.read, id)
        if upload.suffix != suffix:
            raise ServiceError(404, Refusal(f"Probabilities of a {upload.kind} are no {suffix}"))
        made = await service.ask(id, "probability", number=number)
        return _send_file(Path(str(made["path"])))


def _send_file(path: Path) -> FileResponse:
    return send_file(path, media_type=MEDIA[path.suffix], inline=True)


def _describe_upload(service: Service, upload: Upload) -> dict[str, Any]:
    return {**upload.to_dict(), "expires_at": service.store.expires_at(upload.id)}


def _describe_target(target: LearntTarget) -> TargetInfo:
    names = list(dict.fromkeys(find_target(target.name).phrases))
    return TargetInfo(
        target=target.phrase,
        names=names,
        modalities=list(target.modalities),
        learnt_on=target.learnt_on,
        pictures=target.pictures,
    )


def _with_addresses(result: Mapping[str, Any], upload: Upload, request: Request) -> dict[str, Any]:
    if result["reason"] is not None:
        return {**result, "mask": None, "probability": None}
    base = f"{request.scope.get('root_path', '')}/api/uploads/{upload.id}/results/{result['number']}"
    return {**result, "mask": f"{base}{upload.suffix}", "probability": f"{base}/probability{upload.suffix}"}
