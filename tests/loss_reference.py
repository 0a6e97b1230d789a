"""The paper's eight losses, token by token in float64, and batches to try; knows no test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from escalade.training.losses.filters import LossName
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


def wide(V: int, dtype: torch.dtype, seed: int = 0) -> Batch:
    """Six positions: both right, one right, none right, one without a target."""
    generator = torch.Generator().manual_seed(seed)
    logits, large = (3 * torch.randn(2, 3, V, generator=generator).to(dtype) for _ in range(2))
    small_best, large_best = logits.argmax(-1), large.argmax(-1)
    targets = torch.tensor([[0, 0, V // 2], [0, IGNORE, V - 1]])
    targets[0, 0], targets[0, 1], targets[1, 0] = small_best[0, 0], large_best[0, 1], 1
    large[0, 0, small_best[0, 0]] = 30.0
    return Batch(logits, targets, Predictions(large.argmax(-1), logits=large), 0.5, 4 * V * 2)
