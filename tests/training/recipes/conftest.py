"""A folder of queries, recipes of a very small model, and a finished run of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.edge.base.records import Record, write_records
from escalade.training.recipes.run import run_recipe

# Steps of 8 examples each, over 50: of 12, the second epoch begins at step 8.
RECIPE = """
name = "tiny"
seed = {seed}
loss = "{loss}"
tokenizer = "{tokenizer}"
{teacher}
[model.config]
model_type = "llama"
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
max_position_embeddings = 96
tie_word_embeddings = true
attention_dropout = {dropout}
{config}
[data]
source = "data"
valid_size = 8
[optim]
steps = {steps}
batch_size = 8
learning_rate = 1e-2
warmup_steps = 2
[run]
checkpoint_steps = 3
log_steps = {log_steps}
"""

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 50 training and 10 validation queries: how long is this word?"""
    folder = tmp_path_factory.mktemp("workplace")
    letters = "abcde"
    words = [a + b for a in letters for b in letters] + [
        a * 3 + b for a in letters for b in letters
    ]
    records = [
        Record(id=word, task="syllables", prompt=f"syllables: {word}", references=[str(len(word))])
        for word in words
    ]
    write_records(folder / "data" / "train.jsonl", records)
    write_records(folder / "data" / "valid.jsonl", records[::5])
    return folder


@pytest.fixture(scope="module")
def write(workplace: Path) -> Write:
    """Write a recipe into the workplace, with some of its values changed."""

    def write_recipe(name: str = "tiny", **changes: object) -> Path:
        values: dict[str, object] = {
            "seed": 1, "loss": "xent", "tokenizer": "bundled", "teacher": "", "dropout": 0.1,
            "config": "", "steps": 12, "log_steps": 4, **changes,
        }  # fmt: skip
        path = workplace / f"{name}.toml"
        path.write_text(RECIPE.format(**values))
        return path

    return write_recipe


@pytest.fixture(scope="module")
def finished(workplace: Path, write: Write) -> Path:
    """The checkpoint of a run that nothing disturbed."""
    run_recipe(write(), workplace / "finished", progress=lambda *_: None)
    return workplace / "finished"
