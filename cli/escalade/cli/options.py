"""Options that several verbs share; knows no part."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from escalade.cloud.web import WebOptions
    from escalade.edge import OpenOptions
    from escalade.simulator.replay import Room

ArtifactArgument = Annotated[
    Path, typer.Argument(help="Artifact folder, as `escalade export` writes it.")
]
CascadeArgument = Annotated[
    Path, typer.Argument(help="Artifact folder, or a cascade.toml that names tiers.")
]
TraceOption = Annotated[
    Path | None, typer.Option("--trace", help="Add the query's record to this trace.")
]
DataOption = Annotated[
    Path,
    typer.Option("--data", help="Query records, JSON Lines: id, task, prompt, references."),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Use that many records, evenly spread over the file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
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
ProfilesOption = Annotated[
    Path | None,
    typer.Option(
        "--profiles", help="File of more networks (TOML); its names go before those known."
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="RECORDED=DEVICE",
        help="Replay what the first device has recorded as if on the other.",
    ),
]
DevicesOption = Annotated[
    Path | None,
    typer.Option("--devices", help="File of more devices (TOML); its names go before those known."),
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--deadline-s",
        help="Seconds a link has for a query; then a lower answer stands. Default: it waits.",
    ),
]
HedgeOption = Annotated[
    float | None,
    typer.Option(
        "--hedge-after-s", help="Seconds after which a query is asked a second time, as hedged."
    ),
]
DialledOption = Annotated[
    float,
    typer.Option(
        "--dialled",
        metavar="SHARE",
        help="Share of the calls that find no connection open and dial, over TLS.",
    ),
]
RoomOption = Annotated[
    str | None,
    typer.Option(
        "--early",
        metavar="TOKENS[,WINDOW]",
        help="End answers on the device, of at most TOKENS, once deferral is certain.",
    ),
]
FiguresOption = Annotated[
    Path | None,
    typer.Option("--figures", help="Write figures for a paper (PNG, SVG) into this folder."),
]
TablesOption = Annotated[
    Path | None,
    typer.Option("--tables", help="Write every number (CSV, Parquet) into this folder."),
]
BlockedOption = Annotated[
    float,
    typer.Option(
        "--blocked",
        metavar="SHARE",
        help="Of queries that are due, the share that link, battery, budget or consent keep here,"
        " in [0, 1], beside what a policy's patterns and tasks do.",
    ),
]
SampleOption = Annotated[
    int,
    typer.Option(
        "--sample", help="Queries of a trace, at most; of a longer one so many are drawn."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed, same numbers.")]
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
        max=256,  # escalade.edge.runtimes.MAX_THREADS
        help="Threads that compute; 0: the physical cores, at most 4.",
    ),
]
ListenOption = Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 takes a free one.")]
QueueOption = Annotated[
    int,
    typer.Option("--queue", min=1, help="Requests of one client that may wait."),
]
GraceOption = Annotated[
    float, typer.Option("--grace-s", min=0.0, help="Seconds a stop waits for open requests.")
]
TlsCertOption = Annotated[
    Path | None,
    typer.Option("--tls-cert", help="The server's certificates (PEM); needed off loopback."),
]
TlsKeyOption = Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")]
ClientCaOption = Annotated[
    Path | None,
    typer.Option("--client-ca", help="Roots (PEM) of the certificates that clients must show."),
]
TokensOption = Annotated[
    Path | None,
    typer.Option("--tokens", help="Who may ask: a file of `escalade token`; default: everybody."),
]
_MOST_COUNT = 1 << 53  # escalade.cloud.access.tokens.Count
RequestsPerMinuteOption = Annotated[
    int | None,
    typer.Option(
        "--requests-per-minute",
        min=1,
        max=_MOST_COUNT,
        help="Requests a minute of each client; default: no limit.",
    ),
]
TokensPerDayOption = Annotated[
    int | None,
    typer.Option(
        "--tokens-per-day",
        min=1,
        max=_MOST_COUNT,
        help="Tokens of the model a day, read and written, of each client; default: no limit.",
    ),
]
QuotaFileOption = Annotated[
    Path | None,
    typer.Option(
        "--quota-file",
        help="Where it is kept over a restart how many tokens of their day clients have used up.",
    ),
]
WebOption = Annotated[
    str | None,
    typer.Option(
        "--web",
        metavar="HOST:PORT",
        help="Serve browsers too, over gRPC-Web; port 0 takes a free one. TLS as above.",
    ),
]
AllowOriginOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="ORIGIN",
        help="With --web: a page that may ask, as https://example.org; may be given again.",
    ),
]
TrustedKeyOption = Annotated[
    Path | None,
    typer.Option("--trusted-key", help="Public key (PEM): take only what it has signed."),
]
SkipGoldenOption = Annotated[
    bool,
    typer.Option("--skip-golden", help="Check the files alone; do not load the program."),
]
StoreArgument = Annotated[Path, typer.Argument(help="Folder that keeps versions of an artifact.")]


def bytes_of(text: str) -> int:
    """A number of bytes as people write it: 300000, 64K, 512M, 2G (powers of 1024).

    Raises:
        BadParameter: it is none.
    """
    digits = text.rstrip("KMG")
    if not digits.isascii() or not digits.isdecimal() or len(text) - len(digits) > 1:
        raise typer.BadParameter(f"{text!r} is no size: give bytes, or a number with K, M or G")
    return int(digits) << {"": 0, "K": 10, "M": 20, "G": 30}[text[len(digits) :]]


MaxMemoryOption = Annotated[
    int | None,
    typer.Option(
        "--max-memory",
        parser=bytes_of,
        metavar="BYTES",
        help="Refuse models that need more together: bytes, or with K, M, G.",
    ),
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


def web_options(listen: str | None, origins: Sequence[str] | None) -> WebOptions | None:
    """A port for browsers; None where nobody asks for one.

    Raises:
        BadParameter: origins are named, and there is no port.
        ListenError: an origin is none.
    """
    from escalade.cloud.web import WebOptions

    if listen is None:
        if origins:
            raise typer.BadParameter("--allow-origin goes with --web HOST:PORT, which is missing")
        return None
    return WebOptions(listen=listen, origins=tuple(origins or ()))


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
    from escalade.cli.consent import at_terminal
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


PriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="MODEL=READ,WRITTEN",
        help="Money for a million tokens that a model reads, and writes; may be given again."
        " Default: as recorded.",
    ),
]


def prices_of(given: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """What `--price` says, by the model's name.

    Raises:
        BadParameter: it is no price.
    """
    prices = {}
    for one in given or ():
        name, _, numbers = one.rpartition("=")
        try:
            read, written = map(float, numbers.split(","))
        except ValueError:
            raise typer.BadParameter(f"{one!r} is no price: give MODEL=READ,WRITTEN") from None
        prices[name] = read, written
    return prices


def room_of(text: str) -> Room:
    """How long answers may become: `32`, or `32,512` with the window.

    Raises:
        BadParameter: it is neither.
    """
    from escalade.simulator.replay import Room

    try:
        room = Room(*map(int, text.split(",")))
    except (TypeError, ValueError):
        room = Room(0)
    if min(room.tokens, room.window or 1) < 1:
        raise typer.BadParameter(
            f"--early takes TOKENS or TOKENS,WINDOW, each at least 1; got {text!r}"
        )
    return room


def given_options(context: typer.Context) -> set[str]:
    """The options that the command line gives, whatever they say: each by its first name."""
    given = set()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.opts[0][:2] == "--":
            given.add(parameter.opts[0])
    return given
