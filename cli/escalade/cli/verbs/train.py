"""`escalade train`, `tasks` and `trace`: models, their data, their answers; knows no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from escalade.cli.options import JsonOption


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe (TOML); see training/recipes.")],
    out: Annotated[
        Path | None,
        typer.Argument(help="Checkpoint folder to write; default: the recipe file's name, here."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train what a recipe says; a run that was cut off goes on where it was."""
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.training.recipes import run_recipe

    out = out or Path(recipe.stem)
    with progress_bar(recipe.stem) as bar:

        def show(stage: str, done: int, total: int, logged: Mapping[str, float]) -> None:
            bar(done, total)
            if logged:
                numbers = ", ".join(f"{name} {value:.4g}" for name, value in logged.items())
                bar.say(f"{stage} {done}/{total}: {numbers}")

        metrics = run_recipe(recipe, out, progress=show)
    if not metrics:  # not the first process of `accelerate launch`
        return
    if json:
        print_json(metrics)
        return
    lines = [f"  {task}: {share:.1%}" for task, share in dict(metrics["valid_exact_match"]).items()]
    result_console().print(
        f"{out}: {metrics['parameters']:,} parameters, {metrics['steps']} steps\n"
        f"exact match on {metrics['valid_queries']} validation queries:\n" + "\n".join(lines)
    )


def tasks(
    out: Annotated[Path, typer.Argument(help="Folder for train.jsonl, valid.jsonl, test.jsonl.")],
    json: JsonOption = False,
) -> None:
    """Write the bundled tasks (g2p, p2g, stress, syllables) as query records."""
    from escalade.cli.output import print_json, result_console
    from escalade.training.data import write_splits

    sizes = write_splits(out)
    if json:
        print_json(sizes)
        return
    for split, size in sizes.items():
        result_console().print(f"{out / f'{split}.jsonl'}: {size} queries")


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
