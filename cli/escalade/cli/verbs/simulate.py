"""`escalade simulate`: what networks do to a recorded cascade, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import (
    DevicesOption,
    JsonOption,
    PriceOption,
    ProfilesOption,
    SeedOption,
    prices_of,
)

if TYPE_CHECKING:
    from escalade.simulator.replay import Summary


# A trace of that name is `./clock`.
_CLOCK = "clock"


def thresholds_of(text: str) -> tuple[float, ...]:
    """Thresholds as people write them: `0.35`, or `0.35,0.5` for two gates.

    Raises:
        BadParameter: one is no number.
    """
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no choice of thresholds: give a number for each gate, T1,T2"
        ) from None


def simulate(
    traces: Annotated[
        list[Path],
        typer.Argument(
            help="Traces of `escalade record`; or the word `clock`: time what delays really are on"
            " this machine."
        ),
    ],
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="[TIER=]NAME",
            help="Name of a network; may be given again. With TIER= it holds for the link to that"
            " tier, in all of them.",
        ),
    ] = None,
    profiles: ProfilesOption = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="RECORDED=DEVICE",
            help="Replay what the first device has recorded as if on the other.",
        ),
    ] = None,
    devices: DevicesOption = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="T1[,T2...]",
            help="Replay under these, one for each gate; may be given again. Default: as recorded.",
        ),
    ] = None,
    price: PriceOption = None,
    dialled: Annotated[
        float,
        typer.Option(
            "--dialled",
            metavar="SHARE",
            help="Share of the calls that find no connection open and dial, over TLS.",
        ),
    ] = 0.0,
    out: Annotated[Path, typer.Option("--out", help="The report (HTML).")] = Path("report.html"),
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Replay traces over named networks in virtual time and write one HTML report."""
    if traces == [Path(_CLOCK)]:
        if profile or threshold or price or dialled:
            raise typer.BadParameter(
                "--profile, --threshold, --price and --dialled are of traces, not of clock"
            )
        _time_delays(json=json)
        return
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.edge.base import check_writable
    from escalade.simulator.devices import devices_with
    from escalade.simulator.network import profiles_with
    from escalade.simulator.replay import simulate as simulate_traces

    # What draws is loaded before the work, so that it cannot fail after.
    from escalade.simulator.report import write_simulation_page

    check_writable(out)
    with progress_bar("replaying") as tick:
        simulation = simulate_traces(
            traces,
            list(profile or []),
            [thresholds_of(one) for one in threshold or []],
            known=profiles_with(profiles),
            device=device,
            devices=devices_with(devices),
            prices=prices_of(price),
            dialled=dialled,
            seed=seed,
            progress=tick,
        )
    write_simulation_page(out, simulation)
    if json:
        print_json(simulation.summary)
    else:
        show_summary(simulation.summary)
        result_console().print(f"report: {out}")


def _time_delays(*, json: bool) -> None:
    from escalade.cli.output import print_json, progress_bar, show_report
    from escalade.simulator.timing import lines_of, measure_delays, tables_of

    with progress_bar("timing delays") as tick:
        report = measure_delays(progress=tick)
    if json:
        print_json(report)
        return
    show_report(lines_of(report), tables_of(report))


def show_summary(summary: Summary) -> None:
    """The tables of a simulation, on stdout."""
    from escalade.cli.output import result_console, show_table
    from escalade.simulator.replay import answers_tables, latency_tables, lede

    console = result_console()
    for line in lede(summary):
        console.print(line)
    for table in (*answers_tables(summary), *latency_tables(summary)):
        show_table(table)
    for note in summary.notes:
        console.print(note)
