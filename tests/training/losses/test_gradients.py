"""Gradients of the losses: where they are written, and what they reach."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_reference import Batch, batches, wide

from escalade.training.losses.filters import LOSSES, LossName
from escalade.training.losses.losses import IGNORE, Predictions


@pytest.mark.parametrize("name", LOSSES)
@given(batches(), st.sampled_from([1.0, 0.125]))
@settings(max_examples=15, deadline=None)
def test_the_gradient_is_the_same_in_the_logits_own_storage(
    name: LossName, batch: Batch, scale: float
) -> None:
    _, plain = batch.gradient(name, scale=scale)
    _, overwritten = batch.gradient(name, scale=scale, overwrite=True)
    assert torch.equal(plain, overwritten)
    _, whole = batch.gradient(name)  # a power of two scales without rounding
    torch.testing.assert_close(plain, whole * scale, rtol=0, atol=1e-38)


def test_without_a_gradient_nothing_is_written() -> None:
    batch = wide(9, torch.float32)
    logits = batch.logits.clone().requires_grad_()
    with torch.no_grad():
        assert not batch.loss("cat-dist", logits, overwrite=True).total.requires_grad
    assert not batch.loss("cat-dist", logits.detach(), overwrite=True).total.requires_grad
    assert torch.equal(logits, batch.logits)


def test_an_op_that_saved_overwritten_logits_says_so() -> None:
    batch = wide(9, torch.float32)
    hidden = batch.logits.clone().requires_grad_()
    batch.loss("dist", hidden.tanh()).total.backward()  # tanh saves its result
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        batch.loss("dist", hidden.tanh(), overwrite=True).total.backward()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_slice_and_a_transposed_tensor_learn_like_a_contiguous_one(overwrite: bool) -> None:
    batch = wide(9, torch.float32)
    _, wanted = batch.gradient("cat-dist")
    longer = torch.cat([batch.logits, batch.logits[:, :1]], dim=1).requires_grad_()
    batch.loss("cat-dist", longer.clone()[:, :-1], overwrite=overwrite).total.backward()
    assert longer.grad is not None
    assert torch.equal(longer.grad[:, :-1], wanted)
    turned = batch.logits.transpose(1, 2).contiguous().requires_grad_()
    batch.loss("cat-dist", turned.clone().transpose(1, 2), overwrite=overwrite).total.backward()
    assert turned.grad is not None
    assert torch.equal(turned.grad.transpose(1, 2), wanted)


def test_no_gradient_reaches_the_teacher() -> None:
    batch = wide(9, torch.float32)
    large = batch.teacher.logits
    assert large is not None
    large.requires_grad_()
    batch.gradient("dist")
    assert large.grad is None


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("label", [2, IGNORE])
def test_where_no_token_counts_loss_and_gradient_are_zero(label: int, overwrite: bool) -> None:
    logits = torch.tensor([[[5.0, 0, 0], [0, 5, 0]]])
    large = torch.tensor([[[0.0, 5, 0], [5, 0, 0]]])
    teacher = Predictions(large.argmax(-1), logits=large)
    batch = Batch(logits, torch.full((1, 2), label), teacher, 0.5)
    result, grad = batch.gradient("cat-dist", scale=0.5, overwrite=overwrite)
    assert (result.total.item(), int(result.kept)) == (0.0, 0)
    assert grad.tolist() == torch.zeros(1, 2, 3).tolist()


@given(batches())
@settings(max_examples=30, deadline=None)
def test_a_filter_takes_gradients_away_and_rescales_none(batch: Batch) -> None:
    batch = dataclasses.replace(batch, keep=None)
    _, unfiltered = batch.gradient("dist")
    got, filtered = batch.gradient("cat-dist")
    small = batch.logits.float().argmax(-1) == batch.targets
    kept = (batch.targets != IGNORE) & (small | (batch.teacher.argmax == batch.targets))
    assert int(got.kept) == int(kept.sum())
    assert torch.count_nonzero(filtered[~kept]) == 0
    assert torch.equal(filtered[kept], unfiltered[kept])
