"""A rounded matrix is moved to where its products lose less, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from escalade.export.quantization import Rounded, damped, gptq_round, refine, round_to_nearest


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(seed: int, columns: int) -> torch.Tensor:
    inputs = random(seed, 400, columns) @ random(seed + 1, columns, columns)
    return damped(inputs.T @ inputs)


def lost(rounded: Rounded, weight: torch.Tensor, hessian: torch.Tensor, size: int) -> torch.Tensor:
    """Of each row, as it is defined."""
    off = (rounded.weights(size) - weight).double()
    return torch.stack([row @ hessian.double() @ row for row in off])


@example(rows=1, columns=37, bits=4, block_size=32, zeros=True, size=1.0, seed=37)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 70),
    bits=st.sampled_from([2, 3, 4, 5, 6]),
    block_size=st.sampled_from([16, 32]),
    zeros=st.booleans(),
    size=st.sampled_from([1e-7, 1.0, 1e4]),
    seed=st.integers(0, 1000),
)
def test_no_row_loses_more_and_each_number_stays_one_that_is_stored(
    rows: int, columns: int, bits: int, block_size: int, zeros: bool, size: float, seed: int
) -> None:
    weight, hessian = size * random(seed, rows, columns), correlated(seed + 7, columns)
    before = gptq_round(weight, hessian, bits, block_size, zeros=zeros)
    given = before.grid.scales.clone(), before.integers.clone()
    after = refine(weight, hessian, before, bits, block_size)
    assert torch.equal(before.grid.scales, given[0])
    assert torch.equal(before.integers, given[1])
    was = lost(before, weight, hessian, block_size)
    assert bool((lost(after, weight, hessian, block_size) <= was * (1 + 1e-3) + 1e-20).all())
    lowest = -(1 << (bits - 1))
    assert lowest <= int(after.integers.min()) <= int(after.integers.max()) <= -lowest - 1
    scales = before.grid.scales
    if torch.equal(scales, scales.half().float()):
        assert torch.equal(after.grid.scales, after.grid.scales.half().float())
    assert bool((after.grid.scales != 0).all())
    assert (after.grid.zeros is None) == (before.grid.zeros is None)


@pytest.mark.parametrize(("bits", "least"), [(2, 0.1), (4, 0.05)])
def test_what_is_lost_falls(bits: int, least: float) -> None:
    weight, hessian = random(1, 24, 96), correlated(2, 96)
    before = gptq_round(weight, hessian, bits, 32, zeros=True)
    after = refine(weight, hessian, before, bits, 32)
    was, now = (float(lost(one, weight, hessian, 32).sum()) for one in (before, after))
    assert now < (1 - least) * was
    again = refine(weight, hessian, before, bits, 32)
    assert torch.equal(after.integers, again.integers)
    assert torch.equal(after.grid.scales, again.grid.scales)


def test_what_is_at_its_best_and_what_is_zero_stays() -> None:
    whole = torch.tensor([[-8.0, 3.0, 1.0, 7.0] * 8])
    for weight in (whole, torch.zeros(2, 32)):
        exact = round_to_nearest(weight, 4, 32)
        after = refine(weight, correlated(3, 32), exact, 4, 32)
        assert torch.equal(after.integers, exact.integers)
        assert torch.equal(after.weights(32), weight)
