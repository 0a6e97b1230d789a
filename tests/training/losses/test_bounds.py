"""What a loss refuses, and what extreme values it takes."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from loss_reference import Batch, top_k, wide

from escalade.training.errors import LossError
from escalade.training.losses.filters import LOSSES, LossName, needs_distribution, needs_teacher
from escalade.training.losses.losses import Predictions, token_loss


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_counted(name: LossName, value: float) -> None:
    batch = wide(9, torch.float32)
    batch.logits[0, 1, 4] = batch.logits[1, 2, 0] = value
    batch.logits[1, 1, 0] = value  # no target there
    with pytest.raises(LossError, match="not finite at 2 of 5 target tokens"):
        batch.loss(name, batch.logits)


def test_only_what_a_loss_looks_at_is_asked_for() -> None:
    batch = wide(9, torch.float32)
    for name in LOSSES:
        if needs_teacher(name):
            with pytest.raises(LossError, match=f"'{name}' looks at a large model"):
                token_loss(name, batch.logits, batch.targets)
        else:
            alone = token_loss(name, batch.logits, batch.targets)
            assert alone.total == batch.loss(name, batch.logits).total
            assert alone.counts[[0, 2]].tolist() == [0, 0]
        argmax = Predictions(batch.teacher.argmax)
        if needs_distribution(name):
            with pytest.raises(LossError, match=f"'{name}' looks at .* distribution"):
                token_loss(name, batch.logits, batch.targets, argmax)
        else:
            known = token_loss(name, batch.logits, batch.targets, argmax)
            assert torch.equal(known.counts, batch.loss(name, batch.logits).counts)


@pytest.mark.parametrize("w", [-0.1, 1.1, math.nan])
def test_w_out_of_range_is_refused_with_its_value(w: float) -> None:
    batch = dataclasses.replace(wide(9, torch.float32), w=w)
    with pytest.raises(LossError, match=rf"w must be in \[0, 1\], got {w}"):
        batch.loss("dist", batch.logits)


def test_what_does_not_fit_is_refused_by_name() -> None:
    logits, labels = torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.int64)
    ids, floats = torch.zeros(2, 3, 2, dtype=torch.int64), torch.zeros(2, 3, 2)
    with pytest.raises(LossError, match="one of xent, .*cat-dist-s, got 'nll'"):
        token_loss("nll", logits, labels)  # type: ignore[arg-type]
    with pytest.raises(LossError, match=r"labels must be in \[0, 5\) or -100, got 5 \(1 such"):
        token_loss("xent", logits, torch.tensor([[0, 0, 0], [0, 5, 0]]))
    with pytest.raises(LossError, match=r"got -1 "):
        token_loss("xent", logits, labels - 1)
    with pytest.raises(LossError, match=r"logits must be \(B, T, V\).*got \(3, 5\)"):
        token_loss("xent", logits[0], labels)
    with pytest.raises(LossError, match=r"targets must be \(2, 3\) of torch.int64, got \(2, 2\)"):
        token_loss("xent", logits, labels[:, 1:])
    with pytest.raises(LossError, match=r"keep must be .* torch.bool, got \(2, 3\) of torch.int64"):
        token_loss("xent", logits, labels, keep=labels)
    with pytest.raises(LossError, match="chunk_bytes must be at least 1, got 0"):
        token_loss("xent", logits, labels, chunk_bytes=0)
    for teacher, complaint in (
        (Predictions(labels[:1]), r"teacher.argmax must be \(2, 3\)"),
        (Predictions(labels, ids[0], floats), r"teacher.top_ids must be \(2, 3, k\)"),
        (Predictions(labels, ids, ids), "teacher.top_logprobs must be .* of a float type"),
        (Predictions(labels, ids, floats[..., :1]), "must be alike"),
        (Predictions(labels, ids), "must be alike"),
        (Predictions(labels, logits=floats[:, :2]), r"teacher.logits must be \(2, 3, V'\)"),
    ):
        with pytest.raises(LossError, match=complaint):
            token_loss("dist", logits, labels, teacher)


@pytest.mark.parametrize("k", [None, 1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(dtype: torch.dtype, k: int | None) -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]]], dtype=dtype)
    large = torch.tensor([[[-1e4, 1e4, 0.0], [1e4, -1e4, -1e4]]], dtype=dtype)
    teacher = Predictions(large.argmax(-1), logits=large) if k is None else top_k(large, k)
    result, grad = Batch(logits, torch.tensor([[1, 0]]), teacher, 0.5).gradient("dist")
    assert result.total.item() == pytest.approx(4e4, rel=0.01)  # labels lie 2e4 below the top
    assert torch.isfinite(grad).all()


def test_masked_columns_are_no_error_where_no_mass_is_on_them() -> None:
    masked = torch.tensor([[[1.0, 2.0, -math.inf, -math.inf]]])
    cut = masked[..., :2]
    labels = torch.tensor([[0]])
    large = torch.zeros(1, 1, 2)
    for teacher in (Predictions(large.argmax(-1), logits=large), top_k(large, 2)):
        batch, wanted = (Batch(logits, labels, teacher, 0.5) for logits in (masked, cut))
        (got, grad), (total, cut_grad) = batch.gradient("dist"), wanted.gradient("dist")
        assert got.total.item() == pytest.approx(total.total.item())
        assert grad[..., 2:].tolist() == [[[0.0, 0.0]]]
        torch.testing.assert_close(grad[..., :2], cut_grad)
