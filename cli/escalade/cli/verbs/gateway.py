"""`escalade gateway`: a cascade behind gRPC, between devices and a cloud; knows no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import MaxMemoryOption, ThreadsOption, TrustedKeyOption


def gateway(
    cascade: Annotated[
        Path, typer.Argument(help="A cascade.toml; its first tier is on this machine.")
    ],
    listen: Annotated[
        str, typer.Option("--listen", help="HOST:PORT; port 0 takes a free one.")
    ] = "127.0.0.1:50052",
    queue_capacity: Annotated[
        int,
        typer.Option("--queue", min=1, max=1024, help="Requests under way before one is refused."),
    ] = 64,
    grace_s: Annotated[
        float, typer.Option("--grace-s", min=0.0, help="Seconds a stop waits for open requests.")
    ] = 30.0,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", help="Certificates (PEM); needed off loopback."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="Its private key (PEM).")
    ] = None,
    threads: ThreadsOption = 0,
    max_memory: MaxMemoryOption = None,
    trusted_key: TrustedKeyOption = None,
) -> None:
    """Serve a cascade to devices over the wire of `serve`, until SIGTERM or Ctrl-C, then drain."""
    from functools import partial

    from escalade.cli.gateway import GatewayBackend
    from escalade.cli.options import open_options
    from escalade.cli.output import note_console
    from escalade.cloud.listen import tls_files
    from escalade.cloud.server import ServeOptions, run_server

    options = ServeOptions(
        listen=listen,
        tls=tls_files(tls_cert, tls_key),
        queue_capacity=queue_capacity,
        grace_s=grace_s,
    )
    opening = open_options(threads=threads, max_memory=max_memory, trusted_key=trusted_key)
    notes = note_console()
    notes.print(f"opening {cascade} ...", style="dim")
    run_server(
        partial(GatewayBackend, cascade, opening),
        options,
        on_ready=lambda address: notes.print(f"serving {cascade} on {address}"),
    )
    notes.print("drained", style="dim")
