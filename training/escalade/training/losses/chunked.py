"""Token cross-entropies and their gradient, a chunk of rows at a time; knows no loss by name.

Only rows that have a target are read, and no float32 tensor is larger than a chunk. The
forward pass already makes the gradient, as Liger Kernel's fused cross-entropy does (Hsu
et al., arXiv 2410.10989, section 3.2), so that backward has nothing to recompute.

Notation: batch `B`, length `T`, vocabulary `V`, and `n` rows out of the `B * T`. `p_S` is
the softmax of a row, `p_L` what the large model predicts there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True)
class Job:
    """Which rows of the logits to learn from, and how.

    A row counts alpha times, `alpha_if_right` or `alpha_if_wrong`, whichever applies to p_S's
    own argmax: no filter needs to be known before the logits are read.
    """

    rows: Tensor  # (n,) int64: b * T + i, each once
    labels: Tensor  # (n,) int64, in [0, V)
    alpha_if_right: Tensor  # (n,) in [0, 1], in the type of the computation
    alpha_if_wrong: Tensor  # (n,) in [0, 1], in the type of the computation
    w: float  # share of the one-hot term
    soft_logits: Tensor | None  # (B, T, V'): p_L in full
    soft_top: tuple[Tensor, Tensor] | None  # (B, T, k) ids and natural logs: its k best
    chunk_rows: int
    needs_grad: bool
    overwrite: bool  # the gradient goes into the logits' own storage


class ChunkedCrossEntropy(torch.autograd.Function):
    """`sum_rows alpha (w * -log p_S(y) + (1 - w) * -sum_y' p_L(y') log p_S(y'))`."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: Tensor, job: Job
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The sum, and by row: p_S is right, alpha is above 0, its loss is finite.

        Args:
            ctx: Keeps the gradient.
            logits: `(B, T, V)`, any float type; float64 is computed in float64, all
                others in float32.
            job: The rest.

        Returns:
            A scalar in the type of the computation, and three of `(n,)`, bool.
        """
        T = logits.shape[1]
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        losses = torch.zeros(job.rows.shape, dtype=dtype, device=logits.device)
        top = torch.zeros_like(losses)
        right, kept = (torch.zeros_like(losses, dtype=torch.bool) for _ in range(2))
        grad = None
        if job.needs_grad:
            # detach, unlike .data, shares the version counter: an op that saved the logits
            # for its own backward says so there instead of using what is written here.
            grad = logits.detach() if job.overwrite else torch.empty_like(logits)

        for start in range(0, len(job.rows), job.chunk_rows):
            part = slice(start, start + job.chunk_rows)
            rows, y = job.rows[part], job.labels[part, None]
            x = _load(logits, rows).to(dtype)
            right[part], top[part] = _is_argmax(x, y)
            alpha = job.alpha_if_right[part].where(right[part], job.alpha_if_wrong[part])
            kept[part] = alpha > 0
            chosen = kept[part].nonzero().squeeze(1)
            if not len(chosen):
                continue
            if len(chosen) < len(rows):
                x, y, rows, alpha = (a.index_select(0, chosen) for a in (x, y, rows, alpha))
            chosen += start
            x -= top[chosen, None]
            if job.soft_top is not None:
                ids, logprobs = (_load(a, rows) for a in job.soft_top)
                loss, row_grad = _bucketed(x, y, job.w, ids, logprobs.to(dtype))
            elif job.soft_logits is not None:
                soft = _load(job.soft_logits[..., : x.shape[1]], rows).to(dtype)
                loss, row_grad = _mixed(x, y, job.w, soft.softmax(dim=-1))
            else:
                loss, row_grad = _mixed(x, y, 1.0, None)
            if (alpha != 1).any():
                loss, row_grad = loss * alpha[:, None], row_grad.mul_(alpha[:, None])
            losses[chosen] = loss.squeeze(1)
            if grad is not None:
                grad[rows // T, rows % T] = row_grad.to(grad.dtype)

        if grad is not None:
            idle = torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
            idle.view(-1)[job.rows[kept]] = False
            grad[idle.nonzero(as_tuple=True)] = 0
            # The logits themselves, not a detached view of them: a saved input makes no cycle.
            ctx.save_for_backward(logits if job.overwrite else grad)
        finite = losses.isfinite() & top.isfinite()
        ctx.mark_non_differentiable(right, kept, finite)
        return losses.sum(), right, kept, finite

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_output: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        """Hands out the gradient that forward made, scaled in place where need be."""
        (saved,) = ctx.saved_tensors  # type: ignore[attr-defined]
        grad: Tensor = saved.detach()
        if grad_output != 1:
            grad.mul_(grad_output)
        return grad, None


def _load(tensor: Tensor, rows: Tensor) -> Tensor:
    """A copy of some rows of a `(B, T, ...)` tensor."""
    if tensor.is_contiguous():  # on a CPU index_select is over twice as fast as indexing
        return tensor.flatten(0, 1).index_select(0, rows)
    T = tensor.shape[1]
    return tensor[rows // T, rows % T]


def _is_argmax(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Whether `y` is each row's argmax, the lowest id where logits tie, and the row's maximum.

    It compares the label's logit with the best of the others, since torch's amax is ten
    times as fast on a CPU as max or argmax with its indices; those only break ties.
    """
    own = x.gather(1, y)
    x.scatter_(1, y, -math.inf)
    rival = x.amax(dim=1, keepdim=True)
    x.scatter_(1, y, own)
    right = (own > rival).squeeze(1)
    tied = (own == rival).squeeze(1).nonzero().squeeze(1)
    if len(tied):
        right[tied] = x.index_select(0, tied).argmax(dim=1) == y[tied, 0]
    return right, torch.maximum(own, rival).squeeze(1)  # a NaN in the row comes through


def _mixed(x: Tensor, y: Tensor, w: float, p_L: Tensor | None) -> tuple[Tensor, Tensor]:
    """Loss `(m, 1)` and gradient `(m, V)` of rows whose maximum is 0.

    With `log p_S(j) = x_j - log_z` the gradient of `-log p_S(y)` is `p_S - onehot(y)` and
    that of `-sum_j p_L(j) log p_S(j)` is `p_S - p_L`; mixed by w, `p_S` stays whole.
    """
    p_S = x.softmax(dim=1)
    log_z = -p_S.amax(dim=1, keepdim=True).log()  # the maximum is 0, so its p_S is 1 / z
    loss = log_z - w * x.gather(1, y)
    p_S.scatter_add_(1, y, torch.full_like(loss, -w))
    if p_L is not None:  # (m, V'), V' <= V: missing columns have probability 0
        columns = slice(p_L.shape[1])
        loss -= (1 - w) * torch.linalg.vecdot(p_L, x[:, columns]).unsqueeze(1)
        p_S[:, columns].sub_(p_L, alpha=1 - w)
    return loss, p_S


def _bucketed(
    x: Tensor, y: Tensor, w: float, ids: Tensor, logprobs: Tensor
) -> tuple[Tensor, Tensor]:
    """As `_mixed`, with p_L known at `k` listed ids and as one bucket elsewhere.

    Write t_j for p_L at the listed ids K, m = 1 - sum_K t for its tail, and R for the
    probability p_S gives to all columns outside K. The soft term is

        L = - sum_K t_j log p_S(j) - m log R = (sum_K t + m) log_z - sum_K t_j x_j - m log_r

    with `log_r = logsumexp` of x outside K, so that R = exp(log_r - log_z). Since the
    gradient of log_z is p_S and that of log_r is q = p_S / R outside K and 0 inside,

        dL/dx_j = (sum_K t + m) p_S(j) - t_j         inside K
        dL/dx_j = ((sum_K t + m) R - m) q_j          outside

    q comes from a softmax over the columns outside alone: nothing is divided by an R that
    may underflow. An id outside [0, V) is no column here and belongs to the tail.
    """
    V, infinity = x.shape[1], torch.full_like(logprobs, math.inf)
    own = x.gather(1, y)
    listed = (ids >= 0) & (ids < V)
    ids = ids.where(listed, 0)
    t = logprobs.exp().where(listed, 0)
    x_top = x.gather(1, ids).where(listed, -infinity)
    # amin, since an id that is not listed stands at 0, which another may list.
    x.scatter_reduce_(1, ids, infinity.where(~listed, -infinity), "amin")
    rest_max = x.amax(dim=1, keepdim=True)
    q = x.softmax(dim=1)
    log_r = rest_max - q.amax(dim=1, keepdim=True).log()
    m = (1 - t.sum(dim=1, keepdim=True)).clamp_(min=0)
    bucket = m * log_r
    empty = rest_max == -math.inf
    if empty.any():  # K is the whole vocabulary, or p_S masks the rest: there is no bucket
        q.masked_fill_(empty, 0)
        log_r = log_r.masked_fill(empty, -math.inf)
        m, bucket = m.masked_fill(empty, 0), bucket.masked_fill(empty, 0)
    log_z = torch.logaddexp(x_top.logsumexp(dim=1, keepdim=True), log_r)
    mass = t.sum(dim=1, keepdim=True) + m
    listed_term = (t * x_top).masked_fill(t == 0, 0).sum(dim=1, keepdim=True)
    loss = w * (log_z - own) + (1 - w) * (mass * log_z - listed_term - bucket)

    scale = w + (1 - w) * mass
    q.mul_(scale * (log_r - log_z).exp() - (1 - w) * m)
    q.scatter_add_(1, ids, scale * (x_top - log_z).exp() - (1 - w) * t)
    q.scatter_add_(1, y, torch.full_like(loss, -w))
    return loss, q
