"""Options of verbs that open a cascade and ask it; what they say together is `open_options`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escalade.edge import OpenOptions

ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", help="Defer when the score reaches this; default: the manifest's."),
]
DeadlineOption = Annotated[
    float | None,
    typer.Option("--deadline-s", min=0.001, help="Seconds the cloud has for one query; 10."),
]
SendTextOption = Annotated[
    bool,
    typer.Option(
        "--send-text", help="Send the prompt as text: for a cloud model with another tokenizer."
    ),
]
CaCertOption = Annotated[
    Path | None, typer.Option("--ca-cert", help="Root certificates (PEM) to trust, over TLS.")
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the token to send, over TLS or on loopback."),
]
ClientCertOption = Annotated[
    Path | None, typer.Option("--client-cert", help="Certificate (PEM) to show, over TLS.")
]
ClientKeyOption = Annotated[
    Path | None, typer.Option("--client-key", help="Its private key (PEM).")
]
TlsOption = Annotated[
    bool, typer.Option("--tls", help="Speak TLS even where the cloud is on loopback.")
]
PlaintextOption = Annotated[
    bool,
    typer.Option("--plaintext", help="Without TLS even where the cloud is not on loopback."),
]
CloudOption = Annotated[
    str | None,
    typer.Option(
        "--cloud",
        help="HOST:PORT of `escalade serve` or `gateway`: the tier above an artifact; without it,"
        " answer locally.",
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--threads",
        min=0,
        max=256,  # escalade.edge.runtimes.threads_of
        help="Threads that compute; 0: the physical cores, at most 4.",
    ),
]
TraceOption = Annotated[
    Path | None, typer.Option("--trace", help="Add the query's record to this trace.")
]


class EarlyChoice(StrEnum):
    """When generation may end before the answer does."""

    off = "off"
    certain = "certain"
    likely = "likely"


EarlyOption = Annotated[
    EarlyChoice,
    typer.Option(
        "--early", help="Defer before the answer is complete, as soon as it must be, or likely is."
    ),
]


class OnOutageChoice(StrEnum):
    """What becomes of a query whose tier is out of reach."""

    degrade = "degrade"
    queue = "queue"


OnOutageOption = Annotated[
    OnOutageChoice | None,
    typer.Option(
        "--on-outage",
        help="When a tier is out of reach: degrade gives the best answer so far; queue also keeps"
        " the query for `escalade outbox flush`.",
    ),
]
OutboxOption = Annotated[
    Path | None,
    typer.Option("--outbox", help="File of the queries that are kept; default: one for each user."),
]
StopOption = Annotated[
    list[str] | None,
    typer.Option("--stop", help="End the answer before this text; may be given again."),
]


def open_options(
    *,
    threshold: float | None = None,
    deadline_s: float | None = None,
    send_text: bool = False,
    ca_cert: Path | None = None,
    token_file: Path | None = None,
    client_cert: Path | None = None,
    client_key: Path | None = None,
    tls: bool = False,
    plaintext: bool = False,
    early: EarlyChoice = EarlyChoice.off,
    threads: int = 0,
    max_memory: int | None = None,
    trusted_key: Path | None = None,
    on_outage: OnOutageChoice | None = None,
    outbox: Path | None = None,
) -> OpenOptions:
    """What the options of a verb say about opening a cascade; its policy asks at the terminal."""
    from escalade.cli.options.consent import at_terminal
    from escalade.edge import OpenOptions

    return OpenOptions(
        threshold=threshold,
        deadline_s=OpenOptions.deadline_s if deadline_s is None else deadline_s,
        prompt_form="text" if send_text else "tokens",
        ca_cert=ca_cert,
        token_file=token_file,
        client_cert=client_cert,
        client_key=client_key,
        tls=tls or None,
        plaintext=plaintext or None,
        early=early.value,
        threads=threads,
        max_memory=max_memory,
        trusted_key=_again(trusted_key),
        on_outage=None if on_outage is None else on_outage.value,
        outbox=outbox,
        policy=at_terminal(),
    )


# Open as long as the process: they go when it does.
_KEPT: list[IO[bytes]] = []


def _again(path: Path | None) -> Path | None:
    """The file, or what came through a pipe as one: it is read for each member of a cascade."""
    if path is None or not path.exists() or path.is_file() or path.is_dir():
        return path
    import tempfile

    kept = tempfile.NamedTemporaryFile()  # noqa: SIM115
    kept.write(path.read_bytes())
    kept.flush()
    _KEPT.append(kept)
    return Path(kept.name)


def plaintext_asked(*, tls: bool, plaintext: bool) -> bool | None:
    """What `--tls` and `--plaintext` say; None of neither.

    Raises:
        BadParameter: they contradict each other.
    """
    from escalade.v1.channel import plaintext_of

    try:
        return plaintext_of(tls=tls or None, plaintext=plaintext or None)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
