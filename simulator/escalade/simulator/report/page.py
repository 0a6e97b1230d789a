"""The page that reports share: templates and inlined scripts; knows no result.

Templates (jinja2) escape whatever they are given, but for what is drawn here. Backgrounds are
transparent and texts take the page's colour, so that a figure reads on light and on dark. The
page refers to nothing outside itself.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from escalade.edge.base import atomic_write


def write_page(path: Path, template: str, values: dict[str, object]) -> None:
    """Write a page aside and rename it; the same values give the same page.

    Args:
        path: the page.
        template: its file in `templates/`.
        values: what the template names.

    Raises:
        DataError: the page cannot be written.
    """
    source = _environment().get_template(template).render(**values)
    with atomic_write(path) as stream:
        stream.write(source.encode())


def script(file: str) -> Markup:
    """A script of our own, in `templates/`."""
    source = files("escalade.simulator.report") / "templates" / file
    return Markup(source.read_text("utf-8"))  # noqa: S704 - our own


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("escalade.simulator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"script": script}
    return environment
