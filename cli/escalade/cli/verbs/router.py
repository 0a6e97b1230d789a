"""`escalade router`: a learned deferral rule from a recorded trace; knows no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import JsonOption, SeedOption


def router(
    trace: Annotated[
        Path, typer.Argument(help="Validation trace of `escalade record`, with references.")
    ],
    out: Annotated[Path, typer.Argument(help="Router file to write (JSON).")],
    hidden: Annotated[
        list[int] | None,
        typer.Option("--hidden", min=1, help="Units of a hidden layer; may be given again."),
    ] = None,
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, help="Passes over the trace at most.")
    ] = 200,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Train a router (a learned deferral rule) on a trace with both answers."""
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.edge.base import counted
    from escalade.edge.trace import read_trace
    from escalade.training.router import train_router

    check_destinations({"OUT": out}, read=[trace])
    records = read_trace(trace).records
    with progress_bar("training") as tick:
        trained, figures = train_router(
            records, hidden=hidden or (64,), epochs=epochs, seed=seed, progress=tick
        )
    trained.save(out)
    if json:
        print_json(figures)
        return
    result_console().print(
        f"{out}: {trained.parameters:,} parameters, widths"
        f" {' - '.join(str(width) for width in trained.widths)}\n"
        f"{counted(figures.n, 'query')}, {figures.held_out} held out; deferring gains on"
        f" {figures.gain_rate:.1%}\n"
        f"held out: cross-entropy {figures.loss:.4f} after {figures.epoch} epochs,"
        f" {figures.baseline_loss:.4f} at a constant rate"
    )
    for name, ranking in (("router", figures.router), ("mean rule", figures.mean_rule)):
        wrong = ranking.auroc_small_wrong
        result_console().print(
            f"  {name}: AUROC {ranking.auroc_gain:.3f} of a gain,"
            f" {'-' if wrong is None else f'{wrong:.3f}'} of a wrong small answer"
        )
