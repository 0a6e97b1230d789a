"""Who may ask: whoever has the token, or without one this machine alone; knows no route."""

from __future__ import annotations

import hmac

from starlette.types import Scope

from escalade.edge.errors import RefusedError
from escalade.v1.address import is_loopback

_SCHEME = b"bearer "


def check_access(scope: Scope, token: str | None) -> None:
    """Return where a request may be answered.

    Without a token only names of this machine are taken in `Host`: a page of another site whose
    name was made to lead here (DNS rebinding) has another.

    Raises:
        RefusedError: it may not.
    """
    headers = dict(scope["headers"])
    if token is None:
        host = headers.get(b"host", b"").decode("ascii", "replace")
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if not is_loopback(name.removeprefix("[").removesuffix("]")):
            raise RefusedError(
                403,
                "unknown_host",
                "without a token an endpoint is asked as localhost, 127.0.0.1 or [::1] alone, got"
                f" the host {host[:80]!r}",
            )
        return
    shown = headers.get(b"authorization", b"")
    given = shown[len(_SCHEME) :].strip() if shown[: len(_SCHEME)].lower() == _SCHEME else b""
    if not hmac.compare_digest(given, token.encode()):
        message = "Incorrect API key provided." if given else "You didn't provide an API key."
        raise RefusedError(401, "invalid_api_key", message)
