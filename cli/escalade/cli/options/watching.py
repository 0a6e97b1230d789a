"""How a server of this command line is watched, and how it speaks meanwhile; knows no server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escalade.cloud.watching import WatchOptions


class LogChoice(StrEnum):
    """How a server logs."""

    pretty = "pretty"
    json = "json"


MetricsOption = Annotated[
    str | None,
    typer.Option("--metrics", help="HOST:PORT where Prometheus reads metrics; TLS off loopback."),
]
OtlpOption = Annotated[
    str | None,
    typer.Option("--otlp", help="HOST:PORT of an OpenTelemetry collector that takes traces."),
]
LogOption = Annotated[
    LogChoice, typer.Option("--log", help="json: one line of JSON a request on stderr.")
]
LogTextOption = Annotated[
    bool, typer.Option("--log-text", help="Prompts and answers too, with --log json.")
]


@dataclass(frozen=True, slots=True)
class Notes:
    """What a server says to its operator."""

    #: What is of use once.
    say: Callable[[str], None]
    #: What is of use while it runs.
    tell: Callable[[str], None]
    options: WatchOptions


@contextmanager
def watched(
    metrics: str | None, otlp: str | None, log: LogChoice, *, log_text: bool
) -> Iterator[Notes]:
    """Log as asked while the block runs.

    Raises:
        BadParameter: texts are to stand in a log that is not kept.
    """
    from escalade.cloud.watching import WatchOptions, json_lines

    as_json = log is LogChoice.json
    if log_text and not as_json:
        raise typer.BadParameter("--log-text needs --log json")

    def options(say: Callable[[str], None]) -> WatchOptions:
        return WatchOptions(
            metrics=metrics, otlp=otlp, log_requests=as_json, log_text=log_text, say=say
        )

    if not as_json:
        from functools import partial

        from escalade.cli.output import note_console

        console = note_console()
        dim = partial(console.print, style="dim")
        yield Notes(dim, console.print, options(console.print))
        return
    import logging
    import os

    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries are no lines
    with json_lines():
        info = logging.getLogger(__name__).info
        yield Notes(info, info, options(info))
