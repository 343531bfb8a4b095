"""HTML pages without scripts or network, from Jinja2 templates that share one style (``base.html``).

Whatever a template prints is escaped, and characters that a browser would obey or hide become visible. The filter
``link`` makes a relative path the target of a link.
"""

from base64 import b64encode
from functools import cache
from io import BytesIO

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from vesalius.console import to_link, to_terminal


def render_page(template: str, **values: object) -> str:
    """Fill a template.

    Args:
        template: Path of the template in the package, such as "data/check/page.html".
        values: Values that it prints. Only ``Markup`` is taken as HTML.

    Returns:
        The whole page.

    Raises:
        jinja2.UndefinedError: If the template prints a value that is not given.
    """
    return _environment().get_template(template).render(values)


def jpeg_address(levels: NDArray[np.uint8], quality: int) -> Markup:
    """A picture as the address of an image within the page.

    Args:
        levels: [H, W] or [H, W, 3], 0–255.
        quality: JPEG quality, 1 to 95.
    """
    file = BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality)
    return Markup("data:image/jpeg;base64," + b64encode(file.getvalue()).decode())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vesalius", ""),
        autoescape=True,
        finalize=_make_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["link"] = to_link
    return environment


def _make_visible(value: object) -> object:
    """None as a dash; no control characters in text from outside."""
    if isinstance(value, Markup):
        return value
    return "–" if value is None else to_terminal(value)
