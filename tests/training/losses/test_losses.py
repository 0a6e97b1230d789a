"""Each of the eight CAT losses against the paper's formula, token by token in float64."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from escalade.training.errors import LossError
from escalade.training.losses.filters import (
    LOSSES,
    LossName,
    needs_distribution,
    needs_teacher,
)
from escalade.training.losses.losses import IGNORE, Predictions, TokenLoss, token_loss

# A float32 gradient is off by some roundings of probabilities; bfloat16 rounds it once more,
# to 8 bits.
GRADIENT_TOLERANCE = {
    torch.float32: {"rtol": 1e-5, "atol": 2e-6},
    torch.bfloat16: {"rtol": 2**-8, "atol": 2e-6},
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
}


@dataclass(frozen=True)
class Batch:
    """One call's arguments."""

    logits: Tensor
    targets: Tensor
    teacher: Predictions
    w: float
    chunk_bytes: int = 2**23
    keep: Tensor | None = None

    def loss(self, name: LossName, logits: Tensor, *, overwrite: bool = False) -> TokenLoss:
        return token_loss(
            name,
            logits,
            self.targets,
            self.teacher,
            w=self.w,
            keep=self.keep,
            overwrite=overwrite,
            chunk_bytes=self.chunk_bytes,
        )

    def gradient(
        self, name: LossName, *, scale: float = 1.0, overwrite: bool = False
    ) -> tuple[TokenLoss, Tensor]:
        logits = self.logits.clone().requires_grad_()
        result = self.loss(name, logits, overwrite=overwrite)
        (grad,) = torch.autograd.grad(result.total * scale, logits)
        assert grad.dtype == logits.dtype
        assert (grad.data_ptr() == logits.data_ptr()) == overwrite
        return result, grad


def top_k(logits: Tensor, k: int) -> Predictions:
    best = logits.double().log_softmax(-1).topk(k)
    return Predictions(logits.argmax(-1), best.indices, best.values.to(logits.dtype))


def soft_reference(log_p: Tensor, large: Predictions, b: int, i: int) -> Tensor:
    """`sum_y' p_L(y') log p_S(y')` at one position, the unlisted tokens as one."""
    V = len(log_p)
    if large.logits is not None:
        p = large.logits[b, i, :V].double().softmax(-1)
        return (p * log_p[: len(p)]).sum()
    assert large.top_ids is not None
    assert large.top_logprobs is not None
    soft, tail = torch.zeros((), dtype=torch.float64), 1.0
    rest = set(range(V))
    for token, logprob in zip(large.top_ids[b, i].tolist(), large.top_logprobs[b, i], strict=True):
        if token < V:
            p_L = logprob.double().exp()
            soft, tail = soft + p_L * log_p[token], tail - float(p_L)
            rest.remove(token)
    if rest:
        soft = soft + max(tail, 0.0) * log_p[sorted(rest)].logsumexp(-1)
    return soft


def reference(name: LossName, batch: Batch) -> tuple[float, Tensor, list[int], int]:
    """Total, gradient, counts and kept tokens, from the equations."""
    logits = batch.logits.double().requires_grad_()
    total, counts, kept = logits.sum() * 0, [0, 0, 0, 0], 0
    for b, row in enumerate(batch.targets.tolist()):
        for i, y in enumerate(row):
            if y == IGNORE:
                continue
            values = batch.logits[b, i].tolist()
            small = values.index(max(values)) == y  # the lowest id wins a tie
            large = int(batch.teacher.argmax[b, i]) == y
            counts[3 - 2 * small - large] += 1
            alpha = {
                "xent": True,
                "dist": True,
                "cat-xent": small or large,
                "cat-dist": small or large,
                "cat-xent-l": large,
                "cat-xent-s": small,
                "cat-dist-l": large,
                "cat-dist-s": small,
            }[name]
            if batch.keep is not None:
                alpha = bool(batch.keep[b, i])
            if not alpha:
                continue
            kept += 1
            log_p = logits[b, i].log_softmax(-1)
            if "dist" in name:
                soft = soft_reference(log_p, batch.teacher, b, i)
                total = total - batch.w * log_p[y] - (1 - batch.w) * soft
            else:
                total = total - log_p[y]
    (grad,) = torch.autograd.grad(total, logits)
    return total.item(), grad, counts, kept


@st.composite
def batches(draw: st.DrawFn, *, bucketed: bool | None = None) -> Batch:
    """Coarse values, so that ties are common; padding; a teacher of another width at times."""
    B, T, V = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(2, 7))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16]))
    value = st.one_of(st.integers(-3, 3).map(float), st.floats(-20.0, 20.0, width=32))

    def tensor(width: int) -> Tensor:
        flat = draw(st.lists(value, min_size=B * T * width, max_size=B * T * width))
        return torch.tensor(flat).reshape(B, T, width).to(dtype)

    logits, large = tensor(V), tensor(draw(st.integers(max(1, V - 2), V + 2)))
    right = st.sampled_from(["small", "large", "any", "none"])
    targets = torch.full((B, T), IGNORE)
    for b in range(B):
        for i in range(T):
            match draw(right):
                case "small":
                    targets[b, i] = logits[b, i].argmax()
                case "large" if large[b, i].argmax() < V:
                    targets[b, i] = large[b, i].argmax()
                case "any":
                    targets[b, i] = draw(st.integers(0, V - 1))
    if draw(st.booleans()) if bucketed is None else bucketed:
        teacher = top_k(large, draw(st.integers(1, large.shape[2])))
    else:
        teacher = Predictions(large.argmax(-1), logits=large)
    keep = None
    if draw(st.integers(0, 3)) == 0:
        flags = draw(st.lists(st.booleans(), min_size=B * T, max_size=B * T))
        keep = torch.tensor(flags).reshape(B, T)
    w = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    rows = draw(st.integers(1, B * T))
    return Batch(logits, targets, teacher, w, rows * 4 * V, keep)


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


@pytest.mark.parametrize("name", LOSSES)
@given(batches())
@settings(max_examples=10, deadline=None)
def test_the_chunk_size_changes_nothing(name: LossName, batch: Batch) -> None:
    by_row, whole = (dataclasses.replace(batch, chunk_bytes=n) for n in (1, 2**30))
    (one, one_grad), (other, other_grad) = by_row.gradient(name), whole.gradient(name)
    torch.testing.assert_close(one.total, other.total, rtol=1e-6, atol=1e-6)
    assert torch.equal(one_grad, other_grad)


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


def wide(V: int, dtype: torch.dtype, seed: int = 0) -> Batch:
    """Six positions: both right, one right, none right, one without a target."""
    generator = torch.Generator().manual_seed(seed)
    logits, large = (3 * torch.randn(2, 3, V, generator=generator).to(dtype) for _ in range(2))
    small_best, large_best = logits.argmax(-1), large.argmax(-1)
    targets = torch.tensor([[0, 0, V // 2], [0, IGNORE, V - 1]])
    targets[0, 0], targets[0, 1], targets[1, 0] = small_best[0, 0], large_best[0, 1], 1
    large[0, 0, small_best[0, 0]] = 30.0
    return Batch(logits, targets, Predictions(large.argmax(-1), logits=large), 0.5, 4 * V * 2)


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
