"""The HTML page that reports share: template, figures, one inlined plotly; knows no result.

Backgrounds are transparent and texts take the page's colour, so that a figure reads on
light and on dark. The page refers to nothing outside itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from string import Template

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from escalade.edge.base import atomic_write
from escalade.simulator.palette import GREY


def page(title: str, lede: str, sections: Iterable[tuple[str, str]]) -> str:
    """A whole page; the same parts give the same page.

    Args:
        title: escaped.
        lede: HTML under the title.
        sections: `(heading, HTML)`; those without content are left out.
    """
    template = (
        resources.files("escalade.simulator.report").joinpath("report.html").read_text("utf-8")
    )
    return Template(template).substitute(
        title=title,
        plotly=f"<script>{get_plotlyjs()}</script>",
        body="\n".join(
            [lede, *(f"<h2>{heading}</h2>\n{content}" for heading, content in sections if content)]
        ),
    )


def write_html(path: Path, source: str) -> None:
    """Write a page aside and rename it."""
    with atomic_write(path) as stream:
        stream.write(source.encode())


def figure_html(name: str, title: str, figure: go.Figure, caption: str = "") -> str:
    """A figure with its title and caption; `name` is its id on the page."""
    drawn = plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        default_height=f"{figure.layout.height}px",
        config={"responsive": True, "displayModeBar": False},
    )
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure><h3>{title}</h3>{drawn}{below}</figure>"


def empty_figure(x_title: str, y_title: str, *, height: int) -> go.Figure:
    """Axes and nothing on them; transparent, its texts in the page's colour."""
    axis = {
        "gridcolor": "rgba(128,128,128,0.22)",
        "linecolor": GREY,
        "showline": False,
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }
    figure = go.Figure()
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": GREY},
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        hovermode="closest",
        xaxis={**axis, "title": {"text": x_title, "standoff": 8, "font": {"size": 13}}},
        yaxis={**axis, "title": {"text": y_title, "standoff": 8, "font": {"size": 13}}},
    )
    return figure
