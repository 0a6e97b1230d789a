"""Rounding of weights: each to its nearest step, or so that products stay."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.artifact import PlanesEntry, join_planes, kernel_bits
from escalade.export.quantization.blocks import (
    Rounded,
    round_on,
    round_to_nearest,
)
from escalade.export.quantization.fitting import fit_grid
from escalade.export.quantization.gptq import damped, gptq_round
from escalade.export.quantization.packing import pack, pack_zeros
from escalade.export.quantization.refine import refine

SHAPES = {
    "rows": st.integers(1, 9),
    "columns": st.integers(1, 70),
    "bits": st.sampled_from([4, 8]),
    "block_size": st.sampled_from([16, 32, 64]),
    "seed": st.integers(0, 1000),
}


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def read_inputs(seed: int, columns: int, count: int = 400) -> torch.Tensor:
    return random(seed, count, columns) @ random(seed + 1, columns, columns)  # correlated


def lost(rounded: Rounded, weight: torch.Tensor, hessian: torch.Tensor, size: int) -> torch.Tensor:
    """Of each row, written down as the products' squared error is defined."""
    off = (rounded.weights(size) - weight).double()
    return torch.stack([row @ hessian.double() @ row for row in off])


@given(**SHAPES)
def test_every_weight_goes_to_its_nearest_step(
    rows: int, columns: int, bits: int, block_size: int, seed: int
) -> None:
    weight = random(seed, rows, columns)
    rounded = round_to_nearest(weight, bits, block_size)
    integers = rounded.integers
    lowest = -(1 << (bits - 1))
    assert integers.min() >= lowest
    assert integers.max() <= -lowest - 1
    steps = rounded.grid.scales.abs().repeat_interleave(block_size, dim=1)[:, :columns]
    off = (rounded.weights(block_size) - weight).abs()
    # Half a step, but at the end of the range that reaches one step less far; and a scale that is
    # a float16 is up to 2^-11 off, of which the furthest of 8 bits is 128 steps.
    at_end = integers == -lowest - 1
    assert bool((off <= torch.where(at_end, 1 + 2**-4, 0.5) * steps * (1 + 1e-5)).all())


@pytest.mark.parametrize("zeros", [False, True])
def test_zeros_stay_zeros(zeros: bool) -> None:
    nothing = torch.zeros(2, 40)
    for rounded in (
        round_to_nearest(nothing, 4, 32),
        gptq_round(nothing, torch.zeros(40, 40), 4, 32, zeros=zeros),
        gptq_round(nothing, torch.eye(40), 4, 32, zeros=zeros),
    ):
        assert not rounded.weights(32).any()
        assert bool(torch.isfinite(rounded.grid.scales).all())


@given(**SHAPES, zeros=st.booleans())
def test_no_row_loses_more_than_rounded_to_nearest_on_the_same_grid(
    rows: int, columns: int, bits: int, block_size: int, seed: int, zeros: bool
) -> None:
    weight, inputs = random(seed, rows, columns), read_inputs(seed + 7, columns, count=50)
    hessian = inputs.T @ inputs
    rounded = gptq_round(weight, hessian, bits, block_size, zeros=zeros)
    nearest = round_on(rounded.grid, weight, bits, block_size)
    before = lost(nearest, weight, hessian, block_size)
    assert bool((lost(rounded, weight, hessian, block_size) <= before * (1 + 1e-3)).all())


@given(**SHAPES)
def test_fitted_scales_lose_no_more_than_the_span_and_zero_points_no_more_than_none(
    rows: int, columns: int, bits: int, block_size: int, seed: int
) -> None:
    weight, importance = random(seed, rows, columns), random(seed + 1, columns).square()

    def off(rounded: Rounded) -> float:
        return float(((rounded.weights(block_size) - weight).square() * importance).sum())

    fitted = {
        zeros: off(
            round_on(
                fit_grid(weight, importance, bits, block_size, zeros=zeros),
                weight,
                bits,
                block_size,
            )
        )
        for zeros in (False, True)
    }
    # Scales become float16 after they were chosen: of either side's weights, 2^-11 at most.
    halved = 2 * 2**-11 * float((weight.square() * importance).sum()) ** 0.5
    nearest = off(round_to_nearest(weight, bits, block_size))
    assert fitted[False] ** 0.5 <= nearest**0.5 * (1 + 1e-5) + halved
    assert fitted[True] ** 0.5 <= fitted[False] ** 0.5 * (1 + 1e-5) + halved


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("columns", [64, 96, 200])
def test_gptq_keeps_products_better_than_the_nearest(bits: int, columns: int, zeros: bool) -> None:
    weight, inputs = random(columns, 24, columns), read_inputs(columns + 1, columns)
    off = {
        name: float(((found.weights(32) - weight) @ inputs.T).square().mean())
        for name, found in (
            ("nearest", round_to_nearest(weight, bits, 32)),
            ("gptq", gptq_round(weight, inputs.T @ inputs, bits, 32, zeros=zeros)),
        )
    }
    assert off["gptq"] < 0.5 * off["nearest"]


def test_gptq_is_the_plain_algorithm_in_the_order_of_the_largest_inputs() -> None:
    weight, inputs = random(1, 6, 40), read_inputs(2, 40)
    hessian = (inputs.T @ inputs).double()
    rounded = gptq_round(weight, hessian.float(), 4, 16)
    # Algorithm 1 without its blocks: round a column, solve for all that are left, again.
    damped = hessian / hessian.diagonal().mean() + 0.1 * torch.eye(40, dtype=torch.float64)
    scales = rounded.grid.scales.repeat_interleave(16, dim=1)[:, :40].double()
    rest, plain = weight.double().clone(), torch.zeros(6, 40, dtype=torch.float64)
    left = damped.diagonal().argsort(descending=True).tolist()
    while left:
        column, *others = left
        integer = (rest[:, column] / scales[:, column]).round().clamp(-8, 7)
        plain[:, column] = integer
        error = integer * scales[:, column] - rest[:, column]
        if others:
            solved = torch.linalg.solve(damped[others][:, others], damped[others][:, column])
            rest[:, others] -= torch.outer(error, solved)
        left = others
    taken = lost(rounded, weight, hessian, 16)
    led = Rounded(plain.to(torch.int8), rounded.grid)
    assert bool((taken <= lost(led, weight, hessian, 16) * (1 + 1e-2)).all())
    assert float((rounded.integers == led.integers).float().mean()) > 0.95


def test_an_outlier_spoils_no_row_but_its_own() -> None:
    weight, inputs = random(3, 3, 64), random(4, 99, 64)
    hessian = inputs.T @ inputs
    weight[0, 0] = 1e4
    rounded = gptq_round(weight, hessian, 4, 32, zeros=True)
    assert float(rounded.weights(32)[0, 0]) == pytest.approx(1e4, rel=1e-3)
    without = gptq_round(weight[1:], hessian, 4, 32, zeros=True)
    assert torch.equal(rounded.weights(32)[1:], without.weights(32))
    before = lost(round_to_nearest(weight, 4, 32), weight, hessian, 32)
    assert bool((lost(rounded, weight, hessian, 32) < before).all())


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_packed_bytes_are_the_weights_and_what_fills_them_up_is_zero(
    bits: int, tmp_path: Path
) -> None:
    """In the kernel's own integers, which are as many times larger as its scales are smaller."""
    weight = random(5, 3, 40)
    rounded = gptq_round(weight, torch.eye(40), bits, 16, zeros=True)
    wide = kernel_bits(bits)
    planes = pack(rounded, bits, 16)
    assert sum(plane.nbytes for plane in planes) == 3 * 3 * 16 * bits / 8
    joined = planes[0]
    if len(planes) > 1:
        stored = tmp_path / "planes"
        stored.write_bytes(b"".join(plane.tobytes() for plane in planes))
        joined = join_planes(stored, [PlanesEntry(bits=bits, integers=3 * 3 * 16)])
    places = np.arange(0, 8, wide)
    codes, zeros = (
        (one[..., None] >> places & (1 << wide) - 1).reshape(3, -1).astype(np.int32)
        for one in (joined, pack_zeros(rounded.grid.zeros, bits))
    )
    scales = rounded.grid.scales.numpy().repeat(16, axis=1) / (1 << (wide - bits))
    found = (codes - zeros[:, :3].repeat(16, axis=1)) * scales
    assert found[:, :40] == pytest.approx(rounded.weights(16).numpy())
    assert not found[:, 40:].any()


@pytest.mark.parametrize("bits", [4, 8])
def test_what_was_worked_with_goes_at_once(bits: int) -> None:
    """Of a table of words it is hundreds of megabytes; Python looks for circles now and then."""
    draw = torch.Generator().manual_seed(0)
    weight, inputs = torch.randn(40, 96, generator=draw), torch.randn(60, 96, generator=draw)
    hessian = inputs.T @ inputs
    gptq_round(weight, hessian, bits, 32, zeros=True)  # what is made once
    gc.collect()
    gc.disable()
    try:
        rounded = gptq_round(weight, hessian, bits, 32, zeros=True)
        refine(weight, damped(hessian), rounded, bits, 32)
        assert gc.collect() == 0
    finally:
        gc.enable()
