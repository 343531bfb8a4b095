import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from vesalius import pages


@pytest.fixture
def render(monkeypatch):
    """Renders a template given as text."""
    environment = pages._environment().overlay()

    def render_text(template: str, **values: object) -> str:
        return environment.from_string(template).render(values)

    return render_text


def test_what_is_printed_is_escaped_and_visible(render):
    assert render("{{ text }}", text="<b>\x1b[31m") == "&lt;b&gt;\\x1b[31m"


def test_markup_is_kept_and_none_is_a_dash(render):
    assert render("{{ mark }}{{ nothing }}", mark=Markup("<b>"), nothing=None) == "<b>–"


def test_what_a_template_lacks_is_an_error(render):
    with pytest.raises(UndefinedError, match="absent"):
        render("{{ absent }}")


def test_the_shared_style_is_a_page_of_its_own():
    assert pages.render_page("base.html").startswith("<!doctype html>")
