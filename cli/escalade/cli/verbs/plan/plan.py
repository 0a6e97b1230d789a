"""`escalade plan`: thresholds, and replicas, that keep a goal in virtual time; knows no format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import (
    DeviceOption,
    DevicesOption,
    DialledOption,
    HedgeOption,
    JsonOption,
    PriceOption,
    PricePerHourOption,
    ProfilesOption,
    RoomOption,
    SampleOption,
    SeedOption,
    UpToOption,
    WaitOption,
    hour_prices_of,
    known_devices,
    prices_of,
    setting_of,
)
from escalade.cli.verbs.plan.fleet_toml import write_fleet


def plan(
    trace: Annotated[Path, typer.Argument(help="A trace of `escalade record`.")],
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="[TIER[/MEMBER]=]NAME",
            help="Name of a network on which the goal is to hold; may be given again. With TIER= it"
            " holds for the link to that tier, or to a member of it, in all of them.",
        ),
    ] = None,
    fleet: Annotated[
        Path | None,
        typer.Option(
            "--fleet",
            help="A fleet (TOML) with groups of this trace: plan its replicas, too. It says the"
            " networks, and what `escalade fleet` takes.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write that fleet with thresholds and replicas here."),
    ] = None,
    profiles: ProfilesOption = None,
    p50_ms: Annotated[
        float | None, typer.Option("--p50-ms", help="Most milliseconds of the median answer.")
    ] = None,
    p95_ms: Annotated[
        float | None, typer.Option("--p95-ms", help="Most of the 95th percentile.")
    ] = None,
    p99_ms: Annotated[
        float | None, typer.Option("--p99-ms", help="Most of the 99th percentile.")
    ] = None,
    mean_ms: Annotated[float | None, typer.Option("--mean-ms", help="Most on average.")] = None,
    quality: Annotated[
        float | None,
        typer.Option("--quality", help="Least share of the last tier's right answers, as 0.95."),
    ] = None,
    accuracy: Annotated[
        float | None, typer.Option("--accuracy", help="Least share of right answers.")
    ] = None,
    degraded: Annotated[
        float | None,
        typer.Option(
            "--degraded",
            help="With --deadline-s or --fleet: most queries a lower answer stands for, a share.",
        ),
    ] = None,
    calls: Annotated[
        float | None, typer.Option("--calls", help="Most queries to the last tier, a share.")
    ] = None,
    money_a_day: Annotated[
        float | None,
        typer.Option("--money-a-day", help="Most, at the trace's prices, replicas' too."),
    ] = None,
    queries_a_day: Annotated[
        float | None,
        typer.Option(
            "--queries-a-day", help="How many --money-a-day is for. With --fleet its arrivals say."
        ),
    ] = None,
    battery_share: Annotated[
        float | None,
        typer.Option("--battery-share", help="Most of the device's battery in a day, as 0.05."),
    ] = None,
    queries_a_device: Annotated[
        float | None,
        typer.Option(
            "--queries-a-device",
            help="How many a day --battery-share is for. With --fleet its arrivals say.",
        ),
    ] = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    deadline_s: WaitOption = None,
    hedge_after_s: HedgeOption = None,
    dialled: DialledOption = 0.0,
    early: RoomOption = None,
    minimise: Annotated[
        str | None,
        typer.Option(
            "--minimise",
            metavar="errors|calls|money|replicas|flops|mean|p95",
            help="Among thresholds that keep the goal. Default: errors if it is not of quality or"
            " accuracy, else money if priced, else calls, or with --fleet replicas.",
        ),
    ] = None,
    price: PriceOption = None,
    price_per_hour: PricePerHourOption = None,
    up_to: UpToOption = None,
    sample: SampleOption = 100_000,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Choose thresholds that keep a goal on networks; where none do, those that come nearest.

    With --fleet, replicas too: the fewest with which its users and its bill keep the goal.
    """
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import print_json, progress_bar, show_written
    from escalade.cli.tables import show_report
    from escalade.simulator.network import profiles_with
    from escalade.simulator.planning import Goal, lines_of, make_plan, tables_of
    from escalade.simulator.recorded import hour_words, read_sample, with_prices
    from escalade.simulator.replay import networks_of

    devices_known = known_devices(devices, named=device is not None or fleet is not None)
    setting = setting_of(
        device=device,
        devices=devices_known,
        deadline_s=deadline_s,
        hedge_after_s=hedge_after_s,
        dialled=dialled,
        early=early,
    )
    known = profiles_with(profiles)
    planned = None
    if fleet is not None:
        if up_to is not None:
            raise typer.BadParameter(
                "--up-to is not for --fleet, whose runs read every tier of a group's trace; got"
                f" {up_to!r}"
            )
        _check_left_to_fleet(
            {
                "--profile": profile,
                "--deadline-s": deadline_s,
                "--hedge-after-s": hedge_after_s,
                "--dialled": dialled,
                "--early": early,
                "--price-per-hour": price_per_hour,
            }
        )
        check_destinations({"--out": out}, read=[trace, fleet, profiles, devices])
        if out is not None:
            import tomlkit  # noqa: F401 - before the work, so that it cannot fail after
        from escalade.simulator.planning.deployment import checked_a_day, read_fleet

        planned = read_fleet(
            fleet, trace, device=setting.device, known=known, devices=devices_known
        )
        if out is not None and not fleet.is_file():
            raise typer.BadParameter("--out reads the fleet again, and --fleet is no file")
        told = checked_a_day("--queries-a-day", queries_a_day, planned.queries_a_day)
        queries_a_day = None if money_a_day is None else told
        told = checked_a_day("--queries-a-device", queries_a_device, planned.queries_a_device)
        queries_a_device = None if battery_share is None else told
    elif out is not None:
        raise typer.BadParameter("--out is of a fleet: give --fleet, too")
    goal = Goal(
        p50_s=_seconds("--p50-ms", p50_ms),
        p95_s=_seconds("--p95-ms", p95_ms),
        p99_s=_seconds("--p99-ms", p99_ms),
        mean_s=_seconds("--mean-ms", mean_ms),
        quality=quality,
        accuracy=accuracy,
        degraded=degraded,
        calls=calls,
        money_a_day=money_a_day,
        queries_a_day=queries_a_day,
        battery_share=battery_share,
        queries_a_device=queries_a_device,
        battery_wh=setting.battery_wh if planned is None else planned.battery_wh,
        minimise=minimise,  # type: ignore[arg-type]  # `Goal` refuses others, and names these
    )
    notes = list[str]()
    with progress_bar("reading, bytes") as tick:
        whole = read_sample(trace, sample, seed, notes, tick, up_to=up_to)
    read = with_prices(whole, prices_of(price), hour_prices_of(price_per_hour))
    notes += hour_words(read.header)
    with progress_bar("planning") as tick:
        if planned is None:
            networks = networks_of([read], profile or [], known)
            found = make_plan(
                read, networks, goal, setting=setting, notes=notes, seed=seed, progress=tick
            )
        else:
            from escalade.simulator.planning.deployment import plan_deployment

            found = plan_deployment(read, planned, goal, notes=notes, seed=seed, progress=tick)
    if planned is not None and out is not None and found.deployment is not None:
        write_fleet(out, planned, trace, found.thresholds, found.deployment.replicas)
    if json:
        print_json(found)
        return
    show_report(lines_of(found), tables_of(found))
    if out is not None and found.deployment is not None:
        show_written([("fleet", out)])


def _check_left_to_fleet(options: Mapping[str, object]) -> None:
    """Refuse what a fleet says itself."""
    for option, value in options.items():
        if value:
            raise typer.BadParameter(
                f"{option} is not for --fleet, whose file says what networks, connections,"
                f" failed calls and replicas are like; got {option}"
            )


def _seconds(option: str, milliseconds: float | None) -> float | None:
    if milliseconds is None:
        return None
    if not 0 < milliseconds / 1e3 < math.inf:
        raise typer.BadParameter(f"{option} must be above 0 and finite; got {milliseconds:g}")
    return milliseconds / 1e3
