"""Reads a page's origin, as a browser sends it and lists of allowed ones name it; knows no HTTP."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", re.ASCII)
_SHOWN = 200


def check_origin(text: str) -> None:
    """Return where a text is an origin: `*`, a path or an end in `/` would match none, or all.

    Raises:
        ValueError: it is none; gives form and value.
    """
    if not _ORIGIN.fullmatch(text):
        raise ValueError(
            "must be a page's scheme, host and port in lower case, as https://example.org or"
            f" http://127.0.0.1:8000, got {text[:_SHOWN]!r}"
        )
