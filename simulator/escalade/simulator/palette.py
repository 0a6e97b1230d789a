"""Colours and dashes that every figure shares; knows no plotting library.

Colours are those of Okabe and Ito (2008), told apart under every common colour blindness;
a line's meaning never rests on colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Blue, vermillion, bluish green, reddish purple, orange, sky blue; and the wine of Tol's
#: "muted" scheme, for black would be lost on a dark page.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
GREY = "#808080"


def coloured(names: Iterable[str]) -> list[tuple[str, str]]:
    """Each name with its colour; after seven they come round again."""
    return [(name, COLOURS[k % len(COLOURS)]) for k, name in enumerate(names)]
