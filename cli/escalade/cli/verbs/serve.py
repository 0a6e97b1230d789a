"""`escalade serve`: a large model behind gRPC; knows no small model."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from escalade.cli.options import (
    ClientCaOption,
    GraceOption,
    ListenOption,
    QueueOption,
    RequestsPerMinuteOption,
    TlsCertOption,
    TlsKeyOption,
    TokensOption,
    TokensPerDayOption,
    bytes_of,
)
from escalade.cli.watching import (
    LogChoice,
    LogOption,
    LogTextOption,
    MetricsOption,
    OtlpOption,
    watched,
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
    client_ca: ClientCaOption = None,
    tokens: TokensOption = None,
    requests_per_minute: RequestsPerMinuteOption = None,
    tokens_per_day: TokensPerDayOption = None,
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
    metrics: MetricsOption = None,
    otlp: OtlpOption = None,
    log: LogOption = LogChoice.pretty,
    log_text: LogTextOption = False,
) -> None:
    """Serve a large model to edge clients until SIGTERM or Ctrl-C, then drain."""
    from escalade.cloud.access import AccessOptions, Limits
    from escalade.cloud.backends import transformers_factory, usable_cores
    from escalade.cloud.certificates import tls_files
    from escalade.cloud.server import ServeOptions, run_server

    # Threads of torch that wait spin by default, and take the cores from whoever has work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with watched(metrics, otlp, log, log_text=log_text) as notes:
        options = ServeOptions(
            listen=listen,
            tls=tls_files(tls_cert, tls_key, client_ca),
            access=AccessOptions(tokens=tokens, limits=Limits(requests_per_minute, tokens_per_day)),
            queue_capacity=queue_capacity,
            grace_s=grace_s,
            watch=notes.options,
        )
        notes.say(f"loading {model} ...")
        run_server(
            transformers_factory(
                model,
                threads=threads or usable_cores(),
                device=device,
                dtype=dtype.value,
                deterministic=deterministic,
                kv_bytes=kv_memory,
                say=notes.say,
            ),
            options,
            on_ready=lambda address: notes.tell(f"serving {model} on {address}"),
        )
        notes.say("drained")
