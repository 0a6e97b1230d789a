"""`escalade trace`: torch models' answers to every query; knows no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import JsonOption


def trace(
    small: Annotated[str, typer.Argument(help="Small model: a checkpoint folder or hub name.")],
    large: Annotated[str, typer.Argument(help="Large model: a checkpoint folder or hub name.")],
    data: Annotated[Path, typer.Argument(help="Query records (JSON Lines), with references.")],
    out: Annotated[Path, typer.Argument(help="Trace to write (JSON Lines).")],
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many queries, evenly spread; default: all.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Answer every query with both models, here in torch, for `escalade evaluate`.

    No artifact and no network take part: times and bytes in the trace are 0.
    """
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.edge.base import read_records, subsample
    from escalade.edge.trace import write_trace
    from escalade.training.examples import check_references
    from escalade.training.recipes import open_checkpoint
    from escalade.training.trace import answer_all, model_info, trace_of

    records = subsample(read_records(data), limit)
    check_references(records)
    tiers = []
    # Both are opened before either answers: a wrong name must not cost the other's answers.
    for name, (model, tokenizer) in [(name, open_checkpoint(name)) for name in (small, large)]:
        with progress_bar(name) as bar:

            def tick(done: int, show: Callable[[int, int], None] = bar) -> None:
                show(done, len(records))

            answers = answer_all(model, tokenizer, records, progress=tick)
        tiers.append((model_info(Path(name).name, model), answers))
    made = trace_of(records, *tiers, threshold=0.0)
    write_trace(out, made.header, made.records)
    count = len(made.records)
    right = {
        "small": sum(bool(record.small.correct) for record in made.records) / count,
        "large": sum(bool(r.large and r.large.correct) for r in made.records) / count,
    }
    if json:
        print_json({"queries": len(records), "exact_match": right})
        return
    result_console().print(
        f"{out}: {len(records)} queries; exact match {right['small']:.1%} small,"
        f" {right['large']:.1%} large"
    )
