"""``vesalius serve``."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import Annotated

from vesalius.cli.usage import Flat
from vesalius.console import say
from vesalius.errors import ConfigError, require
from vesalius.serve.settings import TOKEN_VARIABLE, Limits, ServeSettings, default_store

OF_AGENTS = {"mcp", "model", "folder"}
"""Options that mean something with --mcp."""


def serve(
    *,
    host: str = ServeSettings.host,
    port: int = ServeSettings.port,
    model: str = ServeSettings.model,
    store: Path | None = None,
    workers: int = ServeSettings.workers,
    allow_host: tuple[str, ...] = ServeSettings.allowed_hosts,
    allow_origin: tuple[str, ...] = ServeSettings.allowed_origins,
    dicomweb: str | None = None,
    limits: Annotated[Limits, Flat] = Limits(),  # noqa: B008 - frozen
    mcp: bool = False,
    folder: tuple[Path, ...] = (),
) -> None:
    """Segment and name over HTTP, with a page for the browser, until it is stopped.

    It listens on this machine alone. To listen elsewhere, give callers a token in the environment variable
    VESALIUS_SERVE_TOKEN. Uploads are deleted an hour after the last request. For research, not for diagnosis.

    Examples:
        vesalius serve
        vesalius serve --port 8080 --keep-minutes 10
        vesalius serve --mcp --folder images

    Documentation:
        docs/serve.md

    Args:
        host: Address to listen on; any but this machine's own needs a token.
        port: TCP port; 0 takes a free one.
        model: A model's name, a checkpoint or a run's folder.
        store: Folder for uploads and results; by default in the user's cache.
        workers: Processes that work at once, each with a model of its own and an equal share of the cores.
        allow_host: Further name under which the service is reached, as behind a reverse proxy; may be repeated.
        allow_origin: Origin of another page that may ask it, such as http://localhost:3000; may be repeated.
        dicomweb: DICOMweb service from which OHIF's series are fetched; needs `vesalius[pacs]`.
        limits: How much it takes in.
        mcp: Offer three tools to an agent over the Model Context Protocol on stdin and stdout instead; needs
            `vesalius[mcp]`. Goes with --model and --folder alone.
        folder: With --mcp, a folder that the agent may read and write in; may be repeated.
    """
    if mcp:
        _refuse_unused(locals() | asdict(limits))
        require("mcp", extra="mcp")
        from vesalius.serve.agents import AgentTools, make_server

        make_server(AgentTools(folder, model)).run("stdio")
        return
    if folder:
        raise ConfigError("--folder: goes with --mcp; leave it out, or add that.")
    for module in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        require(module, extra="serve")
    if dicomweb is not None:
        require("dicomweb_client", extra="pacs")
        from vesalius.pacs.dicomweb import DicomWeb

        DicomWeb(dicomweb)  # refuses what is no address, before anybody asks
    from vesalius.serve.running import run

    settings = ServeSettings(
        store=store or default_store(),
        model=model,
        host=host,
        port=port,
        workers=workers,
        allowed_hosts=allow_host,
        allowed_origins=allow_origin,
        dicomweb=dicomweb or "",
        token=os.environ.get(TOKEN_VARIABLE, ""),
        limits=limits,
    )
    settings.check()
    with _logging():
        run(settings, lambda address: say(f"Vesalius serves on {address}; Ctrl-C stops it. Not for diagnosis."))
    say("Stopped.")


def _refuse_unused(given: Mapping[str, object]) -> None:
    """Refuse what changes nothing for agents.

    Raises:
        ConfigError: Naming all options that were set and are none of theirs.
    """
    defaults = {name: each.default for name, each in signature(serve).parameters.items()}
    defaults |= asdict(defaults.pop("limits"))
    unused = [name for name, default in defaults.items() if name not in OF_AGENTS and given[name] != default]
    if unused:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise ConfigError(f"{names}: of the service over HTTP, which --mcp does not start; leave out these, or --mcp.")


@contextmanager
def _logging() -> Iterator[None]:
    """Show the log of the service: a line a request, with nothing of what it is about; once, with --verbose, too."""
    log, handler = logging.getLogger("vesalius.serve"), _Lines()
    level, propagates = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())
