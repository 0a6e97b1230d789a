"""`escalade listen`: a cascade behind OpenAI's HTTP, for applications; knows no model."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import (
    CascadeArgument,
    CloudOption,
    DeadlineOption,
    EarlyChoice,
    EarlyOption,
    GraceOption,
    MaxMemoryOption,
    OnOutageOption,
    OutboxOption,
    ThreadsOption,
    ThresholdOption,
    TraceOption,
    TrustedKeyOption,
)


class StreamChoice(Enum):
    """How streaming and deferral go together."""

    hold = "hold"
    replace = "replace"
    early = "early"


def listen(
    cascade: CascadeArgument,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; off loopback with a token and TLS.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="File with the token that clients must send as API key."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="The endpoint's certificates (PEM).")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Its private key (PEM).")
    ] = None,
    stream: Annotated[
        StreamChoice,
        typer.Option(
            "--stream",
            help="hold: nothing before it is decided who answers; replace: the draft, and an event"
            " that takes it back; early: the same, and a draft ends once it is certain not to"
            " stand. A request may say otherwise.",
        ),
    ] = StreamChoice.hold,
    model: Annotated[
        str | None,
        typer.Option("--model", help="What requests call the cascade; default: its file's name."),
    ] = None,
    queue: Annotated[
        int,
        typer.Option("--queue", min=1, max=512, help="Answers under way, those that wait too."),
    ] = 64,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            help="Pages in a browser that may ask, e.g. https://chat.example; may be given again.",
        ),
    ] = None,
    grace_s: GraceOption = 30.0,
    cloud: CloudOption = None,
    threshold: ThresholdOption = None,
    deadline_s: DeadlineOption = None,
    early: EarlyOption = EarlyChoice.off,
    trace: TraceOption = None,
    on_outage: OnOutageOption = None,
    outbox: OutboxOption = None,
    threads: ThreadsOption = 0,
    max_memory: MaxMemoryOption = None,
    trusted_key: TrustedKeyOption = None,
) -> None:
    """Answer OpenAI's HTTP on this device until SIGTERM or Ctrl-C, then drain.

    Any client of OpenAI's API can ask: give it the base URL that is printed, and the model's name.
    """
    import time
    from dataclasses import replace

    from escalade.cli.destinations import check_destinations
    from escalade.cli.options import open_options
    from escalade.cli.output import note_console
    from escalade.edge.endpoint import EndpointOptions, Listening, open_served_cascade, run_endpoint
    from escalade.edge.policy import SYSTEM_PROVIDERS
    from escalade.edge.wire import read_token
    from escalade.v1.address import Address

    check_destinations({"--trace": trace, "--outbox": outbox})
    console = note_console()
    opening = open_options(
        threshold=threshold,
        deadline_s=deadline_s,
        early=early,
        threads=threads,
        max_memory=max_memory,
        trusted_key=trusted_key,
        on_outage=on_outage,
        outbox=outbox,
    )
    # Whoever asks is asked; nobody at its terminal speaks for him.
    opening = replace(opening, policy=SYSTEM_PROVIDERS)
    options = EndpointOptions(
        stream=stream.value,
        token=None if token_file is None else read_token(token_file),
        queue=queue,
        origins=tuple(allow_origin or ()),
    )
    listening = Listening(
        address=Address(host, port), tls_cert=tls_cert, tls_key=tls_key, grace_s=grace_s
    )
    with open_served_cascade(
        cascade,
        opening,
        cloud=cloud,
        trace=trace,
        name=model,
        now_s=time.monotonic,
    ) as served:
        run_endpoint(
            served,
            options,
            listening,
            on_ready=lambda url: console.print(f"serving {served.name} on {url}"),
        )
    console.print("drained", style="dim")
