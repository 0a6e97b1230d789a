"""Which target tokens count, and how much: alpha of equation 8 and its kinds; knows no logits.

Source: Wang et al., "Cascade-Aware Training of Language Models", arXiv 2406.00060, for one large
model. Its section 6 asks what alpha should be where several tiers lie above the small model; here
are four answers. Of H tiers above, the next one first, let h_k say whether tier k's argmax is y_i
and s whether p_S's is:

    alpha   cat-xent, cat-dist          cat-*-l               h sees
    any     s or h_1 or ... or h_H      h_1 or ... or h_H     every tier
    next    s or h_1                    h_1                   the next tier alone
    last    s or h_H                    h_H                   the last tier alone
    soft    (s + sum_k h_k) / (1 + H)   sum_k h_k / H         every tier

With one tier above, the first three are equation 8. `cat-*-s` is s whatever lies above, and `xent`
and `dist` are 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LossName = Literal[
    "xent",
    "dist",
    "cat-xent",
    "cat-dist",
    "cat-xent-l",
    "cat-xent-s",
    "cat-dist-l",
    "cat-dist-s",
]
LOSSES: tuple[LossName, ...] = get_args(LossName)

Alpha = Literal["any", "next", "last", "soft"]
ALPHAS: tuple[Alpha, ...] = get_args(Alpha)


def needs_teacher(name: LossName) -> bool:
    """Whether the loss looks at p_L at all."""
    return name not in ("xent", "cat-xent-s")


def needs_distribution(name: LossName) -> bool:
    """Whether the loss needs p_L's probabilities, not only its argmax."""
    return "dist" in name


def filters_by_teacher(name: LossName) -> bool:
    """Whether what higher tiers predict decides which tokens count."""
    return name in ("cat-xent", "cat-dist", "cat-xent-l", "cat-dist-l")


def looked_at(name: LossName, alpha: Alpha, tiers: int) -> tuple[int, ...]:
    """The places of those of H tiers above, the next one first, that a loss looks at.

    A distribution is the last one's: it is p_L of equation 3.
    """
    if not needs_teacher(name):
        return ()
    places = {tiers - 1} if needs_distribution(name) or alpha == "last" else set[int]()
    if filters_by_teacher(name) and alpha != "last":
        places |= {0} if alpha == "next" else set(range(tiers))
    return tuple(sorted(places))


class Filter(NamedTuple):
    """Alpha of n target tokens, before p_S is read; and what it is made of."""

    if_right: Tensor  #: (n,), in [0, 1]: where p_S's argmax is the label
    if_wrong: Tensor  #: (n,), in [0, 1]: where it is not
    above: Tensor  #: (n,), bool: h holds, or for `soft` any h_k


def filter_of(name: LossName, alpha: Alpha, right: Tensor, dtype: torch.dtype) -> Filter:
    """Alpha of a loss.

    Args:
        name: one of `LOSSES`.
        alpha: one of `ALPHAS`.
        right: `(H, n)`, bool: whether each tier's argmax is the label; H is 0 without a teacher.
        dtype: a float type, of the result.
    """
    H, n = right.shape
    ones, zeros = right.new_ones(n, dtype=dtype), right.new_zeros(n)
    if alpha in ("any", "soft") or not H:
        above = right.any(dim=0) if H else zeros
    else:
        above = right[0 if alpha == "next" else -1]
    if not filters_by_teacher(name):
        return Filter(ones, zeros.to(dtype) if name.endswith("-s") else ones, above)
    if alpha != "soft":
        wrong = above.to(dtype)
        return Filter(wrong if name.endswith("-l") else ones, wrong, above)
    votes = right.sum(dim=0).to(dtype)
    if name.endswith("-l"):
        return Filter(votes / H, votes / H, above)
    return Filter((1 + votes) / (1 + H), votes / (1 + H), above)
