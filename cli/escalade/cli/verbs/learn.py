"""`escalade learn`: a stream answered by a cascade that learns from its expert; knows no model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import JsonOption, ReportOption, TablesOption

if TYPE_CHECKING:
    from rich.table import Table

    from escalade.training.online import Agreement, Event, Result

_WITHOUT_DATA, _WITH_DATA = 1, 2


def learn(
    configuration: Annotated[Path, typer.Argument(help="Levels, expert, labels (TOML).")],
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[DATA] OUT",
            help="Items: JSON Lines, .parquet, a folder of both, or - ; default: the"
            " configuration's; of kind 'generation' a trace, or a folder of them. And the folder"
            " to write, or to go on with.",
        ),
    ],
    report: ReportOption = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--beside",
            metavar="OUT",
            help="Another run over the same stream, to hold it against on the page and in the"
            " tables; may be given again.",
        ),
    ] = None,
    tables: TablesOption = None,
    json: JsonOption = False,
) -> None:
    """Answer a stream while small models learn from the large one; run again to go on."""
    import msgspec

    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import result_console, show_written
    from escalade.training.online import learn_stream, read_configuration
    from escalade.training.tables import kind_of

    if not _WITHOUT_DATA <= len(paths) <= _WITH_DATA:
        raise typer.BadParameter(f"give DATA and OUT, or OUT alone; got {len(paths)} paths")
    *data, out = paths
    source = data[0] if data else None
    check_destinations(
        {"--report": report}, {"OUT": out, "--tables": tables}, read=[configuration, source]
    )
    if kind_of(configuration) == "generation":
        if source is None:
            raise typer.BadParameter("a language model learns from a TRACE: give it, and OUT")
        if report or tables or beside:
            raise typer.BadParameter(
                "--report, --tables and --beside are of streams, not of 'generation'"
            )
        _improve(configuration, source, out, json=json)
        return
    wanted = read_configuration(configuration)
    if beside and not (report or tables):
        raise typer.BadParameter("--beside is for page and tables: give --report or --tables too")
    write_found = _writer(out, report, tables, beside or ())
    if json:

        def write(event: Event) -> None:
            sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
            sys.stdout.flush()

        learn_stream(wanted, source, out, say=write)
    else:
        with _Watched() as watched:
            result = learn_stream(wanted, source, out, say=watched.show)
        result_console().print(_table(result))
        for line in _lines(result, out):
            result_console().print(line)
    written = write_found()
    if not json:
        show_written(written)


def _writer(
    out: Path, report: Path | None, tables: Path | None, beside: Sequence[Path]
) -> Callable[[], list[tuple[str, Path]]]:
    """Writes page and tables of a run; what that takes is loaded, and read, before the run."""
    if report is None and tables is None:
        return list
    from escalade.cli.learning_rows import learned_run, run_names

    if report is not None:
        from escalade.simulator.report import write_learning_page
    if tables is not None:
        from escalade.simulator.learning import frames_of
        from escalade.simulator.saving import write_frames

    own, *names = run_names([out, *beside])
    others = [learned_run(*one) for one in zip(beside, names, strict=True)]

    def write() -> list[tuple[str, Path]]:
        run, written = learned_run(out, own), []
        if report is not None:
            write_learning_page(report, run, others)
            written.append(("report", report))
        if tables is not None:
            frames = frames_of([run, *others])
            written += [("table", path) for path in write_frames(tables, frames)]
        return written

    return write


def _improve(configuration: Path, traces: Path, out: Path, *, json: bool) -> None:
    from escalade.cli.improvement import improve, improved_lines
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.training.improvement import read_improvement

    wanted = read_improvement(configuration)
    with progress_bar("learning") as bar:

        def show(stage: str, done: int, total: int, logged: Mapping[str, float]) -> None:
            bar(done, total)

        improved = improve(wanted, traces, out, say=bar.say, progress=show, tick=bar)
    if json:
        print_json(improved)
        return
    for line in improved_lines(improved):
        result_console().print(line)


class _Watched:
    """The figures so far, on a terminal's stderr; what happens besides, on any."""

    def __init__(self) -> None:
        from rich.live import Live

        from escalade.cli.output import note_console

        self._console = note_console()
        self._live = Live(console=self._console, transient=True, auto_refresh=False)

    def __enter__(self) -> _Watched:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        """Tell of an event."""
        if event.event != "figures":
            self._console.print(f"item {event.items}: {event.what}", style="dim")
        elif self._console.is_terminal:
            self._live.update(_so_far(event), refresh=True)


def _so_far(event: Event) -> Table:
    from rich.table import Table

    from escalade.edge.base import counted

    table = Table(title=f"{counted(event.items, 'item')}", title_justify="left")
    for heading in ("answered by", "of the last", "beta"):
        table.add_column(heading, justify="left" if heading == "answered by" else "right")
    window = max(sum(event.by.values()), 1)
    for name, count in event.by.items():
        beta = f"{event.beta[name]:.2f}" if name in event.beta else ""
        table.add_row(name, f"{count / window:.0%}", beta)
    table.caption = "\n".join(_figures(event))
    table.caption_justify = "left"
    return table


def _figures(event: Event) -> list[str]:
    from escalade.edge.base import counted

    lines = [f"{counted(event.calls, 'call')} of the expert, cost {event.cost:,.0f}"]
    lines += _agreement(event.agreement)
    if event.measured:
        lines.append(f"right: {event.right / event.measured:.1%} of {event.measured}")
    bad = {"degraded": event.degraded, "unparsed": event.unparsed, "refused": event.refused}
    if any(bad.values()):
        lines.append(", ".join(f"{count} {name}" for name, count in bad.items() if count))
    return lines


def _table(result: Result) -> Table:
    from rich.table import Table

    table = Table()
    for heading in ("level", "answered", "runs", "to learn", "updates", "GFLOPs", "seconds"):
        table.add_column(heading, justify="left" if heading == "level" else "right")
    for one in result.tally.levels:
        table.add_row(
            one.name,
            str(one.answered),
            str(one.runs),
            str(one.learning_runs),
            str(one.updates),
            f"{(one.flops + one.learning_flops) / 1e9:,.3g}",
            f"{one.seconds + one.learning_seconds:,.1f}",
        )
    expert = result.tally.expert
    flops = "" if expert.flops is None else f"{expert.flops / 1e9:,.3g}"
    calls, seconds = str(expert.calls), f"{expert.seconds:,.1f}"
    table.add_row("expert", str(expert.answered), calls, "", "", flops, seconds)
    return table


def _lines(result: Result, out: Path) -> list[str]:
    from escalade.edge.base import counted

    tally = result.tally
    lines = [
        f"{out}: {counted(tally.items, 'item')}, cost {tally.cost:,.0f}, {result.seconds:,.1f} s"
    ]
    if result.measured is not None:
        lines.append(f"right: {result.measured.accuracy:.2%} of {result.measured.items}")
    elif not tally.unknown_labels and (column := _unmeasured(result)):
        lines.append(f"right: unknown, no item that was answered has a class in {column!r}")
    lines += _agreement(result.agreement)
    lines += [f"degraded, the expert did not answer: {tally.degraded}"] * bool(tally.degraded)
    lines += [f"the expert's answer named no label: {tally.unparsed}"] * bool(tally.unparsed)
    lines += [f"refused, {why}: {count}" for why, count in sorted(tally.refused.items())]
    if tally.unknown_labels:
        lines.append(f"not measured, the right class is no label: {tally.unknown_labels}")
    return lines


def _unmeasured(result: Result) -> object:
    """The column that was to say which class is right of items to be measured; None without any."""
    stream = result.configuration["stream"]
    if result.tally.items <= result.measured_from or not isinstance(stream, dict):
        return None
    return stream.get("label")


def _agreement(agreement: Agreement | None) -> list[str]:
    if agreement is None or agreement.estimate is None:
        return []
    from escalade.edge.base import counted

    alarms = f", {counted(agreement.alarms, 'alarm')}" if agreement.alarms else ""
    return [
        f"kept answers agree with the expert: {agreement.estimate:.1%}, between"
        f" {agreement.low:.1%} and {agreement.high:.1%} ({agreement.audited} audited{alarms})"
    ]
