"""What all routes share: the store, the workers, forms of files that come in, and files that go out."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fastapi import Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from vesalius.files import write_json
from vesalius.imaging.safeguards import BYTES_PER_MEGABYTE, FRAMES
from vesalius.knowledge import Knowledge
from vesalius.serve.engine import Job
from vesalius.serve.guards import Metrics
from vesalius.serve.intake import NAMES, PIECE
from vesalius.serve.names import Places, shown_name, shown_path
from vesalius.serve.pool import WorkerPool
from vesalius.serve.refusals import Refusal, ServiceError, fault
from vesalius.serve.settings import ServeSettings
from vesalius.serve.store import UploadStore, no_room
from vesalius.serve.uploads import SOURCE, Upload, worker_of

FORMS_AT_ONCE = 2
"""Forms of the largest size, or as many bytes of smaller ones, that are received at the same time."""


class Arrived(NamedTuple):
    """Files that were received, and are to become uploads."""

    folder: Path
    """Folder that `UploadStore.receive` made."""
    name: str
    """What the user called them."""
    alias: str = ""
    """Further name of the largest of them."""


class Forms:
    """Bytes of forms that are being received: much of them is in memory until they are whole."""

    def __init__(self) -> None:
        self._bytes = 0

    @contextmanager
    def receiving(self, size: int, most: int) -> Iterator[Callable[[int], None]]:
        """Receive one of so many bytes, or of more: what is given counts them as they come.

        Raises:
            ServiceError: If others take up too much already.
        """
        own = 0

        def count(size: int) -> None:
            nonlocal own
            if self._bytes > own and self._bytes + size > most:
                refusal = Refusal("Too much is being uploaded at once", remedy="Try again in a few seconds.")
                raise ServiceError(429, refusal, retry_after=5)
            self._bytes += size
            own += size

        try:
            count(size)
            yield count
        finally:
            self._bytes -= own


@dataclass(frozen=True)
class Service:
    """What all routes share."""

    settings: ServeSettings
    store: UploadStore
    pool: WorkerPool
    knowledge: Knowledge
    metrics: Metrics
    forms: Forms = field(default_factory=Forms)

    async def ask(self, handle: str, kind: str, **wanted: object) -> dict[str, Any]:
        """Let the worker of an upload do something.

        Raises:
            ServiceError: If there is no such upload, or the job is refused or fails.
        """
        await run_in_threadpool(self.store.folder, handle)
        await run_in_threadpool(self.store.check_room)
        try:
            place = worker_of(handle, self.settings.workers)
            return await self.work(place, {"kind": kind, "upload": handle, **wanted})
        finally:
            await run_in_threadpool(self.store.measure, handle)

    async def work(self, place: int, job: Job) -> dict[str, Any]:
        """Let a worker do a job."""
        return await asyncio.wrap_future(self.pool.submit(place, job))

    async def keep(self, files: Sequence[UploadFile], alias: str = "") -> Arrived:
        """Write the files of a form into the store; `take_in` goes on from there, when the form is closed.

        Args:
            files: Parts of a form.
            alias: Further name of the largest.

        Raises:
            ServiceError: If there are none, or there is no room.
        """
        if not files:
            refusal = Refusal("No file was sent", "files", "one file or more in the form field files")
            raise ServiceError(422, refusal)
        incoming = await run_in_threadpool(self.store.receive, sum(each.size or 0 for each in files))
        try:
            paths = await run_in_threadpool(_save, files, incoming)
        except BaseException:
            await run_in_threadpool(self.store.discard, incoming)
            raise
        return Arrived(incoming, alias or shown_name(paths), alias)

    async def take_in(self, arrived: Arrived) -> list[Upload]:
        """Let a worker make uploads of what arrived, whose folder is removed.

        Raises:
            ServiceError: If it cannot be read.
        """
        job = {
            "kind": "take_in",
            "incoming": str(arrived.folder),
            "name": arrived.name,
            "alias": arrived.alias,
            "store_bytes": self.store.most_bytes,
        }
        try:
            made = await self.work(self.pool.least_busy(), job)
            for each in made["uploads"]:
                await run_in_threadpool(self.store.measure, each)
        finally:
            await run_in_threadpool(self.store.discard, arrived.folder)
        return [await run_in_threadpool(self.store.read, each) for each in made["uploads"]]

    async def remove(self, handle: str) -> None:
        """Delete an upload with all its results, and what its worker holds of it.

        Raises:
            ServiceError: If there is none.
        """
        await run_in_threadpool(self.store.remove, handle)
        self.forget([handle])

    def forget(self, handles: Sequence[str]) -> None:
        """Let workers go of what was deleted; one whose queue is full does so after its next job anyway."""
        for place in {worker_of(each, self.settings.workers) for each in handles}:
            with suppress(ServiceError):
                self.pool.submit(place, {"kind": "forget"})

    def check_queues(self) -> None:
        """Refuse what could not be queued, before it is received.

        Raises:
            ServiceError: If all queues are full.
        """
        if self.pool.waiting >= self.settings.limits.queue * self.settings.workers:
            raise ServiceError(429, Refusal("The queue is full", remedy="Try again in a few seconds."), retry_after=5)


def _save(files: Sequence[UploadFile], folder: Path) -> list[str]:
    """Write files to the source of a folder, and beside it what users call them, which is returned."""
    places, shown = Places(), {}
    for each in files:
        place = places.find(each.filename or "")
        shown[str(place)] = shown_path(each.filename or "")
        (folder / SOURCE / place).parent.mkdir(parents=True, exist_ok=True)
        save(each.file, folder / SOURCE / place)
    write_json(folder / NAMES, shown)
    return [*shown.values()]


def save(source: BinaryIO, path: Path) -> None:
    """Write a file of a form to disk, where there is none of the name."""
    with path.open("xb") as file:
        shutil.copyfileobj(source, file, PIECE)


def removing(folder: Path) -> BackgroundTask:
    """What removes a folder of `UploadStore.scratch` when its files are sent."""
    return BackgroundTask(shutil.rmtree, folder, ignore_errors=True)


def send_file(
    path: Path, tidy: BackgroundTask | None = None, media_type: str | None = None, *, inline: bool = False
) -> FileResponse:
    """Send a file, and do something afterwards.

    Raises:
        FileNotFoundError: If it was deleted in the meantime.
    """
    return FileResponse(
        path,
        filename=path.name,
        media_type=media_type,
        background=tidy,
        stat_result=os.stat(path),
        content_disposition_type="inline" if inline else "attachment",
    )


@asynccontextmanager
async def reading_form(
    service: Service, request: Request, field: str = "files"
) -> AsyncIterator[tuple[list[UploadFile], dict[str, str]]]:
    """The files of one field of a form, and its texts; temporary files are removed at the end.

    Raises:
        ServiceError: If it is no such form, has too many parts, or there is no room for it.
    """
    largest = service.settings.limits.upload_megabytes * BYTES_PER_MEGABYTE
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() else 0
    service.check_queues()
    with service.forms.receiving(size, FORMS_AT_ONCE * largest) as count:
        await run_in_threadpool(service.store.check_room, size)
        counted = request if size else _counting(request, count)
        try:
            form = await counted.form(max_files=FRAMES.value, max_fields=16)
        except HTTPException as error:
            refusal = Refusal("The form cannot be read", "body", "multipart/form-data", str(error.detail)[:200])
            raise ServiceError(400, refusal) from error
        except OSError as error:
            raise _too_much(error) from error
        try:
            files = [value for name, value in form.multi_items() if name == field and isinstance(value, UploadFile)]
            yield files, {name: value for name, value in form.items() if isinstance(value, str)}
        finally:
            await form.close()


def _counting(request: Request, count: Callable[[int], None]) -> Request:
    """A request that does not say how long it is; its bytes are counted as they come."""

    async def receive() -> MutableMapping[str, Any]:
        message = await request.receive()
        count(len(message.get("body", b"")))
        return message

    return Request(request.scope, receive)


def _too_much(error: OSError) -> ServiceError:
    """The answer where the machine cannot hold the parts of a form."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        refusal = Refusal("The form has more files than this machine opens at once", "body", remedy="Send a zip file.")
        return ServiceError(413, refusal)
    return no_room() if error.errno in (errno.ENOSPC, errno.EDQUOT) else fault(error)
