"""A figure as SVG inside a page; knows no page."""

from __future__ import annotations

import io
import re
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from escalade.simulator.paper.drawing import STYLE
from escalade.simulator.paper.glyphs import no_warning_of_glyphs

_POINTS = 72
#: What an SVG names itself by, and where it names it again.
_IDS = re.compile(r'(\bid="|url\(#|href="#)')


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an `svg` element that takes its width from the page.

    Texts are texts, in the page's font. The first axes' corner and limits stand in `data-box`
    (left, top, right, bottom in the SVG's units), `data-x` and `data-y` (first, last, and `log` or
    `linear`), so that what moves can be drawn there.

    Args:
        figure: as it would be saved.
        name: of the element; every id inside begins with it.
        label: what a screen reader says of it.
    """
    buffer = io.StringIO()
    # The reader's browser draws the texts, and has fonts for scripts that matplotlib's lacks.
    with rc_context({**STYLE, "svg.fonttype": "none"}), no_warning_of_glyphs():
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    source = buffer.getvalue()
    body = source[source.index(">", source.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = _IDS.sub(rf"\g<1>{name}-", body)
    width, height = (_POINTS * size for size in figure.get_size_inches().tolist())
    axes = figure.axes[0]
    low, high = axes.get_position().get_points().tolist()
    box = (low[0] * width, (1 - high[1]) * height, high[0] * width, (1 - low[1]) * height)
    data = {
        "box": " ".join(f"{value:.3f}" for value in box),
        "x": _limits(axes.get_xlim(), axes.get_xscale()),
        "y": _limits(axes.get_ylim(), axes.get_yscale()),
    }
    attributes = " ".join(f'data-{key}="{value}"' for key, value in data.items())
    return (
        f'<svg id="{name}" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-label="{escape(label)}" {attributes}>{body}'
    )


def _limits(ends: tuple[float, float], scale: str) -> str:
    return f"{ends[0]:.9g} {ends[1]:.9g} {scale}"
