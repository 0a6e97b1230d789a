"""`escalade gateway`: a cascade behind gRPC, between devices and a cloud; knows no model."""

from __future__ import annotations

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
    MaxMemoryOption,
    MetricsOption,
    OtlpOption,
    QueueOption,
    QuotaFileOption,
    RequestsPerMinuteOption,
    ThreadsOption,
    TlsCertOption,
    TlsKeyOption,
    TokensOption,
    TokensPerDayOption,
    TrustedKeyOption,
    WebOption,
    watched,
)


def gateway(
    cascade: Annotated[
        Path, typer.Argument(help="A cascade.toml; its first tier is on this machine.")
    ],
    listen: ListenOption = "127.0.0.1:50052",
    queue_capacity: QueueOption = 64,
    grace_s: GraceOption = 30.0,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    client_ca: ClientCaOption = None,
    tokens: TokensOption = None,
    requests_per_minute: RequestsPerMinuteOption = None,
    tokens_per_day: TokensPerDayOption = None,
    quota_file: QuotaFileOption = None,
    learn: Annotated[
        Path | None,
        typer.Option(
            "--learn",
            help="LEARN.toml: classifiers learn from what the last tier answers, in a process of"
            " their own.",
        ),
    ] = None,
    threads: ThreadsOption = 0,
    max_memory: MaxMemoryOption = None,
    trusted_key: TrustedKeyOption = None,
    web: WebOption = None,
    allow_origin: AllowOriginOption = None,
    metrics: MetricsOption = None,
    otlp: OtlpOption = None,
    log: LogOption = LogChoice.pretty,
    log_text: LogTextOption = False,
) -> None:
    """Serve a cascade to devices over the wire of `serve`, until SIGTERM or Ctrl-C, then drain."""
    from dataclasses import replace
    from functools import partial

    from escalade.cli.gateway import GatewayBackend
    from escalade.cli.options import open_options, web_options
    from escalade.cloud.access import AccessOptions, Limits
    from escalade.cloud.certificates import tls_files
    from escalade.cloud.server import ServeOptions, run_server
    from escalade.edge.policy import SYSTEM_PROVIDERS

    opening = open_options(threads=threads, max_memory=max_memory, trusted_key=trusted_key)
    # Nobody at its terminal speaks for who asks it.
    opening = replace(opening, policy=SYSTEM_PROVIDERS)
    with watched(metrics, otlp, log, log_text=log_text) as notes:
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
        gathering = None
        if learn is not None:
            from escalade.cli.learning import open_gathering

            gathering = open_gathering(learn, cascade)
        run_server(
            partial(GatewayBackend, cascade, opening, gathering=gathering),
            options,
            on_loading=lambda: notes.say(f"opening {cascade} ..."),
            on_ready=lambda address: notes.tell(f"serving {cascade} on {address}"),
            on_web=lambda url: notes.tell(f"serving browsers on {url}"),
        )
        notes.say("drained")
