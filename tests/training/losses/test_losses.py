"""Each of the eight CAT losses against the paper's formula, token by token in float64."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from loss_reference import GRADIENT_TOLERANCE, Batch, batches, reference, top_k, wide

from escalade.training.losses.filters import LOSSES, LossName
from escalade.training.losses.losses import IGNORE, Predictions, token_loss


@pytest.mark.parametrize("name", LOSSES)
@given(batches())
@settings(max_examples=40, deadline=None)
def test_every_loss_equals_the_papers_formula(name: LossName, batch: Batch) -> None:
    got, grad = batch.gradient(name)
    total, wanted_grad, counts, kept = reference(name, batch)
    assert got.total.dtype == torch.float32
    assert got.total.item() == pytest.approx(total, rel=1e-5, abs=1e-4)
    assert (got.counts.tolist(), int(got.kept)) == (counts, kept)
    torch.testing.assert_close(grad.double(), wanted_grad, **GRADIENT_TOLERANCE[grad.dtype])


@pytest.mark.parametrize("name", LOSSES)
@given(batches())
@settings(max_examples=10, deadline=None)
def test_the_chunk_size_changes_nothing(name: LossName, batch: Batch) -> None:
    by_row, whole = (dataclasses.replace(batch, chunk_bytes=n) for n in (1, 2**30))
    (one, one_grad), (other, other_grad) = by_row.gradient(name), whole.gradient(name)
    torch.testing.assert_close(one.total, other.total, rtol=1e-6, atol=1e-6)
    assert torch.equal(one_grad, other_grad)


@given(batches(bucketed=False))
@settings(max_examples=40, deadline=None)
def test_the_tail_as_one_outcome_is_a_lower_bound_and_exact_when_it_is_empty(
    batch: Batch,
) -> None:
    logits, large = batch.logits.double(), batch.teacher.logits
    assert large is not None
    V = min(logits.shape[2], large.shape[2])
    logits, large = logits[..., :V], large[..., :V].double()
    batch = dataclasses.replace(
        batch,
        logits=logits,
        targets=batch.targets.where(batch.targets < V, IGNORE),
        teacher=Predictions(large.argmax(-1), logits=large),
    )
    full, full_grad = batch.gradient("dist")
    previous = -math.inf
    for k in range(1, V + 1):
        listed = dataclasses.replace(batch, teacher=top_k(large, k))
        bucketed, grad = listed.gradient("dist")
        assert previous <= bucketed.total.item() + 1e-9
        assert bucketed.total.item() <= full.total.item() + 1e-9
        previous = bucketed.total.item()
    assert previous == pytest.approx(full.total.item(), rel=1e-9, abs=1e-9)
    torch.testing.assert_close(grad, full_grad, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [None, 8])
def test_a_vocabulary_of_150000(k: int | None, dtype: torch.dtype) -> None:
    batch = wide(150_000, dtype)
    assert batch.teacher.logits is not None
    if k is not None:
        batch = dataclasses.replace(batch, teacher=top_k(batch.teacher.logits, k))
    for name in ("cat-dist", "dist", "cat-xent-s"):
        got, grad = batch.gradient(name)
        total, wanted_grad, counts, kept = reference(name, batch)
        assert got.total.item() == pytest.approx(total, rel=1e-5)
        assert (got.counts.tolist(), int(got.kept)) == (counts, kept)
        torch.testing.assert_close(grad.double(), wanted_grad, **GRADIENT_TOLERANCE[dtype])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("k", [None, 3, 9])
def test_float64_is_computed_in_float64(name: LossName, k: int | None) -> None:
    batch = wide(9, torch.float64)
    assert batch.teacher.logits is not None
    if k is not None:
        batch = dataclasses.replace(batch, teacher=top_k(batch.teacher.logits, k))
    logits = batch.logits.clone().requires_grad_()
    assert batch.loss(name, logits).total.dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: batch.loss(name, x).total, logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_argmax_of_a_tie_is_the_lowest_id(dtype: torch.dtype) -> None:
    # 100.2 and 100 are one bfloat16.
    logits = torch.tensor([[[0.0, 0, 0], [0, 0, 0], [1, 100, 100.2]]]).to(dtype)
    kept = [
        int(token_loss("cat-xent-s", logits, torch.tensor([labels])).kept)
        for labels in ([0, IGNORE, IGNORE], [IGNORE, 1, IGNORE], [IGNORE, IGNORE, 2])
    ]
    assert kept == [1, 0, int(dtype == torch.float32)]
