"""`escalade serve`: a large model behind gRPC; knows no small model."""

from __future__ import annotations

from typing import Annotated

import typer

from escalade.cli.options import (
    GraceOption,
    ListenOption,
    QueueOption,
    TlsCertOption,
    TlsKeyOption,
)


def serve(
    model: Annotated[str, typer.Argument(help="Model folder, or hub:NAME.")],
    listen: ListenOption = "127.0.0.1:50051",
    queue_capacity: QueueOption = 64,
    grace_s: GraceOption = 30.0,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="Of torch; 0 leaves the choice to it.")
    ] = 0,
) -> None:
    """Serve a large model to edge clients until SIGTERM or Ctrl-C, then drain."""
    from escalade.cli.output import note_console
    from escalade.cloud.backends import transformers_factory
    from escalade.cloud.listen import tls_files
    from escalade.cloud.server import ServeOptions, run_server

    options = ServeOptions(
        listen=listen,
        tls=tls_files(tls_cert, tls_key),
        queue_capacity=queue_capacity,
        grace_s=grace_s,
    )
    notes = note_console()
    notes.print(f"loading {model} ...", style="dim")
    run_server(
        transformers_factory(model, threads=threads or None),
        options,
        on_ready=lambda address: notes.print(f"serving {model} on {address}"),
    )
    notes.print("drained", style="dim")
