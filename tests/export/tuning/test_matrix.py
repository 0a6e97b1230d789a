"""What a rounded matrix is stored as: where it goes by gradient, and of what kind it stays."""

from __future__ import annotations

import pytest
import torch

from escalade.export.quantization import Rounded, levels_for, round_to_nearest
from escalade.export.tuning.descent import descend
from escalade.export.tuning.matrix import Tuned, rounded_inputs

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
        exact, found = (
            (inputs[batch] @ one.T).log_softmax(-1) for one in (weight, matrix.weights())
        )
        return torch.nn.functional.kl_div(found, exact, reduction="batchmean", log_target=True)

    with torch.no_grad():
        off = sum(float(loss(batch)) for batch in range(4))
    moving = [(1e-3, [matrix.shares]), (1e-2, [matrix.places])]
    descend(moving, lambda batch: loss(batch).backward(), 4, steps=300)
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


def test_inputs_are_rounded_by_their_blocks_and_their_gradients_are_not() -> None:
    values = random(2, 3, 40).requires_grad_(True)  # the last block is of 8
    values.data[1, :32] = 0
    found = rounded_inputs(values, 32)
    for first, last in ((0, 32), (32, 40)):
        steps = values[:, first:last].abs().amax(1, keepdim=True) / 127
        assert ((found - values)[:, first:last].abs() <= 0.5001 * steps).all()
    assert len(found[0, :32].unique()) > 20
    assert (found[1, :32] == 0).all()
    found.backward(random(3, 3, 40))
    assert torch.equal(values.grad, random(3, 3, 40))
