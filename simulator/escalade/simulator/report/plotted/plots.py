"""Figures on a page, drawn with plotly; knows no result."""

from __future__ import annotations

from typing import NamedTuple

import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup

from escalade.simulator.palette import GREY


class Drawn(NamedTuple):
    """A figure on a page."""

    title: str
    figure: Markup
    caption: str = ""


def drawn(name: str, title: str, figure: go.Figure, caption: str = "") -> Drawn:
    """A figure with its title and caption; `name` is its id on the page."""
    source = plotly.io.to_html(
        figure,
        full_html=False,
        include_plotlyjs=False,
        div_id=name,
        default_height=f"{figure.layout.height}px",
        config={"responsive": True, "displayModeBar": False},
    )
    return Drawn(title, Markup(source), caption)  # noqa: S704 - names in figures come escaped


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
