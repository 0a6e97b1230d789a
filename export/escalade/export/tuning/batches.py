"""Texts side by side, to be read at once; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from escalade.export.quantization import Answered

# At most; what is computed of a batch stays in memory until its way back.
_TEXTS, _TOKENS = 64, 2048


class Batch(NamedTuple):
    """Texts, filled up with token 0 at their ends, which no place before sees."""

    #: `(B, T)`
    ids: Tensor
    #: `(B, T)`, whether the next token is one of an answer.
    counted: Tensor

    def parts(self, count: int) -> list[Batch]:
        """At most so many, of as many texts each as may be."""
        ids, counted = (one.tensor_split(count) for one in self)
        return [Batch(*part) for part in zip(ids, counted, strict=True) if len(part[0])]


def batches_of(texts: Sequence[Answered]) -> list[Batch]:
    """Of texts about as long as one another."""
    found: list[list[Answered]] = []
    for text in sorted(texts, key=lambda one: len(one.ids)):
        if found and len(found[-1]) < _TEXTS and (len(found[-1]) + 1) * len(text.ids) <= _TOKENS:
            found[-1].append(text)
        else:
            found.append([text])
    return [_batch(some) for some in found]


def _batch(texts: Sequence[Answered]) -> Batch:
    ids = torch.zeros(len(texts), len(texts[-1].ids), dtype=torch.long)
    counted = torch.zeros(ids.shape, dtype=torch.bool)
    for row, (text, first) in enumerate(texts):
        ids[row, : len(text)] = text
        counted[row, first - 1 : len(text) - 1] = True
    return Batch(ids, counted)
