"""`escalade serve`: a large model behind gRPC; knows no small model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import (
    GraceOption,
    ListenOption,
    QueueOption,
    TlsCertOption,
    TlsKeyOption,
    bytes_of,
)

if TYPE_CHECKING:
    from escalade.cloud.backends import Scaling


def serve(
    model: Annotated[str, typer.Argument(help="Model folder, or hub:NAME.")],
    listen: ListenOption = "127.0.0.1:50051",
    queue_capacity: QueueOption = 64,
    grace_s: GraceOption = 30.0,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="Of torch; 0: the cores there are.")
    ] = 0,
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="One query at a time: equal prompts and drafts get equal answers, bit for bit.",
        ),
    ] = False,
    kv_memory: Annotated[
        int | None,
        typer.Option(
            "--kv-memory",
            parser=bytes_of,
            metavar="BYTES",
            help="Of the KV cache: bytes, or with K, M, G; by default what 64 sequences need,"
            " at most a quarter of the free memory.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="HOST:PORT",
            help="Compute in replicas on this Ray cluster; `auto`: this machine's; `local`: one"
            " that is started for it.",
        ),
    ] = None,
    replicas: Annotated[
        str,
        typer.Option("--replicas", metavar="LEAST:MOST", help="With --ray: how many, by load."),
    ] = "1:1",
) -> None:
    """Serve a large model to edge clients until SIGTERM or Ctrl-C, then drain."""
    from escalade.cli.output import note_console
    from escalade.cloud.backends import ray_factory, transformers_factory, usable_cores
    from escalade.cloud.listen import tls_files
    from escalade.cloud.server import ServeOptions, run_server

    if ray is not None and (deterministic or kv_memory is not None):
        given = "--deterministic" if deterministic else "--kv-memory"
        raise typer.BadParameter(f"{given} and --ray exclude each other: replicas compute together")
    # Threads of torch that wait spin by default, and take the cores from whoever has work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = ServeOptions(
        listen=listen,
        tls=tls_files(tls_cert, tls_key),
        queue_capacity=queue_capacity,
        grace_s=grace_s,
    )
    notes = note_console()
    notes.print(f"loading {model} ...", style="dim")

    def say(line: str) -> None:
        notes.print(line, style="dim")

    factory = (
        transformers_factory(
            model,
            threads=threads or usable_cores(),
            deterministic=deterministic,
            kv_bytes=kv_memory,
            say=say,
        )
        if ray is None
        else ray_factory(
            model,
            cluster=None if ray == "local" else ray,
            scaling=_scaling(replicas, threads or 1),
            say=say,
        )
    )
    run_server(
        factory,
        options,
        on_ready=lambda address: notes.print(f"serving {model} on {address}"),
    )
    notes.print("drained", style="dim")


def _scaling(replicas: str, cores: int) -> Scaling:
    """What `--replicas` says.

    Raises:
        BadParameter: it is no LEAST:MOST.
    """
    from escalade.cloud.backends import Scaling

    least, _, most = replicas.partition(":")
    if not (least.isdecimal() and most.isdecimal()):
        raise typer.BadParameter(f"--replicas must be LEAST:MOST, e.g. 1:4, got {replicas!r}")
    return Scaling(least=int(least), most=int(most), cores=cores)
