"""`escalade record`: a trace of a cascade in shadow mode; knows no model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import (
    CaCertOption,
    CascadeArgument,
    ClientCertOption,
    ClientKeyOption,
    CloudOption,
    DataOption,
    DeadlineOption,
    JsonOption,
    LimitOption,
    MaxMemoryOption,
    PlaintextOption,
    SendTextOption,
    ThreadsOption,
    ThresholdOption,
    TlsOption,
    TokenFileOption,
    TrustedKeyOption,
)


def record(
    cascade: CascadeArgument,
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", help="The trace to write (JSON Lines).")],
    cloud: CloudOption = None,
    limit: LimitOption = None,
    threshold: ThresholdOption = None,
    deadline_s: DeadlineOption = None,
    send_text: SendTextOption = False,
    ca_cert: CaCertOption = None,
    token_file: TokenFileOption = None,
    client_cert: ClientCertOption = None,
    client_key: ClientKeyOption = None,
    tls: TlsOption = False,
    plaintext: PlaintextOption = False,
    threads: ThreadsOption = 0,
    max_memory: MaxMemoryOption = None,
    trusted_key: TrustedKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Ask every tier every query (shadow mode) and write a trace that can be replayed."""
    from escalade.cli.destinations import check_destinations
    from escalade.cli.errors import CliError
    from escalade.cli.options import open_options
    from escalade.cli.output import note_console, print_json, progress_bar
    from escalade.edge import EdgeClient
    from escalade.edge.base import counted, read_record_file, subsample
    from escalade.edge.shadow import record_trace

    check_destinations({"--out": out}, read=[data, cascade])
    file = read_record_file(data)
    records = subsample(file.records, limit)
    options = open_options(
        threshold=threshold,
        deadline_s=deadline_s,
        send_text=send_text,
        ca_cert=ca_cert,
        token_file=token_file,
        client_cert=client_cert,
        client_key=client_key,
        tls=tls,
        plaintext=plaintext,
        threads=threads,
        max_memory=max_memory,
        trusted_key=trusted_key,
    )
    with EdgeClient.open(cascade, options, cloud=cloud, calibrated=False) as client:
        tiers = client.cascade.tiers
        if len(tiers) == 1 and len(tiers[0].opened) == 1:
            raise CliError(
                f"{cascade}: a trace to replay needs 2 tiers or more, or members that vote; give"
                " --cloud"
            )
        gate = client.cascade.gates[0]
        calibrated = gate is not None and gate.threshold is not None
        guard = client.cascade.guard
        asks = guard is not None and guard.waits_for_word
        with progress_bar("recording", shown=not asks) as tick:
            summary = record_trace(client, records, out, where=file.where, progress=tick)
    if json:
        print_json(summary)
        return
    defers = f"the first gate defers {summary.deferred}, " if calibrated else ""
    note_console().print(
        f"{counted(summary.queries, 'query')}, {defers}{summary.unanswered} not answered by"
        " every tier"
    )
    note_console().print(f"trace: {out}")
