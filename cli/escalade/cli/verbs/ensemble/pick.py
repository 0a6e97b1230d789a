"""`escalade ensemble pick`: which models to put together, and in which order; knows no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from escalade.cli.options import (
    JsonOption,
    LimitOption,
    MaxMemoryOption,
    PriceOption,
    SeedOption,
    ThreadsOption,
    TrustedKeyOption,
    open_options,
    prices_of,
)

if TYPE_CHECKING:
    from escalade.cli.verbs.ensemble.candidates import Candidates
    from escalade.edge import OpenOptions
    from escalade.edge.trace import Trace
    from escalade.simulator.ensembles import Zoo


def pick(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="2 or more artifacts' folders; or a cascade.toml, for its members and prices."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Query records (JSON Lines); every model is asked each."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="In place of --data: what `escalade record` made with them."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            "--test",
            help="Measure the choice on these, of the same kind; default: on half of the others.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", help="Most that a query may cost on average; default: no bound."),
    ] = None,
    cost: Annotated[
        Literal["flops", "money", "seconds"],
        typer.Option("--cost", help="What a budget counts."),
    ] = "flops",
    least: Annotated[
        int,
        typer.Option("--least", help="Members that there are to be, e.g. 3 for a gate by votes."),
    ] = 1,
    side_by_side: Annotated[
        bool,
        typer.Option("--side-by-side", help="Members run at the same time; default: in turn."),
    ] = False,
    agreement: Annotated[
        str,
        typer.Option(
            "--agreement", metavar="RULE", help="What they agree by, as a gate's rule says it."
        ),
    ] = "vote",
    weighted: Annotated[
        bool,
        typer.Option(
            "--weighted", help="Weigh each voice by how often its model is right; default: alike."
        ),
    ] = False,
    price: PriceOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a cascade.toml of the picked models.")
    ] = None,
    limit: LimitOption = None,
    seed: SeedOption = 1,
    threads: ThreadsOption = 0,
    max_memory: MaxMemoryOption = None,
    trusted_key: TrustedKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Pick the models whose agreement is right most often for its cost, one alone among them.

    The choice is made on half of the queries, or on all where --test is given, and measured on
    queries that it has not seen. Every way to order up to 7 models is tried; of more, see the docs.
    """
    from escalade.cli.destinations import check_destinations
    from escalade.cli.errors import CliError
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.cli.tables import show_table
    from escalade.cli.verbs.ensemble.candidates import candidates_of, write_cascade
    from escalade.edge.calibration import halves_of
    from escalade.edge.deferral import agreement_named
    from escalade.simulator.ensembles import lede, tables_of
    from escalade.simulator.ensembles import pick as pick_from

    if (data is None) == (trace is None):
        raise CliError("give --data or --trace, one of them")
    try:
        agreement_named(agreement)  # before the work
    except ValueError as error:
        raise CliError(f"--agreement: {error}") from error
    check_destinations({"--out": out}, read=[data, trace, test])
    if out is not None:
        import tomlkit  # noqa: F401 - before the work, so that it cannot fail after
    options = open_options(threads=threads, max_memory=max_memory, trusted_key=trusted_key)
    candidates = candidates_of(models, options.trusted_key)
    prices = prices_of(price)

    def answers_in(path: Path) -> Trace:
        return _trace_of(candidates, path, options, side_by_side, limit, recorded=data is None)

    def zoo_of(found: Trace) -> Zoo:
        return _zoo(candidates, found, prices, cost, side_by_side=side_by_side, agreement=agreement)

    source = data or trace
    assert source is not None  # noqa: S101 - one of them is given
    answers = answers_in(source)
    whole = zoo_of(answers)
    if test is None:
        halves = halves_of(whole.queries, seed=seed)
        validation, held_out = whole.take(halves.fit), whole.take(halves.held_out)
    else:
        others = answers_in(test)
        _check_apart(test, answers, others)
        validation, held_out = whole, zoo_of(others)
    with progress_bar("picking") as tick:
        picked = pick_from(
            validation,
            held_out,
            budget=budget,
            least=least,
            seed=seed,
            weighted=weighted,
            progress=tick,
        )
    lines = lede(picked)
    if out is not None:
        head = f"made by `escalade ensemble pick`; {lines[2]}"
        write_cascade(out, candidates, picked, prices, head=head)
    if json:
        print_json(picked)
        return
    for line in lines:
        result_console().print(line)
    for table in tables_of(picked):
        show_table(table)
    if out is not None:
        result_console().print(f"cascade: {out}")


def _check_apart(test: Path, chosen_by: Trace, others: Trace) -> None:
    """Refuse to measure a choice on the queries that made it.

    Raises:
        CliError: some are the same.
    """
    from escalade.cli.errors import CliError

    known = {record.prompt for record in chosen_by.records}
    if same := sum(record.prompt in known for record in others.records):
        raise CliError(
            f"{test}: {same} of its {len(others.records)} queries are among those that the choice"
            " is made by; give others"
        )


def _trace_of(
    candidates: Candidates,
    path: Path,
    options: OpenOptions,
    side_by_side: bool,
    limit: int | None,
    *,
    recorded: bool,
) -> Trace:
    """Every model's answers to the queries of a file."""
    from escalade.cli.output import progress_bar
    from escalade.cli.verbs.ensemble.candidates import record_all
    from escalade.edge.base import read_record_file, subsample
    from escalade.edge.trace import read_trace

    if recorded:
        found = read_trace(path)
        return found._replace(records=subsample(found.records, limit))
    file = read_record_file(path)
    with progress_bar("asking") as tick:
        return record_all(
            candidates,
            subsample(file.records, limit),
            options,
            where=file.where,
            side_by_side=side_by_side,
            progress=tick,
        )


def _zoo(
    candidates: Candidates,
    trace: Trace,
    prices: dict[str, tuple[float, float]],
    cost: Literal["flops", "money", "seconds"],
    *,
    side_by_side: bool,
    agreement: str,
) -> Zoo:
    from escalade.simulator.ensembles import places_of, zoo_of
    from escalade.simulator.recorded import with_prices

    places = places_of(trace, candidates.digests(), candidates.names)
    priced = with_prices(trace, prices)
    zoo = zoo_of(
        priced, places, candidates.names, cost, side_by_side=side_by_side, agreement=agreement
    )
    weights = [entry.weight for entry in candidates.members]
    return zoo if len(set(weights)) == 1 else zoo.weighted(weights)
