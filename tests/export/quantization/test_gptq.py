"""Rounding of weights: each to its nearest step, or so that products stay."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from escalade.export.quantization.gptq import gptq_round, round_to_nearest


def dequantized(integers: torch.Tensor, scales: torch.Tensor, block_size: int) -> torch.Tensor:
    wide = scales.repeat_interleave(block_size, dim=1)[:, : integers.shape[1]]
    return integers * wide


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 70),
    bits=st.sampled_from([4, 8]),
    block_size=st.sampled_from([16, 32, 64]),
    seed=st.integers(0, 1000),
)
def test_every_weight_goes_to_its_nearest_step(
    rows: int, columns: int, bits: int, block_size: int, seed: int
) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    integers, scales = round_to_nearest(weight, bits, block_size)
    lowest = -(1 << (bits - 1))
    assert integers.min() >= lowest
    assert integers.max() <= -lowest - 1
    steps = scales.abs().repeat_interleave(block_size, dim=1)[:, :columns]
    off = (dequantized(integers, scales, block_size) - weight).abs()
    # Half a step, but at the end of the range that reaches one step less far.
    at_end = integers == -lowest - 1
    assert bool((off <= torch.where(at_end, 1.0, 0.5) * steps * (1 + 1e-5)).all())


def test_zeros_stay_zeros() -> None:
    integers, scales = round_to_nearest(torch.zeros(2, 40), 4, 32)
    assert not integers.any()
    assert bool(torch.isfinite(scales).all())


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [64, 96, 200])
def test_gptq_keeps_products_better_than_the_nearest(bits: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    weight = torch.randn(24, columns, generator=generator)
    mixing = torch.randn(columns, columns, generator=generator)
    inputs = torch.randn(400, columns, generator=generator) @ mixing  # correlated, as real ones
    lost = {
        name: float(((dequantized(*found, 32) - weight) @ inputs.T).square().mean())
        for name, found in (
            ("nearest", round_to_nearest(weight, bits, 32)),
            ("gptq", gptq_round(weight, inputs.T @ inputs, bits, 32)),
        )
    }
    assert lost["gptq"] < 0.5 * lost["nearest"]
