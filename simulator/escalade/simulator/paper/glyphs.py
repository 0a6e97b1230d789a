"""Letters that the figures' font lacks: names may be in any script; draws nothing."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from unicodedata import category

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

#: Comes with matplotlib.
FONT = "DejaVu Sans"
_SHOWN = 3
# Controls, numbers that no character has, and halves of characters.
_NO_TEXT = {"Cc", "Cn", "Cs"}
_LOG = logging.getLogger(__name__)


def lacking(figure: Figure) -> str:
    """The letters of a figure's texts that its font lacks, each once, in order."""
    letters = {
        letter for text in figure.findobj(Text) for letter in text.get_text() if letter != "\n"
    }
    return "".join(sorted(one for one in letters if ord(one) not in _letters()))


def replace_no_text(figure: Figure) -> None:
    """Put U+FFFD for what no XML file may hold: an SVG has each text, as a comment at least."""
    for text in figure.findobj(Text):
        said = text.get_text()
        clean = "".join(
            "\ufffd" if category(one) in _NO_TEXT and one != "\n" else one for one in said
        )
        if clean != said:
            text.set_text(clean)


@contextmanager
def no_warning_of_glyphs() -> Iterator[None]:
    """Have matplotlib draw boxes and say nothing: it would say a line for each letter and file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


@cache
def say_lacking(letters: str) -> None:
    """Say once what becomes of letters that the font lacks."""
    codes = ", ".join(f"U+{ord(one):04X}" for one in letters[:_SHOWN])
    _LOG.warning(
        "figures: %s has no letter for %s%s; a PNG has a box there, an SVG the text, which its"
        " viewer draws",
        FONT,
        codes,
        f" and {len(letters) - _SHOWN} more" if len(letters) > _SHOWN else "",
    )


@cache
def _letters() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap())
