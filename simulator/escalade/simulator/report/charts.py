"""Figures on a page as SVG, each with its tables and its numbers; knows no result.

A page of these needs no library: its scripts are named in its policy, and no other may run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec
from markupsafe import Markup
from matplotlib.figure import Figure

from escalade.simulator.formats import TextTable
from escalade.simulator.frames import Frame, csv_of
from escalade.simulator.paper import inline_svg
from escalade.simulator.report.page import script


class Chart(NamedTuple):
    """A figure, the tables behind it by their ids, and its numbers as a link."""

    name: str
    title: str
    svg: Markup
    caption: str
    tables: Mapping[str, TextTable]
    csv: str


def chart(
    name: str,
    title: str,
    figure: Figure,
    caption: str,
    tables: Mapping[str, TextTable],
    numbers: Frame,
) -> Chart:
    """A figure; `name` is its id on the page, and its file's name."""
    label = f"{title}. Its numbers are in the table below."
    svg = Markup(inline_svg(figure, name, label))  # noqa: S704 - matplotlib escapes names
    return Chart(name, title, svg, caption, tables, csv_link(numbers))


def csv_link(numbers: Frame) -> str:
    """Where a browser finds a table without a network and without a script."""
    return f"data:text/csv;charset=utf-8,{quote(csv_of(numbers))}"


def policy(*scripts: str) -> str:
    """A Content-Security-Policy: these files of `templates/` run, no other, nothing is loaded."""
    digests = [hashlib.sha256(script(file).encode()).digest() for file in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}"


def as_json(value: object) -> Markup:
    """JSON for a script element, which no text inside can end."""
    source = msgspec.json.encode(value).decode().replace("<", r"\u003c")
    return Markup(source)  # noqa: S704 - no tag is left
