"""`escalade evaluate`: traces to the CAT paper's figures and numbers; knows no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.errors import CliError
from escalade.cli.options import (
    FiguresOption,
    JsonOption,
    PriceOption,
    PricePerHourOption,
    ReportOption,
    SampleOption,
    SeedOption,
    TablesOption,
    UpToOption,
    hour_prices_of,
    prices_of,
)

if TYPE_CHECKING:
    from escalade.simulator.evaluation import Evaluation
    from escalade.simulator.recorded import Rule


def evaluate(
    traces: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]TRACE...",
            help="Traces of `escalade record` or `trace`. Those of one NAME are one model's, a seed"
            " each; without a NAME it is the file's.",
        ),
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            help="Deferral rule: recorded (the default), mean, sum, min, max or quantile:Q; may be"
            " given again.",
        ),
    ] = None,
    router: Annotated[
        Path | None, typer.Option("--router", help="A trained router, as one more rule.")
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric", help="recorded, exact-match, accuracy, bleu, chrf or per (phoneme errors)."
        ),
    ] = "recorded",
    cost: Annotated[
        str,
        typer.Option(
            "--cost",
            help="flops_per_token, flops_per_query, money, deferral_rate, bytes or seconds.",
        ),
    ] = "flops_per_token",
    price: PriceOption = None,
    price_per_hour: PricePerHourOption = None,
    gate: Annotated[
        str | None,
        typer.Option(
            "--gate",
            metavar="TIER",
            help="Sweep the threshold of the gate after this tier, others as recorded; default:"
            " the first.",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Name that others are held against; default: the first."),
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option(
            "--quality",
            help="Compare costs here (0.86, or 24 of BLEU); default: midway between the baseline's"
            " two models.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            help="Compare qualities at this cost; default: what the baseline needs for --quality.",
        ),
    ] = None,
    by_task: Annotated[
        bool, typer.Option("--by-task", help="Evaluate each task by itself too.")
    ] = False,
    artifact: Annotated[
        list[Path] | None,
        typer.Option(
            "--artifact",
            help="Folder of a model below the gate, for its bytes and the calls it leaves; may be"
            " given again, and is to be for each of them.",
        ),
    ] = None,
    report: ReportOption = None,
    figures: FiguresOption = None,
    tables: TablesOption = None,
    resamples: Annotated[
        int, typer.Option("--resamples", help="Bootstrap resamples for the intervals.")
    ] = 1000,
    up_to: UpToOption = None,
    sample: SampleOption = 100_000,
    seed: SeedOption = 1,
    json: JsonOption = False,
) -> None:
    """Quality against cost of recorded cascades: curves, what is saved, and how sure that is."""
    import msgspec

    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import print_json, progress_bar, show_written
    from escalade.simulator.evaluation import evaluate as evaluate_traces
    from escalade.simulator.evaluation import on_device
    from escalade.simulator.recorded import read_shared_sample, with_prices

    named = _grouped(traces)
    check_destinations(
        {"--report": report},
        {"--figures": figures, "--tables": tables},
        read=[*(path for _, paths in named for path in paths), router],
    )
    # What draws is loaded only when asked for, and before the work, so that it cannot fail after.
    if report is not None:
        from escalade.simulator.report import write_evaluation_page
    if figures is not None:
        from escalade.simulator.paper import write_figures
    if tables is not None:
        from escalade.simulator.evaluation import frames_of
        from escalade.simulator.saving import write_frames

    rules: list[Rule] = list(rule or ["recorded"])
    if router is not None:
        from escalade.edge.deferral import Router

        rules.append(("router", Router.open(router)))
    prices = prices_of(price), hour_prices_of(price_per_hour)
    sizes = _sizes(artifact or [])
    notes = list[str]()
    with progress_bar("reading, bytes") as tick:
        groups = {
            name: [
                with_prices(
                    read_shared_sample(path, sample, seed, notes, tick, up_to=up_to), *prices
                )
                for path in paths
            ]
            for name, paths in named
        }
    evaluated = partial(
        evaluate_traces, groups, metric=metric, gate=gate, resamples=resamples, seed=seed
    )
    with progress_bar("resampling") as tick:
        evaluation = evaluated(
            rules=rules,
            cost=cost,
            baseline=baseline,
            quality=quality,
            budget=budget,
            by_task=by_task,
            notes=notes,
            progress=tick,
        )
    if sizes:
        rates = evaluation
        if cost != "deferral_rate":
            with progress_bar("counting calls") as tick:
                rates = evaluated(rules=rules[:1], cost="deferral_rate", progress=tick)
        rows = on_device(groups, sizes, rates, gate)
        evaluation = msgspec.structs.replace(evaluation, on_device=rows)
    written: list[tuple[str, Path]] = []
    if report is not None:
        write_evaluation_page(report, evaluation)
        written.append(("report", report))
    if figures is not None:
        written += [("figure", path) for path in write_figures(figures, evaluation)]
    if tables is not None:
        written += [("table", path) for path in write_frames(tables, frames_of(evaluation))]
    if json:
        print_json(
            msgspec.structs.replace(
                evaluation,
                report=report and str(report),
                figures=[str(path) for kind, path in written if kind == "figure"],
                tables=[str(path) for kind, path in written if kind == "table"],
            )
        )
    else:
        _show(evaluation)
        show_written(written)


def _show(evaluation: Evaluation) -> None:
    from escalade.cli.output import result_console
    from escalade.cli.tables import show_report
    from escalade.simulator.evaluation import lede, on_device_table, seeds_table, tables_of

    found = [table for part in evaluation.slices for table in tables_of(evaluation, part)]
    beside = [on_device_table(evaluation), seeds_table(evaluation)]
    show_report(lede(evaluation), [*found, *(table for table in beside if table is not None)])
    console = result_console()
    console.print(
        f"beneath each number its 95 % interval ({evaluation.resamples:,} bootstrap resamples);"
        " \N{EN DASH} where no threshold gets there"
    )
    if evaluation.metric.signature:
        console.print(f"{evaluation.metric.label}: {evaluation.metric.signature}")
    for note in evaluation.notes:
        console.print(note)


def _sizes(folders: Sequence[Path]) -> dict[str, int]:
    """Bytes of each artifact, by what traces call its program."""
    from escalade.edge.artifact import load_manifest, program_digest

    manifests = [load_manifest(folder) for folder in folders]
    return {program_digest(one): one.total_bytes for one in manifests}


def _grouped(arguments: Sequence[str]) -> list[tuple[str, list[Path]]]:
    """`NAME=FILE` and `FILE` to the files of each name, in the order names first come."""
    from escalade.edge.base import text_of

    named: list[tuple[str, Path, str | None]] = []
    for argument in arguments:
        name, _, path = argument.partition("=")
        # A file may have such a sign in its own name.
        if name and path and not Path(argument).exists():
            named.append((text_of(name), Path(path), None))
        else:
            named.append((text_of(Path(argument).stem), Path(argument), text_of(argument)))
    times = Counter(path.resolve() for _, path, _ in named)
    if twice := [path for _, path, _ in named if times[path.resolve()] > 1]:
        raise CliError(f"{twice[0]}: given twice; two seeds of one model have a trace each")
    # Stems that are the same by chance make no group: then the whole path is the name.
    seen = Counter(name for name, _, _ in named)
    groups: dict[str, list[Path]] = {}
    for name, file, whole in named:
        groups.setdefault(whole if whole and seen[name] > 1 else name, []).append(file)
    return list(groups.items())
