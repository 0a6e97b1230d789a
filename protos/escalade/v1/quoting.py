"""Shows in one line what somebody else wrote; knows no message, no terminal."""

from __future__ import annotations

#: Characters of a name that are shown: more than a sha256 in hexadecimal.
MOST_QUOTED = 80
#: Characters of a whole message. gRPC carries a status in HTTP/2 headers, 8 KiB of them in all,
#: and ours carries its message up to three times.
MOST_SHOWN = 1000


def quoted(text: str, most: int = MOST_QUOTED) -> str:
    """A text in quotes, its beginning where it is long; what is not printable is escaped.

    Line ends, escape sequences of terminals and marks that turn the direction of writing are not
    printable (`str.isprintable`).
    """
    if len(text) <= most:
        return repr(text)
    return f"{text[:most]!r}... ({len(text)} characters)"


def one_line(text: str, most: int = MOST_SHOWN) -> str:
    """A message for a status or a log: one line, bounded, with nothing that is not printable."""
    # Cut first: what is thrown away is not worth cleaning.
    line = " ".join(text[: 4 * most].split())
    shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in line[:most])
    return shown if len(line) <= most and len(text) <= 4 * most else f"{shown[:most]}..."
