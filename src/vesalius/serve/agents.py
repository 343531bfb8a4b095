"""Three tools for agents over the Model Context Protocol, on stdin and stdout: models, segment and name.

Agents see files in the folders that the command line names and nowhere else; results go there and replace nothing.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from vesalius import __version__
from vesalius.errors import ConfigError, ImageNotice, VesaliusError, join_first
from vesalius.files import to_plain
from vesalius.imaging.formats import visible_files
from vesalius.imaging.header import sidecar_path
from vesalius.imaging.search import FoundSeries, find_series
from vesalius.predict import Predictor
from vesalius.prompts.user_prompts import check_distinct
from vesalius.results import Results, answer_all
from vesalius.serve.settings import MOST_PHRASES

if TYPE_CHECKING:
    from vesalius.naming import AnatomyLabeller


class AgentTools:
    """What agents may ask.

    Args:
        folders: Folders they may read and write in.
        model: A model's name, or a checkpoint.

    Raises:
        ConfigError: If there is no folder, or one does not exist.
    """

    def __init__(self, folders: Sequence[Path], model: str) -> None:
        if not folders or not all(each.is_dir() for each in folders):
            raise ConfigError("--folder: expected one or more folders that agents may read and write in.")
        self.folders = [each.resolve() for each in folders]
        self.model, self.predictor = model, Predictor(model)

    def models(self) -> dict[str, Any]:
        """Name the model and what it learnt to outline, with the kinds of pictures it learnt that on."""
        targets = [{"target": each.phrase, "learnt_on": each.learnt_on} for each in self.predictor.knowledge.targets]
        return {"model": self.model, "targets": targets, "remark": "For research, not for diagnosis."}

    def segment(self, image: str, phrases: list[str], out: str) -> dict[str, Any]:
        """Outline phrases in a picture, DICOM file or series, or NIfTI volume, and write masks into the folder out."""
        check_distinct(phrases)
        if len(phrases) > MOST_PHRASES:
            raise ConfigError(f"phrases: expected {MOST_PHRASES} at most, got {len(phrases)}.")
        target, (found, others) = self.allowed(out), self.found(image)
        picture = found.read_largest()
        slices = picture.slices()
        understood = self.predictor.understand(slices, phrases)
        asked = [each.prompt for each in understood if each.asked is not None]
        results = Results(target, picture, slices, asked, made_by={"model": self.model})
        told = [each.to_dict() for each in answer_all(self.predictor, understood, results)]
        notices = [*others, *map(str, (*picture.notices, *results.notices))]
        return _plain({"image": image, "results": told, "notices": notices})

    def name(self, path: str) -> dict[str, Any]:
        """Say which modality, plane, body stations and organs a picture, series or volume shows."""
        found, others = self.found(path)
        names = self._labeller.label(found.read())
        told = {each: value for each, value in names.to_dict().items() if each != "slices"}
        return _plain(told | {"notices": [*others, *map(str, names.notices)]})

    @cached_property
    def _labeller(self) -> "AnatomyLabeller":
        from vesalius.naming.labeller import labeller_beside

        return labeller_beside(self.predictor, self.model)

    def found(self, path: str) -> tuple[FoundSeries, list[str]]:
        """The first series of a file or folder, and a notice of others.

        Raises:
            ConfigError: If it lies elsewhere, or links to files that do.
            ImageError: If it holds no image.
        """
        place = self.allowed(path)
        for each in visible_files(place) if place.is_dir() else (place, sidecar_path(place)):
            self.allowed(str(each))
        first, *others = find_series(place)
        if not others:
            return first, []
        names = join_first([str((each.files or (each.source,))[0].relative_to(place)) for each in others])
        taken = (first.files or (first.source,))[0].relative_to(place)
        notice = (
            f"{len(others)} of {len(others) + 1} series left out: {names}. Only that of {taken} was read; name others."
        )
        return first, [notice]

    def allowed(self, path: str) -> Path:
        """A path within the folders, links followed.

        Raises:
            ConfigError: If it lies elsewhere.
        """
        with suppress(OSError, ValueError):  # no path at all
            place = (self.folders[0] / path).resolve()
            place.exists()  # an error for names that are too long
            if any(place.is_relative_to(each) for each in self.folders):
                return place
        raise ConfigError(f"{path[:200]}: lies outside the folders that agents may use.")


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    """The same in JSON's own types."""
    plain = to_plain(content)
    assert isinstance(plain, dict)
    return plain


@contextmanager
def telling() -> Iterator[None]:
    """Tell an agent what it can put right; what an image left out stands in the answer, not among warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImageNotice)
        try:
            yield
        except VesaliusError as error:
            raise ToolError(str(error)) from error


def make_server(tools: AgentTools) -> MCPServer:
    """A server of the tools, which tells errors in words."""
    server = MCPServer("vesalius", version=__version__)

    @server.tool(description=tools.models.__doc__)
    def models() -> dict[str, Any]:
        return tools.models()

    @server.tool(description=tools.segment.__doc__)
    def segment(image: str, phrases: list[str], out: str) -> dict[str, Any]:
        with telling():
            return tools.segment(image, phrases, out)

    @server.tool(description=tools.name.__doc__)
    def name(path: str) -> dict[str, Any]:
        with telling():
            return tools.name(path)

    return server
