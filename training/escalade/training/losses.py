"""The losses of Cascade-Aware Training as pure functions; knows no model and no data.

Source: Wang et al., "Cascade-Aware Training of Language Models", arXiv 2406.00060.
Notation: batch `B`, response length `T` (padded), vocabulary `V`. `logits[b, i]` predicts
`labels[b, i]`: the caller has shifted. A label of `IGNORE` (prompt or padding) never
counts. Every loss returns `(B,)`, the sum over an example's tokens, as the equations do;
the trainer divides the batch's sum by its number of target tokens, filtered ones
included, so that filtering a token takes its gradient away and rescales no other.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

IGNORE = -100


def xent(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, equation 2: `-sum_i log p(y_i | x, y_<i)`.

    Args:
        logits: `(B, T, V)`, any float type; computed in float32.
        labels: `(B, T)`, int64.

    Returns:
        `(B,)`, nats.
    """
    return _label_nll(_log_probs(logits), labels).sum(dim=-1)


def dist(logits: Tensor, labels: Tensor, teacher_logits: Tensor, w: float) -> Tensor:
    """Cross-entropy with token-level distillation, equation 3.

    `-sum_i (w log p(y_i) + (1 - w) sum_y' p_teach(y') log p(y'))`

    Args:
        logits: `(B, T, V)`.
        labels: `(B, T)`.
        teacher_logits: `(B, T, V)`, of the large model on the same tokens.
        w: share of the one-hot term, in [0, 1]. The paper uses 0.5.

    Returns:
        `(B,)`, nats.
    """
    return _mixed(logits, labels, teacher_logits, w).sum(dim=-1)


def cat_xent(logits: Tensor, labels: Tensor, teacher_argmax: Tensor) -> Tensor:
    """Cascade-aware cross-entropy: equation 7 with `w = 1`, tokens filtered by equation 8.

    Args:
        logits: `(B, T, V)`.
        labels: `(B, T)`.
        teacher_argmax: `(B, T)`, the large model's greedy choice at each position.

    Returns:
        `(B,)`, nats.
    """
    alpha = learnable(logits, labels, teacher_argmax)
    return (alpha * _label_nll(_log_probs(logits), labels)).sum(dim=-1)


def cat_dist(logits: Tensor, labels: Tensor, teacher_logits: Tensor, w: float) -> Tensor:
    """Cascade-aware distillation, equation 7: `dist` with tokens filtered by equation 8.

    Shapes as in `dist`.
    """
    alpha = learnable(logits, labels, teacher_logits.argmax(dim=-1))
    return (alpha * _mixed(logits, labels, teacher_logits, w)).sum(dim=-1)


def learnable(logits: Tensor, labels: Tensor, teacher_argmax: Tensor) -> Tensor:
    """The token filter alpha of equation 8: 1 where either model's argmax is the label.

    The filter carries no gradient. Where logits tie, the lowest token id is the argmax.

    Returns:
        `(B, T)`, bool; False at ignored positions.
    """
    small_right = logits.detach().argmax(dim=-1) == labels
    return (labels != IGNORE) & (small_right | (teacher_argmax == labels))


def _log_probs(logits: Tensor) -> Tensor:
    return F.log_softmax(logits.float(), dim=-1)


def _label_nll(log_probs: Tensor, labels: Tensor) -> Tensor:
    """`(B, T)`: -log p(y_i), 0 where ignored."""
    return F.nll_loss(log_probs.transpose(-1, -2), labels, ignore_index=IGNORE, reduction="none")


def _mixed(logits: Tensor, labels: Tensor, teacher_logits: Tensor, w: float) -> Tensor:
    """`(B, T)`: the summand of equation 3, 0 where ignored."""
    if not 0.0 <= w <= 1.0:
        raise ValueError(f"w must be in [0, 1], got {w}")
    log_probs = _log_probs(logits)
    teacher = F.softmax(teacher_logits.detach().float(), dim=-1)
    soft = -(teacher * log_probs).sum(dim=-1) * (labels != IGNORE)
    return w * _label_nll(log_probs, labels) + (1.0 - w) * soft
