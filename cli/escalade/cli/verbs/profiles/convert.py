"""`escalade profiles convert`: a trace of mahimahi's as bandwidth over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    trace: Annotated[Path, typer.Argument(help="A trace as mahimahi's mm-link takes it.")],
    out: Annotated[
        Path, typer.Option("--out", help="CSV (time_s,mbps) for a profile's up_trace, down_trace.")
    ],
    step_ms: Annotated[
        int, typer.Option("--step-ms", min=1, help="About so long is a row's bandwidth taken over.")
    ] = 100,
) -> None:
    """Turn a packet-delivery trace of mahimahi's into bandwidth over time."""
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import result_console
    from escalade.edge.base import atomic_write
    from escalade.simulator.network import read_mahimahi

    check_destinations({"--out": out}, read=[trace])
    series = read_mahimahi(trace, step_ms=step_ms)
    with atomic_write(out) as stream:
        stream.writelines(line.encode() for line in series.csv_lines())
    result_console().print(
        f"{out}: {len(series.values):,} rows, {series.period_s:g} s, {series.mean:.4g} Mb/s on"
        " average"
    )
