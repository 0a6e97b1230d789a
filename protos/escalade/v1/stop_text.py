"""Where a stop text cuts a response, on the device as on a server; knows no token, no model."""

from __future__ import annotations

from collections.abc import Sequence

#: Stop texts of one query. The OpenAI API takes 4, vLLM any number; each is searched for after
#: every token.
MAX_STOP_TEXTS = 16
#: Bytes of one in UTF-8. Where a text may yet become one, so much of it is held back.
MAX_STOP_BYTES = 1 << 10


def find_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the stop text begins that a reader has seen whole first; None: there is none.

    Of two that end at the same place, the longer. So the cut does not depend on how tokens
    divide the text: each further token only adds to its end.

    Args:
        text: the response, or what of it has not been shown yet.
        stops: texts of at least 1 character.
    """
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    return min(found)[1] if found else None


def held_back(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of a text may yet become a stop text.

    They are not to be shown before more of the response is known, or it has ended.

    Args:
        text: without a whole stop text in it.
        stops: texts of at least 1 character.
    """
    longest = max(map(len, stops), default=0)
    for length in range(min(len(text), longest - 1), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
