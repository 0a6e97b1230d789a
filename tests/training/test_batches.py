"""What each process computes of a data set, against accelerate's own sampler."""

from __future__ import annotations

from collections import Counter

from accelerate.data_loader import BatchSamplerShard
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, SequentialSampler

from escalade.training.batches import LengthGroupedOrder, rows_of_last_batch


@given(
    examples=st.integers(1, 60),
    rows=st.integers(1, 9),
    processes=st.integers(2, 5),
    split=st.booleans(),
)
def test_processes_together_see_every_example_once(
    examples: int, rows: int, processes: int, split: bool
) -> None:
    seen: Counter[int] = Counter()
    for process in range(processes):
        batches = BatchSampler(
            SequentialSampler(range(examples)), rows * processes if split else rows, False
        )
        *before, last = BatchSamplerShard(batches, processes, process, split_batches=split)
        own = rows_of_last_batch(len(last), examples, processes, process)
        seen.update(index for batch in (*before, last[:own]) for index in batch)
    assert seen == Counter(range(examples))


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 3))
def test_an_order_depends_on_seed_and_epoch_alone(length: int, batch_size: int, epoch: int) -> None:
    order = LengthGroupedOrder(range(length), batch_size, seed=7)
    again = LengthGroupedOrder(range(length), batch_size, seed=7)
    for one in (order, again):
        one.set_epoch(epoch)
    assert list(order) == list(again)
    assert sorted(order) == list(range(length))
