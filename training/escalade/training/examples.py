"""Turns query records into padded token batches with labels; knows no loss, no optimizer.

A prompt is encoded with the tokenizer's special tokens, a response without, then closed
by the end-of-sequence token. Prompt tokens carry the label `IGNORE`: they never count.
A record with several references becomes one example for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from escalade.edge.errors import DataError
from escalade.edge.records import Record
from escalade.training.losses import IGNORE


class Example(TypedDict):
    """One training sequence: prompt, response and end, with a label for each token."""

    input_ids: list[int]
    labels: list[int]


class Examples(Dataset[Example]):
    """Every (query, reference) pair of some records, tokenized once, in memory."""

    def __init__(
        self, records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, *, max_tokens: int
    ) -> None:
        """Tokenize all records.

        Raises:
            DataError: a record has no reference, or is longer than `max_tokens`.
        """
        pairs = [(record, text) for record in records for text in record.references]
        for record in records:
            if not record.references:
                raise DataError(f"record {record.id!r}: references is empty; at least 1 is needed")
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
                Example(input_ids=[*prompt, *response], labels=[IGNORE] * len(prompt) + response)
            )

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Example:
        return self._examples[index]


class Collator:
    """Pads examples on the right to the longest of the batch, rounded up to 8."""

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Give `input_ids`, `attention_mask` and `labels`, each `(B, T)` int64."""
        longest = max(len(example["input_ids"]) for example in examples)
        width = -(-longest // 8) * 8  # few widths, so that a compiled model sees few shapes

        def pad(values: list[int], fill: int) -> list[int]:
            return values + [fill] * (width - len(values))

        return {
            "input_ids": torch.tensor([pad(e["input_ids"], self._pad) for e in examples]),
            "attention_mask": torch.tensor([pad([1] * len(e["input_ids"]), 0) for e in examples]),
            "labels": torch.tensor([pad(e["labels"], IGNORE) for e in examples]),
        }
