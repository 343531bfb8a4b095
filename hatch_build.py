"""Says so when a wheel is built without the page of `vesalius serve`, which `make web` bundles."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = "src/vesalius/serve/web/index.html"


class PageHook(BuildHookInterface):
    """Looks for the page before a wheel is built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Warn where the page is missing; installing from a checkout in place (``pip install -e``) is no wheel."""
        if version == "standard" and not (Path(self.root) / PAGE).is_file():
            self.app.display_warning(
                f"This wheel has no page for `vesalius serve`: {PAGE} is missing. Run `make web` first to carry it."
            )
