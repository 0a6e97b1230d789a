"""Options of verbs that serve others; knows no server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escalade.cloud.web import WebOptions

ListenOption = Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 takes a free one.")]
QueueOption = Annotated[
    int,
    typer.Option("--queue", min=1, help="Requests of one client that may wait."),
]
GraceOption = Annotated[
    float, typer.Option("--grace-s", min=0.0, help="Seconds a stop waits for open requests.")
]
TlsCertOption = Annotated[
    Path | None,
    typer.Option("--tls-cert", help="The server's certificates (PEM); needed off loopback."),
]
TlsKeyOption = Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")]
ClientCaOption = Annotated[
    Path | None,
    typer.Option("--client-ca", help="Roots (PEM) of the certificates that clients must show."),
]
TokensOption = Annotated[
    Path | None,
    typer.Option("--tokens", help="Who may ask: a file of `escalade token`; default: everybody."),
]
_MOST_COUNT = 1 << 53  # escalade.cloud.access.tokens.Count
RequestsPerMinuteOption = Annotated[
    int | None,
    typer.Option(
        "--requests-per-minute",
        min=1,
        max=_MOST_COUNT,
        help="Requests a minute of each client; default: no limit.",
    ),
]
TokensPerDayOption = Annotated[
    int | None,
    typer.Option(
        "--tokens-per-day",
        min=1,
        max=_MOST_COUNT,
        help="Tokens of the model a day, read and written, of each client; default: no limit.",
    ),
]
QuotaFileOption = Annotated[
    Path | None,
    typer.Option(
        "--quota-file",
        help="Where it is kept over a restart how many tokens of their day clients have used up.",
    ),
]
WebOption = Annotated[
    str | None,
    typer.Option(
        "--web",
        metavar="HOST:PORT",
        help="Serve browsers too, over gRPC-Web; port 0 takes a free one. TLS as above.",
    ),
]
AllowOriginOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="With --web: a page that may ask, as https://example.org; may be given again.",
    ),
]


def web_options(listen: str | None, origins: Sequence[str] | None) -> WebOptions | None:
    """A port for browsers; None where nobody asks for one.

    Raises:
        BadParameter: origins are named, and there is no port.
        ListenError: an origin is none.
    """
    from escalade.cloud.web import WebOptions

    if listen is None:
        if origins:
            raise typer.BadParameter("--allow-origin goes with --web HOST:PORT, which is missing")
        return None
    return WebOptions(listen=listen, origins=tuple(origins or ()))
