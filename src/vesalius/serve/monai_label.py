"""MONAI Label's REST protocol, as the clients of 3D Slicer and OHIF speak it, so that they work unchanged.

Images are uploads like all others: they go by the name a client gives them or by the id of an upload, and they expire.
Only ``/infer/`` takes the SeriesInstanceUID of a DICOM series, too, since that is all that OHIF knows.
Training, sampling strategies and clicks are not offered, and ``/info/`` says so. Labels that clients submit lie beside
the upload until it expires.
"""

import asyncio
import hmac
import itertools
import json
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from weakref import WeakValueDictionary

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from vesalius import __version__
from vesalius.addresses import UID
from vesalius.errors import ConfigError, DataError, OutputError
from vesalius.files import parse_json, writing
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE
from vesalius.serve.names import safe_name
from vesalius.serve.refusals import Refusal, ServiceError
from vesalius.serve.schemas import check_text
from vesalius.serve.service import Arrived, Service, reading_form, removing, save, send_file
from vesalius.serve.settings import LONGEST_PHRASE, MOST_PHRASES
from vesalius.serve.uploads import SOURCE, Upload

LABELS = "labels"
"""Folder of submitted labels, within an upload's own."""
TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Tags of labels, which are names of files."""
MOST_TAGS = 20
"""Largest number of labels of one image."""
MOST_FETCHES = 2
"""Series that are fetched from the archive at once; further ones wait."""
Name = Annotated[str, Query(max_length=200)]
Params = Mapping[str, Any]


def make_monai_label(service: Service) -> APIRouter:
    """The routes of a service."""
    router, archive = APIRouter(tags=["MONAI Label"]), SeriesArchive(service)
    _add_info(router, service)
    _add_datastore(router, service)
    _add_labels(router, service)
    _add_sessions(router, service)

    @router.post("/infer/{model}")
    async def infer(
        model: str, request: Request, image: Name = "", session_id: Name = "", output: Name = ""
    ) -> Response:
        """Outline what was learnt, or the phrases in params, as one label map."""
        if model != _model_name(service):
            raise ServiceError(404, Refusal("No such model", "model", _model_name(service), model[:100]))
        async with reading_form(service, request, "file") as (files, texts):
            params = _read_params(texts.get("params", ""))
            wanted, suffix = _read_wanted(params), _read_suffix(params)
            arrived = await service.keep(files[:1], alias=image) if files and not session_id else None
        if arrived is not None:
            handle = (await service.take_in(arrived))[0].id
        else:
            handle = await archive.find(session_id or image)
        return await _infer(service, handle, wanted, suffix, output)

    return router


def _add_info(router: APIRouter, service: Service) -> None:
    @router.get("/info/")
    async def info() -> dict[str, Any]:
        """What the service offers, in the protocol's words."""
        labels = {each.phrase: number for number, each in enumerate(service.knowledge.targets, 1)}
        uploads = await run_in_threadpool(service.store.list_uploads)
        model = {
            "type": "segmentation",
            "labels": labels,
            "dimension": 3,
            "description": "Outlines what phrases name, separated by commas; without phrases, all that it learnt",
            "config": {"phrases": "", "threshold": 0.5, "existence": 0.5},
        }
        return {
            "name": "Vesalius",
            "description": "Segments what phrases name. For research, not for diagnosis.",
            "version": __version__,
            "labels": list(labels),
            "models": {_model_name(service): model},
            "trainers": {},
            "strategies": {},
            "scoring": {},
            "train_stats": {},
            "datastore": _count(service, uploads),
        }

    @router.get("/auth/")
    async def auth() -> dict[str, bool]:
        """Whether a token is needed."""
        return {"enabled": bool(service.settings.token)}

    @router.post("/auth/token")
    async def token(password: Annotated[str, Form(max_length=1000)]) -> dict[str, str]:
        """Take the service's token for a password, as clients ask their users for one; any user name will do."""
        own = service.settings.token
        if not own or not hmac.compare_digest(password.encode(), own.encode()):
            raise ServiceError(401, Refusal("The password is not the service's token", "password"))
        return {"access_token": own, "token_type": "bearer"}

    @router.get("/auth/token/valid")
    async def valid() -> dict[str, bool]:
        """Whether the token that was shown is the right one."""
        return {"valid": True}


def _add_datastore(router: APIRouter, service: Service) -> None:
    @router.get("/datastore/")
    async def datastore(output: Name = "") -> dict[str, Any]:
        """How many images there are; with output=all those that came by this protocol, by name."""
        uploads = await run_in_threadpool(service.store.list_uploads)
        if output != "all":
            return _count(service, uploads)
        objects = {each.alias: _describe(service, each) for each in reversed(uploads) if each.alias}  # the last counts
        return {"name": "Vesalius", "description": "Uploads, which expire", "objects": objects}

    @router.put("/datastore/")
    async def add(request: Request, image: Name = "") -> dict[str, str]:
        """Upload an image under a name."""
        async with reading_form(service, request, "file") as (files, _):
            stem = (files[0].filename or "").partition(".")[0] if files else ""
            arrived = await service.keep(files[:1], alias=image or stem)
        made = await service.take_in(arrived)
        return {"image": made[0].alias}

    @router.delete("/datastore/")
    async def remove(id: Name) -> dict[str, str]:  # noqa: A002
        """Delete an image."""
        handle = await run_in_threadpool(service.store.find, id)
        await service.remove(handle)
        return {}

    @router.get("/datastore/image", response_class=FileResponse)
    async def image_file(image: Name) -> FileResponse:
        """The image on the grid of its masks."""
        handle = await run_in_threadpool(service.store.find, image)
        return send_file(Path(str((await service.ask(handle, "image"))["path"])))


def _add_labels(router: APIRouter, service: Service) -> None:
    @router.put("/datastore/label")
    async def save_label(request: Request, image: Name, tag: Name = "final") -> dict[str, str]:
        """Submit a label, which is kept as long as the image."""
        tag = tag or "final"
        handle = await run_in_threadpool(service.store.find, image)
        if not TAG.fullmatch(tag):
            expected = "up to 64 letters of English, digits, - and _"
            raise ServiceError(422, Refusal("No tag of a label", "tag", expected, tag[:100]))
        async with reading_form(service, request, "label") as (files, _):
            if len(files) != 1:
                raise ServiceError(422, Refusal("No label was sent", "label", "one file"))
            await run_in_threadpool(service.store.check_room, files[0].size or 0)
            await run_in_threadpool(_keep_label, service.store.uploads / handle / LABELS, tag, files[0])
            await run_in_threadpool(service.store.measure, handle)
        return {"image": image, "label": image}

    @router.get("/datastore/label", response_class=FileResponse)
    async def label_file(label: Name, tag: Name = "final") -> FileResponse:
        """A label that was submitted."""
        handle = await run_in_threadpool(service.store.find, label)
        folder = service.store.uploads / handle / LABELS
        found = sorted(folder.glob(f"{tag}.*")) if TAG.fullmatch(tag) else []
        if not found:
            raise ServiceError(404, Refusal("No such label", "tag", "the tag of a label that was submitted", tag))
        return send_file(found[0])


def _add_sessions(router: APIRouter, service: Service) -> None:
    @router.put("/session/")
    async def create(request: Request) -> dict[str, Any]:
        """Upload an image for a session."""
        async with reading_form(service, request) as (files, _):
            arrived = await service.keep(files)
        made = await service.take_in(arrived)
        return {"session_id": made[0].id, "session_info": _describe_session(service, made[0])}

    @router.get("/session/{session_id}")
    async def show(session_id: str) -> dict[str, Any]:
        """What is known of a session's image."""
        return _describe_session(service, await run_in_threadpool(service.store.read, session_id))

    @router.delete("/session/{session_id}")
    async def end(session_id: str) -> dict[str, Any]:
        """End a session and delete its image."""
        upload = await run_in_threadpool(service.store.read, session_id)
        told = _describe_session(service, upload)
        await service.remove(session_id)
        return told


class SeriesArchive:
    """Finds images, and fetches series that are not here from the archive that the service was given.

    A series is fetched once, however many ask for it, and few are at once: an archive may be slow.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._few = service, asyncio.Semaphore(MOST_FETCHES)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def find(self, name: str) -> str:
        """The upload of an image.

        Raises:
            ServiceError: If there is none.
        """
        try:
            return await self._look(name)
        except ServiceError:
            if not self._service.settings.dicomweb or not UID.fullmatch(name):
                raise
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            with suppress(ServiceError):  # fetched for somebody else in the meantime
                return await self._look(name)
            async with self._few:
                return await self._fetch(name)

    async def _look(self, name: str) -> str:
        return await run_in_threadpool(lambda: self._service.store.find(name, by_series=True))

    async def _fetch(self, series: str) -> str:
        store, settings = self._service.store, self._service.settings
        incoming = await run_in_threadpool(store.receive, 0)
        most = min(settings.limits.upload_megabytes * BYTES_PER_MEGABYTE, store.most_bytes - store.used_bytes)
        try:
            await run_in_threadpool(_fetch, settings.dicomweb, series, incoming / SOURCE, most)
            return (await self._service.take_in(Arrived(incoming, series, series)))[0].id
        except (ConfigError, OutputError) as error:
            raise ServiceError(502, Refusal(str(error), "dicomweb")) from error
        finally:
            await run_in_threadpool(store.discard, incoming)


def _fetch(url: str, series: str, folder: Path, most: int) -> None:
    """Write a series of an archive into a folder.

    Raises:
        OutputError: If the archive does not answer, or sends what is no series or more than so many bytes.
        ServiceError: If it has no such series.
    """
    from vesalius.pacs.dicomweb import DicomWeb

    archive = DicomWeb(url)
    found = archive.find({"SeriesInstanceUID": series}, 1)
    if not found:
        raise ServiceError(404, Refusal("Neither an upload nor the archive has this series", "image"))
    archive.fetch(found[0].study, series, folder, most, found[0].instances)


def _read_wanted(params: Params) -> dict[str, object]:
    """What a client asks of the worker."""
    return {
        "phrases": _read_phrases(params),
        "threshold": _read_share(params, "threshold"),
        "existence": _read_share(params, "existence", ends=True),
        "dtype": str(params.get("result_dtype") or "uint8"),
    }


def _read_suffix(params: Params) -> str:
    """How the name of the label map ends, in letters that no system minds."""
    return safe_name(f"x.{str(params.get('result_extension') or 'nii.gz').removeprefix('.')}")[1:]


async def _infer(service: Service, handle: str, wanted: Params, suffix: str, output: str) -> Response:
    """The label map of an upload, and what it shows, as a client asked for them."""
    with service.store.scratch(handle) as scratch:
        path = scratch / f"label{suffix}"
        made = await service.ask(handle, "label_map", path=str(path), **wanted)
        told = {name: made[name] for name in ("label_names", "existence", "notices")}
        if output == "json":
            return JSONResponse(told, background=removing(scratch))
        if output == "image":
            return send_file(path, removing(scratch), "application/octet-stream")
        content = await run_in_threadpool(path.read_bytes)
        boundary = secrets.token_hex(16)
        body = _to_form(boundary, told, path.name, content)
        return Response(body, media_type=f"multipart/form-data; boundary={boundary}", background=removing(scratch))


def _to_form(boundary: str, told: Mapping[str, object], name: str, content: bytes) -> bytes:
    """A form with the parts params and image, from which Slicer's client takes both."""
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="params"\r\nContent-Type: application/json\r\n\r\n'
        f"{json.dumps(told)}\r\n--{boundary}\r\n"
        f'Content-Disposition: form-data; name="image"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


def _read_params(text: str) -> Params:
    try:
        params = parse_json(text or "{}", "params")
    except DataError as error:
        raise ServiceError(422, Refusal(str(error), "params", "a JSON object")) from error
    if not isinstance(params, dict):
        raise ServiceError(422, Refusal("params is no JSON object", "params", "a JSON object"))
    return params


def _read_phrases(params: Params) -> list[str]:
    """Phrases, separated by commas or as a list; none for all that was learnt."""
    value = params.get("phrases") or ""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise ServiceError(422, Refusal("phrases are no texts", "phrases", "phrases separated by commas"))
    try:
        phrases = [check_text(each.strip()) for each in listed if each.strip()]
    except ValueError as error:
        raise ServiceError(422, Refusal(f"A phrase {error}", "phrases")) from error
    if len(phrases) > MOST_PHRASES or any(len(each) > LONGEST_PHRASE for each in phrases):
        expected = f"{MOST_PHRASES} phrases of {LONGEST_PHRASE} characters at most"
        raise ServiceError(422, Refusal("Too many phrases, or too long ones", "phrases", expected))
    return phrases


def _read_share(params: Params, name: str, *, ends: bool = False) -> float:
    """A probability, which some clients send as text, with or without 0 and 1; what is not given is 0.5."""
    given = params.get(name)
    try:
        value = 0.5 if given is None or given == "" else float(given)
    except (TypeError, ValueError, OverflowError):
        value = -1.0
    if not (0 <= value <= 1 if ends else 0 < value < 1):
        expected = "a number from 0 to 1" if ends else "a number between 0 and 1"
        raise ServiceError(422, Refusal(f"{name} is no probability", name, expected))
    return value


def _keep_label(folder: Path, tag: str, file: UploadFile) -> None:
    name = safe_name(file.filename or "label.nii.gz")
    suffix = ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix or ".bin"
    folder.mkdir(exist_ok=True)
    others = {path.name.partition(".")[0] for path in folder.glob("[!.]*")} - {tag}
    if len(others) >= MOST_TAGS:
        refusal = Refusal("Too many labels of one image", "tag", f"{MOST_TAGS} tags at most", remedy="Use one again.")
        raise ServiceError(422, refusal)
    path = folder / f"{tag}{suffix}"
    with writing(path) as unfinished:
        save(file.file, unfinished)
    for old in folder.glob(f"{tag}.*"):
        if old != path:
            old.unlink()


def _model_name(service: Service) -> str:
    return safe_name(service.settings.model)


def _count(service: Service, uploads: list[Upload]) -> dict[str, Any]:
    tags = [_tags(service, each) for each in uploads]
    counts = Counter(itertools.chain.from_iterable(tags))
    return {"total": len(uploads), "completed": sum(map(bool, tags)), "label_tags": dict(counts)}


def _tags(service: Service, upload: Upload) -> dict[str, str]:
    """Tag of each submitted label -> suffix of its file."""
    folder = service.store.uploads / upload.id / LABELS
    names = [path.name.partition(".") for path in sorted(folder.glob("[!.]*.*"))] if folder.is_dir() else []
    return {tag: f".{suffix}" for tag, _, suffix in names}


def _describe(service: Service, upload: Upload) -> dict[str, Any]:
    labels = {tag: {"ext": own, "info": {}} for tag, own in _tags(service, upload).items()}
    return {"image": {"ext": upload.suffix, "info": {}}, "labels": labels}


def _describe_session(service: Service, upload: Upload) -> dict[str, Any]:
    return {"name": upload.id, "image": upload.name, "expires_at": service.store.expires_at(upload.id)}
