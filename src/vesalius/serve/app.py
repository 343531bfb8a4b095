"""The web application: the guard before all routes, errors in one form, health, metrics and the page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from vesalius import __version__
from vesalius.serve.downloads import make_downloads
from vesalius.serve.guards import LOG, Guard, extra_headers, log_fault
from vesalius.serve.monai_label import make_monai_label
from vesalius.serve.refusals import Refusal, ServiceError, deleted_meanwhile, where_of
from vesalius.serve.routes import make_router
from vesalius.serve.schemas import ErrorAnswer
from vesalius.serve.service import Service

PAGE = Path(__file__).parent / "web"
"""The page, where it is built."""
NO_PAGE = (
    "Vesalius serves here, but the page is not built: run `make web` in a checkout. "
    "The service itself works; /openapi.json describes it.\n"
)
TIDY_S = 60.0
"""Seconds between removals of what has expired."""
REFUSED = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}}}}
"""By reference to what `/readyz` describes: models for every code of every route would take most of the start."""
CODES = (400, 401, 403, 404, 408, 413, 421, 422, 429, 500, 503, 504)
ERRORS: dict[int | str, dict[str, Any]] = dict.fromkeys(CODES, REFUSED)
"""Refusals that any request may meet."""


def build_app(service: Service) -> FastAPI:
    """Put the service together.

    Args:
        service: What routes share; its store is opened and its workers are started by the caller.
    """
    settings = service.settings

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tidy = asyncio.create_task(_keep_tidy(service))
        yield
        tidy.cancel()
        with suppress(asyncio.CancelledError):
            await tidy

    app = FastAPI(
        title="Vesalius",
        version=__version__,
        description="Segment what a phrase names, and name what an image shows. For research, not for diagnosis.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    app.add_exception_handler(ServiceError, _tell)
    app.add_exception_handler(RequestValidationError, _tell_invalid)
    app.add_exception_handler(HTTPException, _tell_http)
    app.add_exception_handler(FileNotFoundError, partial(_tell_missing, service.store.uploads))
    for router in (make_router(service), make_downloads(service)):
        app.include_router(router, prefix="/api", responses=ERRORS)
    app.include_router(make_monai_label(service), responses=ERRORS)
    _add_health(app, service)
    if (PAGE / "index.html").is_file():
        app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    else:
        app.add_api_route("/", lambda: PlainTextResponse(NO_PAGE), include_in_schema=False)
    return app


async def _keep_tidy(service: Service) -> None:
    while True:
        await asyncio.sleep(TIDY_S)
        try:
            service.forget(await run_in_threadpool(service.store.remove_expired))
        except Exception as error:  # a folder that cannot be read today may be tomorrow
            LOG.error("expired uploads were not removed: %s", where_of(error))


def _add_health(app: FastAPI, service: Service) -> None:
    registry = service.metrics.registry
    Gauge("vesalius_jobs_waiting", "Jobs in queues", registry=registry).set_function(lambda: service.pool.waiting)
    Gauge("vesalius_uploads", "Uploads on disk", registry=registry).set_function(service.store.count)
    Gauge("vesalius_store_bytes", "Bytes of uploads", registry=registry).set_function(lambda: service.store.used_bytes)

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Whether the service runs."""
        return "ok\n"

    @app.get("/readyz", response_class=PlainTextResponse, responses={503: {"model": ErrorAnswer}})
    async def readyz() -> str:
        """Whether every worker has loaded its model."""
        if not service.pool.ready:
            raise ServiceError(503, Refusal("The model is being loaded, or the service is being stopped"), 1)
        return "ready\n"

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(await run_in_threadpool(generate_latest, registry), media_type=CONTENT_TYPE_LATEST)


async def _tell(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    log_fault(error)
    return JSONResponse(error.refusal.to_dict(), error.status, extra_headers(error))


async def _tell_missing(uploads: Path, request: Request, error: Exception) -> JSONResponse:
    """Say of a file of an upload that it was deleted; of other files it is a fault."""
    assert isinstance(error, FileNotFoundError)
    if not Path(str(error.filename)).is_relative_to(uploads):
        raise error
    return await _tell(request, deleted_meanwhile())


async def _tell_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(each) for each in first["loc"] if each != "body") or "body"
    got = first.get("input")
    shown = None if got is None or isinstance(got, dict | list) else str(got)[:100]
    refusal = Refusal("The request is not as described in /openapi.json", where, str(first["msg"]), shown)
    return JSONResponse(refusal.to_dict(), 422)


async def _tell_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    refusal = Refusal(
        str(error.detail), remedy="/openapi.json lists all addresses." if error.status_code == 404 else None
    )
    return JSONResponse(refusal.to_dict(), error.status_code, error.headers)
