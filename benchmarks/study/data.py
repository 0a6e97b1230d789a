"""The study's queries, with known label noise where an arm asks for it; knows no loss."""

from __future__ import annotations

import random
from collections import defaultdict
from functools import cache
from pathlib import Path

import msgspec
from benchmarks.study.arms import Data, Settings
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from escalade.edge.base import Record, subsample
from escalade.training.data import Split, load_pronunciations, make_records
from escalade.training.examples import Examples

#: Longest prompt plus response, as in the recipes.
MAX_TOKENS = 96


@cache
def queries(split: Split, count: int) -> list[Record]:
    """So many queries of a split, evenly spread."""
    return subsample(list(make_records(split, load_pronunciations())), count)


def training_queries(settings: Settings, data: Data) -> list[Record]:
    """The training queries of an arm."""
    clean = queries("train", settings.train_queries)
    if data == "bundled":
        return clean
    noisy = with_wrong_answers(clean, settings.noise, settings.noise_seed)
    if data == "noisy":
        return noisy
    return [after for before, after in zip(clean, noisy, strict=True) if after == before]


def with_wrong_answers(records: list[Record], share: float, seed: int) -> list[Record]:
    """Give a share of the queries the answers of other queries of the same task.

    The wrong answers are real answers, so that nothing but the query tells them from right
    ones. A query whose new answers are right all the same keeps its own.
    """
    rng = random.Random(seed)  # noqa: S311 - an experiment, not a secret
    by_task: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        if rng.random() < share:
            by_task[record.task].append(index)
    changed = list(records)
    for chosen in by_task.values():
        givers = chosen[1:] + chosen[:1]
        for index, giver in zip(chosen, givers, strict=True):
            if not set(records[index].references) & set(records[giver].references):
                changed[index] = msgspec.structs.replace(
                    records[index], references=records[giver].references
                )
    return changed


def tokenizer_of(folder: Path) -> PreTrainedTokenizerBase:
    """A checkpoint's tokenizer."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


def training_examples(settings: Settings, data: Data) -> Examples:
    """The training queries of an arm, tokenized."""
    return Examples(
        training_queries(settings, data), tokenizer_of(settings.base), max_tokens=MAX_TOKENS
    )
