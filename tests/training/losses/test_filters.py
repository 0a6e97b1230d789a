"""Alpha where several tiers lie above: every kind against plain torch, in float64 by autograd."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from escalade.training.errors import LossError
from escalade.training.losses.filters import (
    ALPHAS,
    LOSSES,
    Alpha,
    LossName,
    filters_by_teacher,
    looked_at,
    needs_distribution,
    needs_teacher,
)
from escalade.training.losses.losses import IGNORE, Predictions, TokenLoss, token_loss

FILTERING = [name for name in LOSSES if filters_by_teacher(name)]


@dataclass(frozen=True)
class Batch:
    """p_S's logits, the labels, and the logits of the tiers above, the next one first."""

    logits: Tensor
    targets: Tensor
    tiers: list[Tensor]
    w: float
    keep: Tensor | None = None
    chunk_bytes: int | None = None

    def predictions(self) -> Predictions:
        *between, last = self.tiers
        return Predictions(
            last.argmax(-1), logits=last, between=tuple(one.argmax(-1) for one in between)
        )

    def gradient(self, name: LossName, alpha: Alpha) -> tuple[TokenLoss, Tensor]:
        logits = self.logits.clone().requires_grad_()
        found = token_loss(
            name, logits, self.targets, self.predictions(), alpha=alpha, w=self.w, keep=self.keep,
            chunk_bytes=self.chunk_bytes,
        )  # fmt: skip
        (grad,) = torch.autograd.grad(found.total, logits)
        return found, grad


def weights(name: LossName, alpha: Alpha, small: Tensor, tiers: Tensor) -> Tensor:
    """Alpha of each position, (B, T), from who is right: (B, T) and (H, B, T), as written down."""
    if name in {"xent", "dist"}:
        return torch.ones_like(small, dtype=torch.float64)
    if name.endswith("-s"):
        return small.double()
    alone = name.endswith("-l")
    if alpha == "soft":
        voters = tiers if alone else torch.cat([small[None], tiers])
        return voters.double().mean(dim=0)
    seen = {"any": tiers.any(dim=0), "next": tiers[0], "last": tiers[-1]}[alpha]
    return (seen if alone else small | seen).double()


def plain(batch: Batch, name: LossName, alpha: Alpha) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, its gradient and alpha, in plain torch."""
    logits = batch.logits.double().requires_grad_()
    log_p = logits.log_softmax(-1)
    counts = batch.targets != IGNORE
    y = batch.targets.where(counts, 0)
    small = batch.logits.argmax(-1) == y
    tiers = torch.stack([one.argmax(-1) == y for one in batch.tiers])
    w = batch.w if "dist" in name else 1.0
    soft = (batch.tiers[-1].double().softmax(-1) * log_p).sum(-1)
    nll = -w * log_p.gather(-1, y[..., None])[..., 0] - (1 - w) * soft
    each = weights(name, alpha, small, tiers) * counts
    total = (each * nll).sum()
    (grad,) = torch.autograd.grad(total, logits)
    return total.detach(), grad, each


@st.composite
def batches(draw: st.DrawFn, *, tiers: int | None = None) -> Batch:
    """Labels that each tier is right about often, and often alone."""
    B, T, V = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(2, 6))
    H = draw(st.integers(1, 3)) if tiers is None else tiers
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    logits, *above = (
        (3 * torch.randn(B, T, V, generator=generator)).to(dtype) for _ in range(1 + H)
    )
    said = torch.stack([one.argmax(-1) for one in (logits, *above)])
    asked = torch.randint(0, 1 + H, (1, B, T), generator=generator)
    targets = said.gather(0, asked)[0]
    noise = torch.rand(B, T, generator=generator)
    targets = targets.where(noise > 0.2, torch.randint(0, V, (B, T), generator=generator))
    targets = targets.where(noise < 0.9, IGNORE)
    rows = draw(st.integers(1, B * T))
    return Batch(
        logits, targets, above, draw(st.sampled_from([0.0, 0.5, 1.0])), chunk_bytes=rows * 4 * V
    )


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("name", LOSSES)
@given(batches())
@settings(max_examples=25, deadline=None)
def test_every_alpha_equals_plain_torch(name: LossName, alpha: Alpha, batch: Batch) -> None:
    got, grad = batch.gradient(name, alpha)
    total, wanted, each = plain(batch, name, alpha)
    exact = batch.logits.dtype == torch.float64
    assert got.total.item() == pytest.approx(
        total.item(), rel=1e-12 if exact else 1e-5, abs=1e-12 if exact else 1e-4
    )
    near = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-8}[grad.dtype]
    torch.testing.assert_close(grad.double(), wanted, rtol=near, atol=2e-6 if not exact else 1e-12)
    assert int(got.kept) == int((each > 0).sum())
    assert torch.count_nonzero(grad[each == 0]) == 0


@pytest.mark.parametrize("name", LOSSES)
@given(batches(tiers=1))
@settings(max_examples=25, deadline=None)
def test_of_one_tier_all_but_soft_are_equation_8_bit_for_bit(name: LossName, batch: Batch) -> None:
    """`keep` takes the paper's filter as it is, and no criterion."""
    small = batch.logits.argmax(-1) == batch.targets
    large = batch.tiers[0].argmax(-1) == batch.targets
    kept = {"-l": large, "-s": small}.get(name[-2:], small | large)
    if name in {"xent", "dist"}:
        kept = torch.ones_like(small)
    wanted, wanted_grad = dataclasses.replace(batch, keep=kept).gradient(name, "any")
    for alpha in ("any", "next", "last"):
        got, grad = batch.gradient(name, alpha)
        assert torch.equal(got.total, wanted.total)
        assert torch.equal(grad, wanted_grad)
        assert torch.equal(got.counts, wanted.counts)
        assert torch.equal(got.kept, wanted.kept)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("alpha", ALPHAS)
@given(batches(tiers=3))
@settings(max_examples=10, deadline=None)
def test_a_loss_looks_at_no_other_tiers_than_it_says(
    name: LossName, alpha: Alpha, batch: Batch
) -> None:
    places = looked_at(name, alpha, 3)
    assert bool(places) == needs_teacher(name)
    assert (2 in places) or not needs_distribution(name)
    chosen = dataclasses.replace(batch, tiers=[batch.tiers[place] for place in places or (2,)])
    got, grad = chosen.gradient(name, alpha)
    whole, whole_grad = batch.gradient(name, alpha)
    assert torch.equal(got.total, whole.total)
    assert torch.equal(grad, whole_grad)


@given(batches(tiers=2))
@settings(max_examples=25, deadline=None)
def test_groups_are_by_what_alpha_sees(batch: Batch) -> None:
    counts = batch.targets != IGNORE
    small = (batch.logits.argmax(-1) == batch.targets)[counts]
    tiers = torch.stack([(one.argmax(-1) == batch.targets)[counts] for one in batch.tiers])
    sees = {
        "any": tiers.any(0), "next": tiers[0], "last": tiers[1], "soft": tiers.any(0)
    }  # fmt: skip
    for alpha in ALPHAS:
        got, _ = batch.gradient("cat-xent", alpha)
        above = sees[alpha]
        wanted = [(small & above), (small & ~above), (~small & above), (~small & ~above)]
        assert got.counts.tolist() == [int(one.sum()) for one in wanted]
        assert int(got.kept) == int((small | above).sum())


def test_what_does_not_fit_is_refused_by_name() -> None:
    logits, labels = torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.int64)
    teacher = Predictions(labels, between=(labels[:1],))
    with pytest.raises(LossError, match=r"teacher.argmax must be \(2, 3\)"):
        token_loss("cat-xent", logits, labels, teacher)
    with pytest.raises(LossError, match="alpha must be one of any, next, last, soft, got 'all'"):
        token_loss("cat-xent", logits, labels, Predictions(labels), alpha="all")  # type: ignore[arg-type]
