"""Turns query records into padded token batches with labels; knows no loss, no optimizer.

A prompt is encoded with the tokenizer's special tokens, a response without, then closed
by the end-of-sequence token. For a causal LM the two are one sequence in which prompt
tokens carry the label `IGNORE`; for an encoder-decoder the prompt is the input and the
response the labels. Either way prompt tokens never count. A record with several
references becomes one example for each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from escalade.edge.base import Record
from escalade.edge.errors import DataError
from escalade.training.losses import IGNORE


class Example(TypedDict):
    """One training sequence, its labels, and its place in the data set."""

    input_ids: list[int]
    labels: list[int]
    #: What a prediction cache looks up; also a column to add to a data set of your own.
    example_index: int


class ExampleList(Protocol):
    """A data set's examples by number: `Examples`, a list, a Hugging Face data set."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Example:
        """One of them."""
        ...


class Examples(Dataset[Example]):
    """Every (query, reference) pair of some records, tokenized once, in memory."""

    def __init__(
        self,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_tokens: int,
        seq2seq: bool = False,
    ) -> None:
        """Tokenize all records.

        Raises:
            DataError: a record has no reference, or is longer than `max_tokens`.
        """
        pairs = [(record, text) for record in records for text in record.references]
        check_references(records)
        prompts = tokenizer([record.prompt for record, _ in pairs])["input_ids"]
        answers = tokenizer([text for _, text in pairs], add_special_tokens=False)["input_ids"]
        self._examples: list[Example] = []
        for (record, _), prompt, answer in zip(pairs, prompts, answers, strict=True):
            response = [*answer, tokenizer.eos_token_id]
            if len(prompt) + len(response) > max_tokens:
                raise DataError(
                    f"record {record.id!r}: prompt and response take"
                    f" {len(prompt) + len(response)} tokens, max_tokens is {max_tokens}"
                )
            self._examples.append(
                Example(
                    input_ids=prompt if seq2seq else [*prompt, *response],
                    labels=response if seq2seq else [IGNORE] * len(prompt) + response,
                    example_index=len(self._examples),
                )
            )

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]


def check_references(records: Iterable[Record]) -> None:
    """Refuse records without references: nothing to learn, and nothing to judge an answer by.

    Raises:
        DataError: a record has none.
    """
    for record in records:
        if not record.references:
            raise DataError(f"record {record.id!r}: references is empty; at least 1 is needed")


def target_counts(examples: ExampleList, *, seq2seq: bool = False) -> list[int]:
    """How many tokens of each example count: the labels that are not `IGNORE`.

    Nothing predicts a causal LM's first token, so that its label never counts.
    """
    first = 0 if seq2seq else 1
    return [
        sum(label != IGNORE for label in example["labels"][first:]) for example in _each(examples)
    ]


def check_labels(examples: ExampleList, vocabulary_size: int) -> None:
    """Refuse labels that no logit stands for, before the first step.

    Raises:
        DataError: a label is neither `IGNORE` nor in [0, vocabulary_size).
    """
    for number, example in enumerate(_each(examples)):
        counted = [label for label in example["labels"] if label != IGNORE]
        for label in (min(counted, default=0), max(counted, default=0)):
            if not 0 <= label < vocabulary_size:
                raise DataError(
                    f"example {number}: labels must be in [0, {vocabulary_size - 1}] or"
                    f" {IGNORE}, got {label}"
                )


def fingerprint(examples: ExampleList) -> str:
    """sha256 over every example's token ids and labels, in order, in hexadecimal."""
    digest = hashlib.sha256()
    for example in _each(examples):
        for values in (example["input_ids"], example["labels"]):
            ids = np.asarray(values, dtype="<i4")
            digest.update(len(ids).to_bytes(4, "little") + ids.tobytes())
    return digest.hexdigest()


def _each(examples: ExampleList) -> Iterator[Example]:
    return (examples[index] for index in range(len(examples)))


class Collator:
    """Pads examples on the right to the longest of the batch, rounded up to 8."""

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Give `input_ids`, `attention_mask`, `labels` `(B, T)` and `example_index` `(B,)`."""
        inputs = [example["input_ids"] for example in examples]
        return {
            "input_ids": _padded(inputs, self._pad),
            "attention_mask": _padded([[1] * len(ids) for ids in inputs], 0),
            "labels": _padded([example["labels"] for example in examples], IGNORE),
            "example_index": torch.tensor([example["example_index"] for example in examples]),
        }


def _padded(rows: Sequence[list[int]], fill: int) -> Tensor:
    # Few widths, so that a compiled model sees few shapes.
    width = -(-max(map(len, rows)) // 8) * 8
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])
