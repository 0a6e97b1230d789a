"""`escalade load`: how much a live server takes; knows no model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import (
    CaCertOption,
    ClientCertOption,
    ClientKeyOption,
    JsonOption,
    PlaintextOption,
    SeedOption,
    TlsOption,
    TokenFileOption,
    plaintext_asked,
)


class ArrivalsChoice(StrEnum):
    """When the requests of an open loop are due."""

    poisson = "poisson"
    constant = "constant"


def load(
    address: Annotated[str, typer.Argument(help="HOST:PORT of `escalade serve` or `gateway`.")],
    prompts: Annotated[
        str,
        typer.Option(
            "--prompts",
            metavar="FILE|TASK",
            help="Query records, JSON Lines, or a bundled task: g2p, p2g, stress, syllables.",
        ),
    ],
    clients: Annotated[
        int | None,
        typer.Option(
            "--clients", help="Closed loop: so many clients, each with one request at a time; 1."
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Open loop: so many requests a second.")
    ] = None,
    arrivals: Annotated[
        ArrivalsChoice, typer.Option("--arrivals", help="How the requests of --rate are spread.")
    ] = ArrivalsChoice.poisson,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Seconds to measure; 10.")
    ] = None,
    requests: Annotated[
        int | None, typer.Option("--requests", help="Requests to measure, in place of seconds.")
    ] = None,
    warm_up_s: Annotated[
        float, typer.Option("--warm-up-s", help="Seconds asked before, which are not measured.")
    ] = 1.0,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Ask for streams, and time their tokens.")
    ] = False,
    deadline_s: Annotated[
        float, typer.Option("--deadline-s", help="Seconds that an answer may take.")
    ] = 10.0,
    ca_cert: CaCertOption = None,
    token_file: TokenFileOption = None,
    client_cert: ClientCertOption = None,
    client_key: ClientKeyOption = None,
    tls: TlsOption = False,
    plaintext: PlaintextOption = False,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="Ask with 1 to 16 clients in turn, and fit what batching costs a query; with"
            " --rate, with one and then at that load.",
        ),
    ] = False,
    clock: Annotated[
        bool,
        typer.Option(
            "--clock/--no-clock",
            help="Time also, for some seconds, what delays really are on this machine.",
        ),
    ] = True,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Ask a live server again and again, and say how many answers it gives and how long they take.

    Nothing is asked twice: a refusal counts. Exit code 2 where no request was answered.
    """
    import msgspec

    from escalade.cli.errors import UnansweredError
    from escalade.cli.output import print_json, progress_bar
    from escalade.cli.tables import show_report
    from escalade.edge.base import counted
    from escalade.edge.wire import ClientFiles
    from escalade.simulator.load import (
        Fit,
        LoadedFit,
        LoadReport,
        Plan,
        Target,
        fit_load,
        fit_load_at,
        run_load,
        shown,
        timed_delays,
    )

    if fit and clients is not None:
        raise typer.BadParameter("--fit has clients of its own: give no --clients")
    clear = plaintext_asked(tls=tls, plaintext=plaintext)
    plan = Plan(
        clients=1 if clients is None and rate is None else clients,
        rate=rate,
        arrivals=arrivals.value,
        seconds=10.0 if seconds is None and requests is None else seconds,
        requests=requests,
        warm_up_s=warm_up_s,
        deadline_s=deadline_s,
        seed=seed,
    )
    with progress_bar("reading prompts"):
        texts = _texts(prompts)
    target = Target(
        address=address,
        prompts=texts,
        max_new_tokens=max_new_tokens,
        streamed=stream,
        ca_cert=ca_cert,
        plaintext=clear,
        files=ClientFiles(token_file, client_cert, client_key),
    )
    report: LoadReport | Fit | LoadedFit
    with progress_bar("fitting" if fit else "asking") as tick:
        if not fit:
            report = run_load(target, plan, progress=tick)
        elif rate is None:
            report = fit_load(target, plan, progress=tick)
        else:
            from escalade.simulator.fleet import replica_s

            report = fit_load_at(target, plan, replica_s, progress=tick)
    try:
        if clock and not (isinstance(report, LoadReport) and not report.answered):
            with progress_bar("timing delays") as tick:
                timed = timed_delays(plan, progress=tick)
            report = msgspec.structs.replace(report, clock=timed)
    finally:  # what was measured is shown where this fails, and at Ctrl-C
        if json:
            print_json(report)
        else:
            show_report(*shown(report))
    if isinstance(report, LoadReport) and not report.answered:
        why = "".join(f"; {one.reason}: {one.detail}" for one in report.refused[:1])
        raise UnansweredError(
            f"{address}: none of {counted(report.requests, 'request')} was answered{why}"
        )


def _texts(prompts: str) -> list[str]:
    """The prompts of a file, or of a bundled task's test split.

    Raises:
        MissingError: it is neither.
        DataError: the file cannot be read.
    """
    from escalade.cli.errors import MissingError
    from escalade.edge.base import read_records
    from escalade.training.data import TASKS, load_pronunciations, make_records

    if prompts in TASKS and not Path(prompts).exists():
        records = make_records("test", load_pronunciations())
        return [record.prompt for record in records if record.task == prompts]
    if not Path(prompts).exists():
        raise MissingError(
            f"--prompts: no such file, and no task: {prompts}; tasks are {', '.join(TASKS)}"
        )
    return [record.prompt for record in read_records(Path(prompts))]
