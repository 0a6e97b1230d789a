"""Writes the prompts that the bundled checkpoints keep of what they were trained on.

    python -m benchmarks.training_prompts

`escalade train` writes them since they are kept; these were trained before. Each is of the training
split and the seed that its own recipe names, as a run of it would draw them now.
"""

from __future__ import annotations

from pathlib import Path

from escalade.cli.output import result_console
from escalade.training.recipes.loading import load_records
from escalade.training.recipes.prompts import write_prompts
from escalade.training.recipes.recipe import read_recipe

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"


def main() -> None:
    """Write a file into every bundled checkpoint."""
    for path in sorted(CHECKPOINTS.glob("*/recipe.toml")):
        recipe = read_recipe(path)
        train, _ = load_records(recipe)
        count = write_prompts(path.parent, train, recipe.run.keep_prompts, recipe.seed)
        result_console().print(f"{path.parent.name}: {count:,} prompts")


if __name__ == "__main__":
    main()
