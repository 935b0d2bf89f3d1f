"""Pages and views in HTML: one way to make them, from templates in which every value is escaped.

A value is shown on one line and cannot turn the text around it; the filter `lines` keeps its line breaks. What a
template's macro returns is HTML already, and nothing else is: no caller passes HTML in.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from lyftlearn._text.display import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **values: object) -> str:
    """Return a template of this package, filled in."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - only who makes a page pays for it

    environment = Environment(
        loader=PackageLoader(__name__),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_visible,
    )
    environment.filters["lines"] = _lines
    environment.globals["style"] = _style
    return environment


def _visible(value: object) -> object:
    return value if hasattr(value, "__html__") else printable(str(value))


def _lines(text: str) -> Markup:
    from markupsafe import escape  # noqa: PLC0415 - as above

    return escape("\n".join(printable(line) for line in text.splitlines()))


def _style(name: str) -> Markup:
    """Return a style sheet of this package, to stand in a page."""
    from importlib.resources import files  # noqa: PLC0415 - as above

    from markupsafe import Markup  # noqa: PLC0415 - as above

    return Markup(files(__name__).joinpath("templates", name).read_text(encoding="utf-8"))  # noqa: S704 - a file of ours
