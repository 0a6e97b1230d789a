"""`escalade simulate`: what networks do to a recorded cascade, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import (
    BlockedOption,
    DeviceOption,
    DevicesOption,
    DialledOption,
    FiguresOption,
    HedgeOption,
    JsonOption,
    PriceOption,
    PricePerHourOption,
    ProfilesOption,
    RoomOption,
    SampleOption,
    SeedOption,
    TablesOption,
    UpToOption,
    WaitOption,
    given_options,
    hour_prices_of,
    known_devices,
    prices_of,
    setting_of,
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
    context: typer.Context,
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
            metavar="[TIER[/MEMBER]=]NAME",
            help="Name of a network; may be given again. With TIER= it holds for the link to that"
            " tier, or to a member of it, in all of them.",
        ),
    ] = None,
    profiles: ProfilesOption = None,
    device: DeviceOption = None,
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
    price_per_hour: PricePerHourOption = None,
    deadline_s: WaitOption = None,
    hedge_after_s: HedgeOption = None,
    dialled: DialledOption = 0.0,
    early: RoomOption = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", help="A cascade.toml: keep here what its policy's content does."),
    ] = None,
    blocked: BlockedOption = 0.0,
    out: Annotated[Path, typer.Option("--out", "--report", help="The report (HTML).")] = Path(
        "report.html"
    ),
    figures: FiguresOption = None,
    tables: TablesOption = None,
    up_to: UpToOption = None,
    sample: SampleOption = 100_000,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Replay traces over named networks in virtual time and write one HTML report."""
    if traces == [Path(_CLOCK)]:
        if others := given_options(context) - {"--json"}:
            raise typer.BadParameter(
                f"clock takes no option but --json, the others are of traces; got {min(others)}"
            )
        _time_delays(json=json)
        return
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import print_json, progress_bar, show_written
    from escalade.simulator.network import profiles_with
    from escalade.simulator.replay import simulate as simulate_traces

    # What draws is loaded before the work, so that it cannot fail after.
    from escalade.simulator.report import write_simulation_page

    check_destinations(
        {"--out": out},
        {"--figures": figures, "--tables": tables},
        read=[*traces, profiles, devices, policy],
    )
    setting = setting_of(
        device=device,
        devices=known_devices(devices, named=device is not None),
        deadline_s=deadline_s,
        hedge_after_s=hedge_after_s,
        dialled=dialled,
        early=early,
        policy=policy,
        blocked=blocked,
    )
    if figures is not None:
        from escalade.simulator.paper import write_simulation_figures
    if tables is not None:
        from escalade.simulator.replay import frames_of
        from escalade.simulator.saving import write_frames

    with progress_bar("reading, bytes") as reading:
        simulation = simulate_traces(
            traces,
            list(profile or []),
            [thresholds_of(one) for one in threshold or []],
            known=profiles_with(profiles),
            prices=prices_of(price),
            hour_prices=hour_prices_of(price_per_hour),
            setting=setting,
            up_to=up_to,
            sample=sample,
            seed=seed,
            reading=reading,
            progress=reading.beside("replaying"),
        )
    write_simulation_page(out, simulation)
    written = [("report", out)]
    if figures is not None:
        written += [("figure", path) for path in write_simulation_figures(figures, simulation)]
    if tables is not None:
        written += [("table", path) for path in write_frames(tables, frames_of(simulation))]
    if json:
        print_json(simulation.summary)
    else:
        show_summary(simulation.summary)
        show_written(written)


def _time_delays(*, json: bool) -> None:
    from escalade.cli.output import print_json, progress_bar
    from escalade.cli.tables import show_report
    from escalade.simulator.timing import lines_of, measure_delays, tables_of

    with progress_bar("timing delays") as tick:
        report = measure_delays(progress=tick)
    if json:
        print_json(report)
        return
    show_report(lines_of(report), tables_of(report))


def show_summary(summary: Summary) -> None:
    """The tables of a simulation, on stdout."""
    from escalade.cli.output import result_console
    from escalade.cli.tables import show_table
    from escalade.simulator.replay import (
        answers_tables,
        degraded_tables,
        latency_tables,
        lede,
        spending_tables,
    )

    console = result_console()
    for line in lede(summary):
        console.print(line)
    tables = (answers_tables, latency_tables, degraded_tables, spending_tables)
    for table in (one for of in tables for one in of(summary)):
        show_table(table)
    for note in summary.notes:
        console.print(note)
