"""`escalade train`: a recipe run to its checkpoint; knows no network."""

from __future__ import annotations

from collections.abc import Mapping
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
    keep_prompts: Annotated[
        int | None,
        typer.Option(
            "--keep-prompts",
            min=0,
            max=4096,  # escalade.checkpoint.MOST_PROMPTS
            help="Of the training split, in the checkpoint, for export to round by; 0: none."
            " Default: the recipe's run.keep_prompts, 4096.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train what a recipe says; a run that was cut off goes on where it was."""
    from escalade.checkpoint import PROMPTS_NAME
    from escalade.cli.output import print_json, progress_bar, result_console
    from escalade.edge.base import counted

    out = out or Path(recipe.stem)
    with progress_bar(recipe.stem) as bar:
        from escalade.training.recipes import run_recipe  # with torch, which takes seconds

        def show(stage: str, done: int, total: int, logged: Mapping[str, float]) -> None:
            bar(done, total)
            if logged:
                numbers = ", ".join(f"{name} {value:.4g}" for name, value in logged.items())
                bar.say(f"{stage} {done}/{total}: {numbers}")

        metrics = run_recipe(recipe, out, progress=show, say=bar.say, keep_prompts=keep_prompts)
    if not metrics:  # not the first process of `accelerate launch`
        return
    if json:
        print_json(metrics)
        return
    lines = [f"  {task}: {share:.1%}" for task, share in dict(metrics["valid_exact_match"]).items()]
    result_console().print(
        f"{out}: {metrics['parameters']:,} parameters, {counted(metrics['steps'], 'step')}\n"
        f"exact match on {metrics['valid_queries']} validation queries:\n" + "\n".join(lines)
    )
    if kept := metrics["kept_prompts"]:
        result_console().print(
            f"{kept:,} prompts of the training split are kept in {out / PROMPTS_NAME}, for export"
            " to round by; who has the folder can read them (--keep-prompts 0 keeps none)"
        )
