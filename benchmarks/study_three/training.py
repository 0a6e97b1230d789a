"""Makes the models of the study, recipe by recipe, and has each answer; knows no statistic."""

from __future__ import annotations

import dataclasses
import json
import time
from functools import cache
from pathlib import Path

import torch
from benchmarks.study.data import MAX_TOKENS, queries, tokenizer_of
from benchmarks.study.jobs import keep_settings
from benchmarks.study_three.arms import ROUNDS, Round, Settings
from benchmarks.study_three.cutting import cut_out
from benchmarks.study_three.recipes import cache_path, recipe_of, teaches

from escalade.edge.base import Record, atomic_write, write_records
from escalade.training.data import Split
from escalade.training.examples import Examples
from escalade.training.recipes import fingerprint_of, load_teacher, open_checkpoint, run_recipe
from escalade.training.teachers import write_cache
from escalade.training.trace import answer_all
from escalade.v1.identity import weights_revision

SPLITS: tuple[Split, ...] = ("valid", "test")


def prepare(settings: Settings) -> None:
    """What all seeds share: queries, the first medium model, what it and large predict and say."""
    write_data(settings)
    cut = settings.out / "medium-cut"
    if not cut.exists():
        cut_out(settings.large, cut, layers=settings.medium_layers, width=settings.medium_width)
    base = Round("medium-base", "medium", "xent", "any", None, None, 0)
    run(settings, base, 1, steps=settings.base_steps)
    _answers(settings, settings.large, settings.out / "large")
    _predictions(settings, settings.large)


def check_same(settings: Settings) -> None:
    """Refuse a folder that holds runs under other settings, or from other checkpoints."""
    checkpoints = ("small", "large")
    kept = {
        name: str(value)
        for name, value in dataclasses.asdict(settings).items()
        if name not in ("out", "seeds", *checkpoints)
    }
    kept |= {name: weights_revision(getattr(settings, name)) for name in checkpoints}
    keep_settings(settings.out, kept)


def write_data(settings: Settings) -> None:
    """The queries that recipes name."""
    settings.out.mkdir(parents=True, exist_ok=True)
    data = settings.out / "data"
    data.mkdir(exist_ok=True)
    if not (data / "valid.jsonl").exists():  # written last
        write_records(data / "train.jsonl", queries("train", settings.train_queries))
        write_records(data / "valid.jsonl", queries("valid", settings.valid_queries))


def say(text: str) -> None:
    """A line with the time of the day."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(settings: Settings, one: Round, seed: int, *, steps: int) -> None:
    """Train a round, unless it is there, and have its model answer where it is a last one."""
    folder = settings.folder(seed, one.name)
    recipe = folder.with_name(f"{one.name}.toml")
    if not (folder / "metrics.json").exists():
        recipe.parent.mkdir(parents=True, exist_ok=True)
        recipe.write_text(recipe_of(settings, one, seed, steps=steps))
        run_recipe(recipe, folder, progress=lambda *_: None)
    if one.number in (0, ROUNDS):
        _answers(settings, folder, folder)
    if teaches(one):
        _predictions(settings, folder)


@cache
def _examples(settings: Settings) -> Examples:
    return Examples(
        queries("train", settings.train_queries),
        tokenizer_of(settings.small),
        max_tokens=MAX_TOKENS,
    )


def answers_path(folder: Path, split: str) -> Path:
    """Where a model's answers to a split lie."""
    return folder / f"answers-{split}.json"


def split_queries(settings: Settings, split: Split) -> list[Record]:
    """The queries of a split that are answered."""
    if split == "valid":
        return queries("valid", settings.valid_queries)
    return queries("test", settings.test_queries)


def _answers(settings: Settings, model: Path, folder: Path) -> None:
    if all(answers_path(folder, split).exists() for split in SPLITS):
        return
    opened, tokenizer = open_checkpoint(str(model))
    folder.mkdir(parents=True, exist_ok=True)
    parameters = sum(one.numel() for one in opened.parameters())
    for split in SPLITS:
        said = answer_all(opened, tokenizer, split_queries(settings, split))
        with atomic_write(answers_path(folder, split)) as stream:
            stream.write(json.dumps({"parameters": parameters, "answers": said}).encode())


def _predictions(settings: Settings, model: Path) -> None:
    """Ask a teacher about every training token, once: several rounds at a time may want it."""
    path = cache_path(settings, model)
    if path.exists():
        return
    tokenizer = tokenizer_of(settings.small)
    write_cache(
        path,
        load_teacher(str(model), tokenizer),
        _examples(settings),
        tokenizer=fingerprint_of(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        top_k=0,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
