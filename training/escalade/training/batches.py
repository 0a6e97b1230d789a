"""Which examples meet in a step, whoever computes which part of it; knows no model, no loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class LengthGroupedOrder(Sampler[int]):
    """Batches of like length, in an order that depends on the seed and the epoch alone.

    transformers' own sampler draws from the global generator, so that a run resumed
    after its first epoch would see its examples in another order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = list(lengths), batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order: list[int] = get_length_grouped_indices(
            self._lengths, self._batch_size, generator=generator
        )
        return iter(order)


def rows_of_last_batch(rows: int, examples: int, processes: int, process: int) -> int:
    """How many rows of its last batch are a process's own: those after them only fill it up.

    Every process gets a batch of one size, the n-th of all batches going to process n modulo
    their number; at the end of a data set accelerate repeats examples from its beginning
    (`accelerate.data_loader.BatchSamplerShard`).

    Args:
        rows: of the batch.
        examples: of the data set, or as many as its last batches of all processes hold.
        processes: how many there are.
        process: which one asks, from 0.
    """
    left = examples % (rows * processes) or rows * processes
    return min(max(left - process * rows, 0), rows)
