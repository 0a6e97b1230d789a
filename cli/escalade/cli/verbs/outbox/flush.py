"""`escalade outbox flush`: asks again what waits in an outbox; knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from escalade.cli.options import (
    CaCertOption,
    CascadeArgument,
    ClientCertOption,
    ClientKeyOption,
    CloudOption,
    DeadlineOption,
    JsonOption,
    MaxMemoryOption,
    OnOutageChoice,
    OutboxOption,
    PlaintextOption,
    SendTextOption,
    ThreadsOption,
    ThresholdOption,
    TlsOption,
    TokenFileOption,
    TrustedKeyOption,
)

if TYPE_CHECKING:
    from escalade.edge.outbox import Entry


def flush(
    cascade: CascadeArgument,
    outbox: OutboxOption = None,
    cloud: CloudOption = None,
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
    """Ask the cascade's queries that wait, print each answer as it comes, and let go of it.

    With --json an object a line. Exit code 2 when some still wait.
    """
    from escalade.cli.errors import WaitingError
    from escalade.cli.options import open_options
    from escalade.cli.output import note_console
    from escalade.cli.verbs.outbox.opening import check_there
    from escalade.edge import EdgeClient

    if outbox is not None:
        check_there(outbox)
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
        on_outage=OnOutageChoice.queue,
        outbox=outbox,
    )
    with EdgeClient.open(cascade, options, cloud=cloud) as client:
        done = client.flush(_print_line if json else _show)
    note_console().print(f"{done.answered} answered, {done.refused} refused", style="dim")
    if done.left:
        why = done.reason or "for a tier that this cascade has not, or another flush is at them"
        raise WaitingError(f"{done.left} still wait: {why}")


def _print_line(entry: Entry) -> None:
    import msgspec

    from escalade.cli.output import print_text

    print_text(msgspec.json.encode(entry).decode())


def _show(entry: Entry) -> None:
    from escalade.cli.output import note_console, print_text

    prompt = " ".join(entry.prompt.split())
    if entry.answer is None:
        note_console().print(f"{prompt}: refused: {entry.reason}")
        return
    note_console().print(f"{prompt} (by {entry.answered_by}, after all)", style="dim")
    print_text(entry.answer)
