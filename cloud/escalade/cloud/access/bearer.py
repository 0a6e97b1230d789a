"""The token in a request's metadata (RFC 6750, section 2.1); knows no token."""

from __future__ import annotations

import re
from collections.abc import Iterable

from escalade.cloud.errors import UnauthenticatedError

_HEADER = "authorization"
# A scheme in any case (RFC 9110, section 11.1), one space, and the characters of `b64token`. Ours
# have 47; whoever sends more than this means something else.
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] ([A-Za-z0-9._~+/-]{1,512}=*)", re.ASCII)


def bearer_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The one token of a request.

    Args:
        metadata: keys in lower case, as HTTP/2 has them.

    Raises:
        UnauthenticatedError: there is none, there are several, or it is malformed. The message
            quotes nothing of it.
    """
    values = [value for key, value in metadata if key == _HEADER]
    if not values:
        raise UnauthenticatedError(
            "authorization: missing; send `authorization: Bearer TOKEN` (`--token-file`)"
        )
    if len(values) > 1:
        raise UnauthenticatedError(f"authorization: must be sent once, got {len(values)} headers")
    value = values[0]
    found = _BEARER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UnauthenticatedError("authorization: must be `Bearer TOKEN`, got something else")
    return found[1]
