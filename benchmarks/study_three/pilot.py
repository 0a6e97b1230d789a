"""Chooses the learning rate on the validation split, by the small baseline alone."""

from __future__ import annotations

import dataclasses
import json

from benchmarks.study.jobs import Share
from benchmarks.study_three import training
from benchmarks.study_three.arms import ARMS, Round, Settings, small_name
from benchmarks.study_three.recipes import recipe_of

from escalade.training.recipes import run_recipe

LEARNING_RATES = (5e-4, 1e-3, 2e-3)


def run(settings: Settings, share: Share) -> None:
    """Train the first round of small's baseline with each rate; print what the split says."""
    for rate in LEARNING_RATES[share.number :: share.of]:
        tried = dataclasses.replace(settings, learning_rate=rate)
        name = small_name(ARMS[0], 1)
        first = Round(name, "small", "xent", "any", None, None, 1)
        folder = settings.out / "pilot" / f"{rate:g}-{tried.steps}"
        recipe = folder.with_name(f"{folder.name}.toml")
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(recipe_of(tried, first, settings.seeds[0], steps=tried.steps))
        if not (folder / "metrics.json").exists():
            run_recipe(recipe, folder, progress=lambda *_: None)
        match = json.loads((folder / "metrics.json").read_text())["valid_exact_match"]["mean"]
        log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
        training.say(f"learning rate {rate:g}: {match:.4f} right, {losses[-1]:.4f} nats a token")
