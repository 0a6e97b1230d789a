"""The eight losses of Cascade-Aware Training on tensors; knows no model and no data.

Source: Wang et al., "Cascade-Aware Training of Language Models", arXiv 2406.00060. Each is

    L = - sum_i alpha_i (w log p_S(y_i) + (1 - w) sum_y' p_L(y') log p_S(y'))

    name        equation  alpha_i is 1 where               w      looks at p_L for
    xent        2         always                           1      nothing
    dist        3         always                           given  its distribution
    cat-xent    7, 8      p_S or p_L has argmax y_i        1      its argmax
    cat-dist    7, 8      p_S or p_L has argmax y_i        given  both
    cat-xent-l  11        p_L has argmax y_i               1      its argmax
    cat-xent-s  12        p_S has argmax y_i               1      nothing
    cat-dist-l  13        p_L has argmax y_i               given  both
    cat-dist-s  14        p_S has argmax y_i               given  its distribution

Where several tiers lie above the small model, p_L's distribution is the last one's, and alpha is
one of `filters`. Equations 13 and 14 print `log p(y')` where 7 has `log p_S(y')`: read as the
same. Alpha carries no gradient. The argmax of logits that tie is the lowest token id; low
precision is never rounded further, so logits tie where they are equal in their own type.

Normalisation: a loss here is a sum, `sum_i alpha_i l_i` over the batch's N target tokens, and the
trainer divides it by N, filtered tokens included, whatever alpha is. Filtering a token then takes
its gradient away and rescales no other token's; dividing by `sum_i alpha_i` would weigh a token
more the more of its neighbours are filtered.

Notation: batch `B`, length `T` (padded), vocabulary `V`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from escalade.training.errors import LossError
from escalade.training.losses.chunked import ChunkedCrossEntropy, Job
from escalade.training.losses.filters import (
    ALPHAS,
    LOSSES,
    Alpha,
    LossName,
    filter_of,
    needs_distribution,
    needs_teacher,
)

#: The label of a position that is no target: prompt or padding.
IGNORE = -100

#: Float32 bytes of one working tensor, of which two to four live at a time. On a CPU with
#: 1 MiB of L2 cache a core, 2 MiB was the fastest of 0.5 to 64 for V of 32,000 and 128,000;
#: 64 took two to three times as long (benchmarks/chunked_loss.py --chunk-mib). An accelerator
#: pays for some 25 launches a chunk, so it gets longer ones; that figure is reckoned, not
#: measured.
CPU_CHUNK_BYTES = 2 * 2**20
ACCELERATOR_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Predictions:
    """What the tiers above predict at each position, aligned with the small model's logits.

    p_L is the last of them. A distribution is `logits`, or `top_ids` with `top_logprobs`; of both,
    `logits` is used. Nothing is read where the target is ignored.
    """

    argmax: Tensor  #: (B, T), int64
    top_ids: Tensor | None = None  #: (B, T, k), int64, each id once; an id >= V is in the tail
    top_logprobs: Tensor | None = None  #: (B, T, k), natural logs
    logits: Tensor | None = None  #: (B, T, V'); V' may differ from V, as padded vocabularies do
    #: Each (B, T), int64: the argmax of every tier between p_S and p_L, the next one first.
    between: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class TokenLoss:
    """The loss of a batch and what the filter saw."""

    total: Tensor  #: scalar, nats, summed over the kept tokens; float32 (float64 of float64)
    #: (4,), int64: target tokens that both models get right, p_S alone, p_L alone, neither; for
    #: p_L stands what alpha sees of the tiers above. Without a teacher p_L gets none right.
    counts: Tensor
    kept: Tensor  #: scalar, int64: target tokens that count in the loss, their alpha above 0


def token_loss(
    name: LossName,
    logits: Tensor,
    targets: Tensor,
    teacher: Predictions | None = None,
    *,
    alpha: Alpha = "any",
    w: float = 0.5,
    keep: Tensor | None = None,
    overwrite: bool = False,
    chunk_bytes: int | None = None,
) -> TokenLoss:
    """One of the paper's losses, `LOSSES`, summed over a batch.

    Pass the model's whole output with the targets shifted (the last one `IGNORE`), rather
    than `logits[:, :-1]`: autograd would copy the slice's gradient into a second tensor.

    A teacher known by its k best tokens is compared over k + 1 outcomes, the tail being one:
    `- sum_{top k} p_L log p_S - m log(1 - sum_{top k} p_S)`, `m = 1 - sum_{top k} p_L`. Both
    distributions are coarsened alike, so that nothing is made up about the tail: p_S is
    asked for its mass and keeps its shape. It is at most the full term, since no p_S in
    the tail exceeds the tail's sum (the divergence is at most the full one by the
    data-processing inequality), and equal to it where k = V or m = 0.

    The gradient is made in this call, in the type of the logits, and is exactly 0 where a
    token is ignored or filtered. In float16 what is below 6e-8 is lost, and a loss scale comes
    too late to save it: train in bfloat16 instead.

    Args:
        name: One of `LOSSES`.
        logits: `(B, T, V)`, any float type; `logits[b, i]` predicts `targets[b, i]`.
        targets: `(B, T)`, int64, `IGNORE` where there is none.
        teacher: What p_L predicts. A loss that does not look at it only counts with it.
        alpha: By which of the tiers above tokens are filtered, see `filters`.
        w: Share of the one-hot term in the dist family, in [0, 1]. The paper's is 0.5.
        keep: `(B, T)`, bool: taken for alpha, whatever the loss filters by.
        overwrite: Write the gradient into the storage of `logits`, which must not be used
            afterwards; an op that saved them for its backward raises there. Without a
            gradient to make, nothing is written.
        chunk_bytes: Float32 bytes of a working tensor, rounded to rows, one at least; None
            chooses by device. It changes the result by rounding alone.

    Raises:
        LossError: The name, alpha, w, a shape, a type or a label is out of range, the teacher lacks
            what the loss looks at, or the loss of a target token is not finite. Columns
            of -inf are fine, unless the label or one of the teacher's logits is there.
    """
    _check(name, logits, targets, teacher, alpha, w, keep)
    if chunk_bytes is None:
        chunk_bytes = CPU_CHUNK_BYTES if logits.is_cpu else ACCELERATOR_CHUNK_BYTES
    if chunk_bytes < 1:
        raise LossError(f"chunk_bytes must be at least 1, got {chunk_bytes}")
    rows = (targets != IGNORE).flatten().nonzero().squeeze(1)
    labels = targets.flatten()[rows]
    above = () if teacher is None else (*teacher.between, teacher.argmax)
    right = [argmax.flatten()[rows] == labels for argmax in above]
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    counted = filter_of(
        name,
        alpha,
        torch.stack(right) if right else labels.new_zeros((0, len(labels)), dtype=torch.bool),
        dtype,
    )
    if_right, if_wrong = counted.if_right, counted.if_wrong
    if keep is not None:
        if_right = if_wrong = keep.flatten()[rows].to(dtype)

    soft = teacher if needs_distribution(name) and w < 1 else None
    top = None
    if soft is not None and soft.top_ids is not None and soft.top_logprobs is not None:
        top = (soft.top_ids, soft.top_logprobs)
    job = Job(
        rows=rows,
        labels=labels,
        alpha_if_right=if_right,
        alpha_if_wrong=if_wrong,
        w=w,
        soft_logits=None if soft is None else soft.logits,
        soft_top=None if soft is None or soft.logits is not None else top,
        chunk_rows=max(1, chunk_bytes // (4 * logits.shape[-1])),
        needs_grad=torch.is_grad_enabled() and logits.requires_grad,
        overwrite=overwrite,
    )
    total, small_right, kept, finite = ChunkedCrossEntropy.apply(logits, job)
    not_finite = int((~finite).sum())
    if not_finite:
        raise LossError(
            f"loss is not finite at {not_finite} of {len(rows)} target tokens: NaN or infinity "
            "in the logits or in the teacher's predictions"
        )
    group = 3 - 2 * small_right.long() - counted.above.long()
    return TokenLoss(total, torch.bincount(group, minlength=4), kept.sum())


def _check(
    name: LossName,
    logits: Tensor,
    targets: Tensor,
    teacher: Predictions | None,
    alpha: Alpha,
    w: float,
    keep: Tensor | None,
) -> None:
    if name not in LOSSES:
        raise LossError(f"loss must be one of {', '.join(LOSSES)}, got {name!r}")
    if alpha not in ALPHAS:
        raise LossError(f"alpha must be one of {', '.join(ALPHAS)}, got {alpha!r}")
    if not 0.0 <= w <= 1.0:
        raise LossError(f"w must be in [0, 1], got {w}")
    if logits.dim() != 3 or not logits.is_floating_point():  # noqa: PLR2004 - (B, T, V)
        raise LossError(f"logits must be (B, T, V) of a float type, got {_kind(logits)}")
    shape, V = logits.shape[:2], logits.shape[2]
    _check_aligned("targets", targets, shape, torch.int64)
    _check_aligned("keep", keep, shape, torch.bool)
    outside = targets[(targets != IGNORE) & ((targets < 0) | (targets >= V))]
    if len(outside):
        raise LossError(
            f"labels must be in [0, {V}) or {IGNORE}, got {int(outside[0])} "
            f"({len(outside)} such labels; the vocabulary has V = {V} tokens)"
        )
    _check_teacher(name, teacher, shape)


def _check_teacher(name: LossName, teacher: Predictions | None, shape: torch.Size) -> None:
    if teacher is None:
        if needs_teacher(name):
            raise LossError(f"loss {name!r} looks at a large model: give a teacher")
        return
    for argmax in (teacher.argmax, *teacher.between):
        _check_aligned("teacher.argmax", argmax, shape, torch.int64)
    _check_aligned("teacher.top_ids", teacher.top_ids, shape, torch.int64, "k")
    _check_aligned("teacher.top_logprobs", teacher.top_logprobs, shape, None, "k")
    _check_aligned("teacher.logits", teacher.logits, shape, None, "V'")
    top = [a if a is None else a.shape for a in (teacher.top_ids, teacher.top_logprobs)]
    if top[0] != top[1]:
        raise LossError(
            f"teacher.top_ids and teacher.top_logprobs must be alike, got {top[0]} and {top[1]}"
        )
    if needs_distribution(name) and teacher.logits is None and teacher.top_ids is None:
        raise LossError(
            f"loss {name!r} looks at the large model's distribution: give the teacher's "
            "logits, or top_ids with top_logprobs"
        )


def _check_aligned(
    name: str,
    tensor: Tensor | None,
    shape: torch.Size,
    dtype: torch.dtype | None,
    width: str | None = None,
) -> None:
    """`shape` is (B, T); dtype None stands for any float type; width names a third axis."""
    if tensor is None:
        return
    fits = tensor.is_floating_point() if dtype is None else tensor.dtype == dtype
    if not fits or tensor.dim() != (2 if width is None else 3) or tensor.shape[:2] != shape:
        wanted = ", ".join([*map(str, shape), *([] if width is None else [width])])
        raise LossError(
            f"{name} must be ({wanted}) of {dtype or 'a float type'}, got {_kind(tensor)}"
        )


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {tensor.dtype}"
