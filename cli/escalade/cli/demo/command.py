"""`escalade demo`: the whole cascade, step by step; every step is a verb a user may type."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from escalade.cli.demo.clone import in_clone
from escalade.cli.demo.page_server import PAGE
from escalade.cli.options import JsonOption, SeedOption

_CHECKPOINTS = in_clone("training", "checkpoints")
_SMALL, _BASELINE, _LARGE = "small-cat-xent", "small-xent", "large"


def demo(
    models: Annotated[
        Path, typer.Option("--models", help=f"Folder with {_SMALL}, {_BASELINE} and {_LARGE}.")
    ] = _CHECKPOINTS,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for data, artifacts, traces and the report.")
    ] = Path("escalade-demo"),
    queries: Annotated[
        int, typer.Option("--queries", min=20, help="Test queries over the faster networks.")
    ] = 200,
    traced: Annotated[
        int, typer.Option("--traced", min=20, help="Test queries in each recorded trace.")
    ] = 800,
    target_deferral_rate: Annotated[
        float,
        typer.Option("--target-deferral-rate", min=0.0, max=1.0, help="Share of queries to defer."),
    ] = 0.4,
    seed: SeedOption = 1,
    web: Annotated[
        bool,
        typer.Option("--web", help="In place of all that: the device in a browser, on a page."),
    ] = False,
    page: Annotated[
        Path, typer.Option("--page", help="With --web: folder of the built page, of `make web`.")
    ] = PAGE,
    web_port: Annotated[
        int,
        typer.Option(
            "--web-port", min=0, max=65535, help="With --web: port of the page; 0: a free one."
        ),
    ] = 8080,
    json: JsonOption = False,
) -> None:
    """Watch a whole cascade work: export, calibrate, serve, ask over four networks, report."""
    from escalade.cli.errors import MissingError
    from escalade.cli.output import note_console, print_json, result_console
    from escalade.cli.tables import show_report, show_table
    from escalade.edge.base import check_fillable

    for name in (_SMALL, _LARGE) if web else (_SMALL, _BASELINE, _LARGE):
        if not (models / name / "config.json").is_file():
            raise MissingError(
                f"{models / name}: no checkpoint there; run the demo in a clone of the"
                " repository, or give --models"
            )
    check_fillable(out)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if web:
        from escalade.cli.demo.web import web_demo

        web_demo(
            small=models / _SMALL,
            large=models / _LARGE,
            page=page,
            out=out,
            port=web_port,
            target=target_deferral_rate,
            notes=note_console(),
        )
        return
    started = time.monotonic()
    from escalade.cli.demo.steps import Demo
    from escalade.cli.demo.tables import comparison_lines, live_table
    from escalade.simulator.timing import lines_of, tables_of

    steps = Demo(
        small=models / _SMALL,
        baseline=models / _BASELINE,
        large=models / _LARGE,
        out=out,
        seed=seed,
        notes=note_console(),
    )
    steps.prepare(target_deferral_rate)
    executorch = steps.executorch()
    rows, clock, summary, evaluation = steps.live_and_traced(queries, traced)
    seconds = time.monotonic() - started
    if json:
        print_json(
            {
                "live": [row.as_dict() for row in rows],
                "clock": clock,
                "executorch": executorch,
                "simulation": summary,
                "evaluation": evaluation,
                "seconds": seconds,
            }
        )
        return
    console = result_console()
    show_table(live_table(rows), grouped=True)
    show_report(lines_of(clock), tables_of(clock))
    for line in (executorch, *comparison_lines(summary, evaluation)):
        console.print(line)
    console.print(f"report: {(out / 'report.html').resolve()}")
    console.print(f"took {seconds:.0f} s")


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Let a signal unwind like Ctrl-C, so that the processes are stopped on the way out."""
    raise KeyboardInterrupt
