"""`escalade trace`: torch models' answers to every query; knows no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import JsonOption

_LEAST_MODELS = 2


def trace(
    models: Annotated[
        list[str],
        typer.Argument(help="2 or more, from the smallest: checkpoint folders, or hub:NAME."),
    ],
    data: Annotated[Path, typer.Argument(help="Query records (JSON Lines), with references.")],
    out: Annotated[Path, typer.Argument(help="Trace to write (JSON Lines).")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many queries, evenly spread; default: all.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Answer every query with every model, here in torch, for `escalade evaluate`.

    No artifact and no network take part: the trace holds no times and no links.
    """
    from escalade.checkpoint import check_model
    from escalade.cli.destinations import check_destinations
    from escalade.cli.output import note_console, print_json, progress_bar, result_console
    from escalade.edge.base import counted, read_record_file, subsample

    if len(models) < _LEAST_MODELS:
        raise typer.BadParameter(f"MODELS must be at least {_LEAST_MODELS}, got {len(models)}")
    check_destinations({"OUT": out}, read=[data])
    for model in models:
        check_model(model)  # before torch is loaded, which takes seconds
    file = read_record_file(data)
    records = subsample(file.records, limit)
    note_console().print(f"loading {', '.join(models)} ...", style="dim")

    from escalade.edge.trace import write_trace
    from escalade.training.examples import check_references
    from escalade.training.recipes import open_checkpoint
    from escalade.training.trace import Answered, answer_all, member_info, trace_of

    check_references(records)
    short = [Path(model).name for model in models]
    names = short if len(set(short)) == len(set(models)) else models
    # The same model as two tiers is two tiers: the second is `NAME-2`.
    names = [
        f"{name}-{names[: index + 1].count(name)}" if name in names[:index] else name
        for index, name in enumerate(names)
    ]
    answered = []
    # All are opened before one answers: a wrong name must not cost the others' answers.
    opened = [open_checkpoint(model) for model in models]
    for name, (network, tokenizer) in zip(names, opened, strict=True):
        with progress_bar(name) as bar:

            def tick(done: int, show: Callable[[int, int], None] = bar) -> None:
                show(done, len(records))

            answers = answer_all(network, tokenizer, records, where=file.where, progress=tick)
        answered.append(Answered(member_info(name, network), answers))
    made = trace_of(records, answered, threshold=0.0)
    write_trace(out, made.header, made.records)
    said = [[tier for tier in record.tiers if tier is not None] for record in made.records]
    right = {
        name: sum(bool(tiers[index].correct) for tiers in said) / len(said)
        for index, name in enumerate(names)
    }
    if json:
        print_json({"queries": len(records), "exact_match": right})
        return
    shares = ", ".join(f"{share:.1%} {name}" for name, share in right.items())
    result_console().print(f"{out}: {counted(len(records), 'query')}; exact match {shares}")
