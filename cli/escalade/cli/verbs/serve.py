"""`escalade serve`: a large model behind gRPC; knows no small model."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from escalade.cli.options import (
    GraceOption,
    ListenOption,
    QueueOption,
    TlsCertOption,
    TlsKeyOption,
    bytes_of,
)


class DtypeChoice(StrEnum):
    """The numbers that a model computes in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


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
    device: Annotated[
        str,
        typer.Option(
            "--device", help="cpu, cuda, cuda:N or mps; auto: the GPUs there are, or the CPU."
        ),
    ] = "auto",
    dtype: Annotated[
        DtypeChoice,
        typer.Option("--dtype", help="auto: float32 on the CPU, the checkpoint's own on a GPU."),
    ] = DtypeChoice.auto,
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
            " at most a quarter of the free memory, 0.8 of a GPU's.",
        ),
    ] = None,
) -> None:
    """Serve a large model to edge clients until SIGTERM or Ctrl-C, then drain."""
    from escalade.cli.output import note_console
    from escalade.cloud.backends import transformers_factory, usable_cores
    from escalade.cloud.listen import tls_files
    from escalade.cloud.server import ServeOptions, run_server

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
    run_server(
        transformers_factory(
            model,
            threads=threads or usable_cores(),
            device=device,
            dtype=dtype.value,
            deterministic=deterministic,
            kv_bytes=kv_memory,
            say=lambda line: notes.print(line, style="dim"),
        ),
        options,
        on_ready=lambda address: notes.print(f"serving {model} on {address}"),
    )
    notes.print("drained", style="dim")
