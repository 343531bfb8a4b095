"""HTML pages that need nothing but themselves, from Jinja2 templates that share one style (``base.html``).

Whatever a template prints is escaped, and characters that would be obeyed or hidden become visible.
"""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vesalius.console import to_terminal


def render_page(template: str, **values: object) -> str:
    """Fill a template.

    Args:
        template: Its place in the package, such as "data/check/page.html".
        values: What it prints. Only ``Markup`` is taken as HTML.

    Returns:
        The whole page.

    Raises:
        jinja2.UndefinedError: If the template prints what it was not given.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("vesalius", ""),
        autoescape=True,
        finalize=_make_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _make_visible(value: object) -> object:
    """None as a dash; no control characters in text that is not ours."""
    if isinstance(value, Markup):
        return value
    return "–" if value is None else to_terminal(value)
