"""Tuning of rounded matrices by a loss of all: what may move, and where it goes."""

from __future__ import annotations

import pytest
import torch

from escalade.export.quantization import (
    Rounded,
    Tuned,
    divergence,
    levels_for,
    round_to_nearest,
    tune,
)

BITS, SIZE = 4, 32


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tuned_once(few: bool) -> tuple[Rounded, Rounded, float, float]:
    """A matrix before and after, and what it says that is off."""
    weight, inputs = random(0, 40, 64), random(1, 4, 50, 64)
    levels = levels_for(weight, BITS, SIZE, zeros=False) if few else None
    before = round_to_nearest(weight, BITS, SIZE, levels=levels)
    matrix = Tuned(before, BITS, SIZE, few_scales=few)
    assert torch.equal(matrix.weights().detach(), before.weights(SIZE))

    def loss(batch: int) -> torch.Tensor:
        exact, found = (inputs[batch] @ one.T for one in (weight, matrix.weights()))
        return divergence(exact[None], found[None], torch.ones(1, 50))

    with torch.no_grad():
        off = sum(float(loss(batch)) for batch in range(4))
    tune({"w": matrix}, [], loss, 4, steps=300)
    with torch.no_grad():
        return before, matrix.rounded, off, sum(float(loss(batch)) for batch in range(4))


@pytest.mark.parametrize("few", [False, True])
def test_the_loss_falls_and_what_is_stored_stays_of_its_kind(few: bool) -> None:
    before, after, off, lower = tuned_once(few)
    assert lower < 0.95 * off
    assert (after.integers != before.integers).any()
    assert after.integers.min() >= -8
    assert after.integers.max() <= 7
    assert after.grid.zeros is before.grid.zeros is None
    scales = after.grid.scales
    if few:
        assert set(scales.flatten().tolist()) <= set(before.grid.scales.flatten().tolist())
    else:
        assert torch.equal(scales, scales.half().float())
        assert not torch.equal(scales, before.grid.scales)


def test_it_is_the_same_every_time() -> None:
    (_, one, *lost), (_, other, *again) = tuned_once(False), tuned_once(False)
    assert torch.equal(one.integers, other.integers)
    assert torch.equal(one.grid.scales, other.grid.scales)
    assert lost == again


def test_places_that_do_not_count_cost_nothing() -> None:
    exact, found = random(2, 2, 3, 9), random(3, 2, 3, 9)
    counted = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    want = [
        float((exact[row, at].softmax(-1) * (
            exact[row, at].log_softmax(-1) - found[row, at].log_softmax(-1)
        )).sum())
        for row, at in ((0, 0), (0, 2), (1, 2))
    ]  # fmt: skip
    assert float(divergence(exact, found, counted)) == pytest.approx(sum(want) / 3, rel=1e-5)
