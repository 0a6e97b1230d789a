"""Each CAT loss against plain loops written from equations 2, 3, 7 and 8 of the paper."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from escalade.training.losses import IGNORE, cat_dist, cat_xent, dist, learnable, xent

Rows = list[list[list[float]]]  # (B, T, V)
Labels = list[list[int]]  # (B, T)


def reference_log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    log_sum = top + math.log(sum(math.exp(x - top) for x in row))
    return [x - log_sum for x in row]


def reference_argmax(row: list[float]) -> int:
    return row.index(max(row))  # the lowest id wins a tie


def reference_loss(
    logits: Rows, labels: Labels, teacher: Rows | None, w: float, filtered: bool
) -> list[float]:
    """Equation 7, of which 2 (w = 1, no filter) and 3 (no filter) are special cases."""
    losses = []
    for b, example in enumerate(logits):
        total = 0.0
        for i, row in enumerate(example):
            y = labels[b][i]
            if y == IGNORE:
                continue
            log_p = reference_log_softmax(row)
            one_hot = log_p[y]
            soft = 0.0
            if teacher is not None:
                p_large = [math.exp(x) for x in reference_log_softmax(teacher[b][i])]
                soft = sum(p * q for p, q in zip(p_large, log_p, strict=True))
            alpha = 1
            if filtered:
                assert teacher is not None
                small_right = reference_argmax(row) == y
                alpha = int(small_right or reference_argmax(teacher[b][i]) == y)
            total -= alpha * (w * one_hot + (1 - w) * soft)
        losses.append(total)
    return losses


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, float]:
    """Logits, labels, teacher logits and w; coarse values, so that ties are common."""
    B, T, V = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(2, 6))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16]))
    value = st.one_of(
        st.integers(-3, 3).map(float), st.floats(-20.0, 20.0, width=32), st.sampled_from([0.0])
    )

    def tensor() -> Tensor:
        flat = draw(st.lists(value, min_size=B * T * V, max_size=B * T * V))
        return torch.tensor(flat).reshape(B, T, V).to(dtype)

    label = st.one_of(st.just(IGNORE), st.integers(0, V - 1))
    labels = draw(st.lists(label, min_size=B * T, max_size=B * T))
    w = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    return tensor(), torch.tensor(labels).reshape(B, T), tensor(), w


@given(batches())
@settings(max_examples=80, deadline=None)
def test_every_loss_equals_the_papers_formula(batch: tuple[Tensor, Tensor, Tensor, float]) -> None:
    logits, labels, teacher, w = batch
    rows, targets, large = logits.tolist(), labels.tolist(), teacher.tolist()
    got_and_wanted = [
        (xent(logits, labels), reference_loss(rows, targets, None, 1.0, filtered=False)),
        (dist(logits, labels, teacher, w), reference_loss(rows, targets, large, w, filtered=False)),
        (
            cat_xent(logits, labels, teacher.argmax(dim=-1)),
            reference_loss(rows, targets, large, 1.0, filtered=True),
        ),
        (
            cat_dist(logits, labels, teacher, w),
            reference_loss(rows, targets, large, w, filtered=True),
        ),
    ]
    for got, wanted in got_and_wanted:
        assert got.dtype == torch.float32
        assert got.shape == labels.shape[:1]
        torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-5, atol=1e-4)


@given(batches())
@settings(max_examples=30, deadline=None)
def test_w_of_one_leaves_the_one_hot_loss(batch: tuple[Tensor, Tensor, Tensor, float]) -> None:
    logits, labels, teacher, _ = batch
    assert torch.equal(dist(logits, labels, teacher, 1.0), xent(logits, labels))
    assert torch.equal(
        cat_dist(logits, labels, teacher, 1.0), cat_xent(logits, labels, teacher.argmax(dim=-1))
    )


@given(batches())
@settings(max_examples=30, deadline=None)
def test_filtered_tokens_get_exactly_no_gradient_and_the_others_the_unfiltered_one(
    batch: tuple[Tensor, Tensor, Tensor, float],
) -> None:
    logits, labels, teacher, w = batch
    kept = learnable(logits, labels, teacher.argmax(dim=-1))
    filtered, unfiltered = (logits.clone().requires_grad_() for _ in range(2))
    cat_dist(filtered, labels, teacher, w).sum().backward()
    dist(unfiltered, labels, teacher, w).sum().backward()
    assert filtered.grad is not None
    assert unfiltered.grad is not None
    assert torch.count_nonzero(filtered.grad[~kept]) == 0
    assert torch.equal(filtered.grad[kept], unfiltered.grad[kept])


def test_the_argmax_of_a_tie_is_the_lowest_id() -> None:
    tied = torch.zeros(1, 2, 3)
    wrong = torch.tensor([[2, 2]])
    assert learnable(tied, torch.tensor([[0, 1]]), wrong).tolist() == [[True, False]]


def test_the_filter_keeps_what_either_model_gets_right_and_no_padding() -> None:
    logits = torch.eye(4).unsqueeze(0)  # argmax 0, 1, 2, 3
    labels = torch.tensor([[0, 3, 0, IGNORE]])
    large = torch.tensor([[1, 3, 1, IGNORE]])  # as a teacher asked for the response alone pads
    assert learnable(logits, labels, large).tolist() == [[True, True, False, False]]


def test_all_tokens_filtered_give_zero_loss_and_zero_gradient() -> None:
    logits = torch.tensor([[[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]]], requires_grad=True)
    teacher = torch.tensor([[[0.0, 5.0, 0.0], [5.0, 0.0, 0.0]]])
    labels = torch.tensor([[2, 2]])
    loss = cat_dist(logits, labels, teacher, 0.5)
    assert loss.tolist() == [0.0]
    loss.sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == torch.zeros(1, 2, 3).tolist()


def test_all_tokens_ignored_give_zero_loss_and_zero_gradient() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.full((2, 3), IGNORE)
    total = xent(logits, labels) + dist(logits, labels, logits.detach(), 0.5)
    assert total.tolist() == [0.0, 0.0]
    total.sum().backward()
    assert logits.grad is not None
    assert torch.count_nonzero(logits.grad) == 0


def test_no_gradient_reaches_the_teacher() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, generator=generator).requires_grad_()
    teacher = torch.randn(2, 3, 5, generator=generator).requires_grad_()
    labels = torch.tensor([[0, 1, 2], [3, 4, IGNORE]])
    total = dist(logits, labels, teacher, 0.3) + cat_dist(logits, labels, teacher, 0.3)
    total.sum().backward()
    assert teacher.grad is None
    assert logits.grad is not None
    assert torch.count_nonzero(logits.grad) > 0


@pytest.mark.parametrize("w", [-0.1, 1.1, math.nan])
def test_w_out_of_range_is_refused_with_its_value(w: float) -> None:
    logits, labels = torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.int64)
    for loss in (dist, cat_dist):
        with pytest.raises(ValueError, match=rf"w must be in \[0, 1\], got {w}"):
            loss(logits, labels, logits, w)


def test_a_vocabulary_of_32000_agrees_with_the_reference() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(1, 2, 32_000, generator=generator) for _ in range(2))
    labels = torch.stack([logits[:, 0].argmax(-1), teacher[:, 1].argmax(-1)], dim=1)
    wanted = reference_loss(logits.tolist(), labels.tolist(), teacher.tolist(), 0.5, filtered=True)
    got = cat_dist(logits, labels, teacher, 0.5)
    torch.testing.assert_close(got, torch.tensor(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    logits = torch.tensor([[[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]]], dtype=dtype, requires_grad=True)
    teacher = torch.tensor([[[-1e4, 1e4, 0.0], [1e4, -1e4, -1e4]]], dtype=dtype)
    labels = torch.tensor([[1, 0]])
    loss = xent(logits, labels) + cat_dist(logits, labels, teacher, 0.5)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert loss.item() > 1e4  # the label's logit is 2e4 below the top
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
