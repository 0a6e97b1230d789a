"""`escalade serve`: a large model behind gRPC; knows no small model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import (
    AllowOriginOption,
    ClientCaOption,
    GraceOption,
    ListenOption,
    LogChoice,
    LogOption,
    LogTextOption,
    MetricsOption,
    OtlpOption,
    QueueOption,
    QuotaFileOption,
    RequestsPerMinuteOption,
    TlsCertOption,
    TlsKeyOption,
    TokensOption,
    TokensPerDayOption,
    WebOption,
    bytes_of,
    watched,
    web_options,
)
from escalade.cli.process import wait_briefly
from escalade.cli.served_model import OpenaiOptions, backend_named


class DtypeChoice(StrEnum):
    """The numbers that a model computes in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def serve(
    model: Annotated[
        str,
        typer.Argument(
            help="Model folder, hub:NAME, or openai:URL of another server, e.g."
            " openai:http://127.0.0.1:8000/v1."
        ),
    ],
    listen: ListenOption = "127.0.0.1:50051",
    queue_capacity: QueueOption = 64,
    grace_s: GraceOption = 30.0,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    client_ca: ClientCaOption = None,
    tokens: TokensOption = None,
    requests_per_minute: RequestsPerMinuteOption = None,
    tokens_per_day: TokensPerDayOption = None,
    quota_file: QuotaFileOption = None,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="Threads of torch; 0: the cores it may use.")
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
            help="For the KV cache: bytes, or with K, M, G; by default what 64 sequences need,"
            " at most a quarter of the free memory, 0.8 of a GPU's.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--model", help="With openai: the model's name there; default: the only one."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            metavar="FOLDER",
            help="With openai: the model's folder, for token ids; without it text alone is taken.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help="With openai: a file with the key alone.")
    ] = None,
    context_length: Annotated[
        int | None,
        typer.Option(
            "--context-length",
            min=2,
            help="With openai: its longest prompt and answer in tokens, if it does not say.",
        ),
    ] = None,
    parameters: Annotated[
        int | None,
        typer.Option(
            "--parameters", min=1, help="With openai: how many the model has, if it does not say."
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", min=1, help="With openai: requests under way there; 64."),
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
        str | None,
        typer.Option(
            "--replicas", metavar="LEAST:MOST", help="With --ray: how many, by load; 1:1."
        ),
    ] = None,
    web: WebOption = None,
    allow_origin: AllowOriginOption = None,
    metrics: MetricsOption = None,
    otlp: OtlpOption = None,
    log: LogOption = LogChoice.pretty,
    log_text: LogTextOption = False,
) -> None:
    """Serve a large model to edge clients until SIGTERM or Ctrl-C, then drain."""
    from escalade.cloud.access import AccessOptions, Limits
    from escalade.cloud.certificates import tls_files
    from escalade.cloud.server import ServeOptions, run_server

    wait_briefly()
    with watched(metrics, otlp, log, log_text=log_text) as notes:
        make_backend = backend_named(
            model,
            say=notes.say,
            threads=threads,
            device=device,
            dtype=dtype.value,
            deterministic=deterministic,
            kv_memory=kv_memory,
            openai=OpenaiOptions(
                model=name,
                tokenizer=tokenizer,
                api_key_file=api_key_file,
                context_length=context_length,
                parameters=parameters,
                at_once=at_once,
            ),
            ray=ray,
            replicas=replicas,
        )
        options = ServeOptions(
            listen=listen,
            tls=tls_files(tls_cert, tls_key, client_ca),
            access=AccessOptions(
                tokens=tokens,
                limits=Limits(requests_per_minute, tokens_per_day),
                quota_file=quota_file,
            ),
            queue_capacity=queue_capacity,
            grace_s=grace_s,
            watch=notes.options,
            web=web_options(web, allow_origin),
        )
        run_server(
            make_backend,
            options,
            on_loading=lambda: notes.say(f"loading {model} ..."),
            on_ready=lambda address: notes.tell(f"serving {model} on {address}"),
            on_web=lambda url: notes.tell(f"serving browsers on {url}"),
        )
        notes.say("drained")
