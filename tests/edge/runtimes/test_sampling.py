"""Drawing tokens: the right frequencies, transformers' cuts, the log-probability of the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from escalade.edge.runtimes.base import Sampling, likeliest_of
from escalade.edge.runtimes.sampling import Sampler, _nucleus

Logits = NDArray[np.float32]

# No ties, and gaps that float32 and float64 order alike.
DISTINCT = st.lists(st.integers(-400, 400), min_size=2, max_size=60, unique=True).map(
    lambda values: np.array(values, dtype=np.float32) / 16
)
ANY_LOGITS = arrays(
    np.float32, st.integers(1, 40), elements=st.floats(-50, 50, width=32) | st.just(-math.inf)
).filter(lambda logits: np.isfinite(logits).any())
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(1e-3, 100),
    top_k=st.integers(0, 50),
    top_p=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**64),
)


def warped(logits: Logits, sampling: Sampling) -> NDArray[np.float64]:
    """The distribution that transformers would draw from, in the order of its `generate`."""
    scores = torch.from_numpy(logits.astype(np.float64))[None]
    none = torch.zeros((1, 0), dtype=torch.int64)
    warpers: list[Any] = [TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    for warper in warpers:
        scores = warper(none, scores)
    return np.asarray(scores.softmax(-1)[0])


def drawn_counts(logits: Logits, sampling: Sampling, draws: int) -> NDArray[np.int64]:
    sampler = Sampler(sampling)
    return np.bincount([sampler.draw(logits)[0] for _ in range(draws)], minlength=logits.size)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(seed=1),
        Sampling(temperature=0.5, seed=2),
        Sampling(temperature=3.0, seed=3),
        Sampling(top_k=5, seed=4),
        Sampling(top_p=0.8, seed=5),
        Sampling(temperature=1.5, top_k=12, top_p=0.9, seed=6),
    ],
)
def test_frequencies_are_those_of_the_exact_distribution(sampling: Sampling) -> None:
    # Pearson's test; by Wilson and Hilferty chi2 / df lies under (1 + 4 s)^3 with s =
    # sqrt(2 / 9 df) but for 3 in 100,000 runs, and the seed makes this one run.
    logits = np.random.default_rng(7).standard_normal(20).astype(np.float32) * 1.5
    expected = warped(logits, sampling)
    draws = 20_000
    counts = drawn_counts(logits, sampling, draws)
    kept = expected > 0
    assert not counts[~kept].any()
    chi2 = float(((counts - draws * expected)[kept] ** 2 / (draws * expected[kept])).sum())
    df = int(kept.sum()) - 1
    assert df >= 2
    assert chi2 / df < (1 - 2 / (9 * df) + 4 * math.sqrt(2 / (9 * df))) ** 3


@given(DISTINCT, st.integers(1, 70), st.floats(0.05, 0.99), st.sampled_from([0.5, 1.0, 2.0]))
@settings(max_examples=60, deadline=None)
def test_the_tokens_that_can_be_drawn_are_those_transformers_keeps(
    logits: Logits, top_k: int, top_p: float, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=0)
    keeps = set(np.flatnonzero(warped(logits, sampling) > 0))
    assert reachable(logits, sampling) == keeps


def reachable(logits: Logits, sampling: Sampling) -> set[int]:
    """Every token that some number of the generator leads to."""

    class Every:
        u = 0.0

        def random(self) -> float:
            return self.u

    sampler, every = Sampler(sampling), Every()
    sampler._rng = every  # type: ignore[assignment]
    found: set[int] = set()
    probabilities = warped(logits, sampling)
    for middle in np.cumsum(probabilities) - probabilities / 2:
        every.u = float(middle)
        found.add(sampler.draw(logits)[0])
    return found


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.999])
def test_a_nucleus_of_any_size_is_found(top_p: float) -> None:
    logits = np.random.default_rng(3).standard_normal(9_000).astype(np.float32)
    found = _nucleus(logits, np.exp(logits.astype(np.float64)), top_p)
    assert set(found) == set(np.flatnonzero(warped(logits, Sampling(top_p=top_p)) > 0))


@given(ANY_LOGITS, SAMPLINGS)
@settings(deadline=None)
def test_the_logprob_is_the_models_own_whatever_the_sampling(
    logits: Logits, sampling: Sampling
) -> None:
    exact = torch.log_softmax(torch.from_numpy(logits.astype(np.float64)), -1)
    token_id, logprob = Sampler(sampling).draw(logits)
    assert np.isfinite(logits[token_id])
    assert logprob == pytest.approx(float(exact[token_id]), abs=1e-12)


@given(ANY_LOGITS, SAMPLINGS)
@settings(max_examples=30, deadline=None)
def test_the_same_seed_draws_the_same_tokens(logits: Logits, sampling: Sampling) -> None:
    first, second = Sampler(sampling), Sampler(sampling)
    assert [first.draw(logits) for _ in range(5)] == [second.draw(logits) for _ in range(5)]


def test_another_seed_draws_other_tokens() -> None:
    logits = np.zeros(1000, dtype=np.float32)
    first = [Sampler(Sampling(seed=seed)).draw(logits)[0] for seed in range(20)]
    assert len(set(first)) > 15


def test_ties_at_the_kth_are_all_kept_and_at_the_nucleus_edge_the_lower_id() -> None:
    logits = np.array([1.0, 3.0, 2.0, 2.0, 2.0], dtype=np.float32)
    assert reachable(logits, Sampling(top_k=2)) == {1, 2, 3, 4}
    flat = np.zeros(8, dtype=np.float32)
    assert set(np.flatnonzero(drawn_counts(flat, Sampling(top_p=0.375), 200))) == {0, 1, 2}


def test_one_token_is_left_when_it_is_cold_or_the_cut_is_narrow() -> None:
    logits = np.array([0.0, 5.0, -90_000.0, 4.9], dtype=np.float32)
    for sampling in (
        Sampling(temperature=5e-324),
        Sampling(temperature=1e-3),
        Sampling(top_k=1),
        Sampling(top_p=1e-9),
    ):
        assert set(np.flatnonzero(drawn_counts(logits, sampling, 50))) == {1}


def test_a_token_of_probability_zero_is_never_drawn() -> None:
    logits = np.array([-np.inf, 0.0, -np.inf, 0.0, -np.inf], dtype=np.float32)
    assert set(np.flatnonzero(drawn_counts(logits, Sampling(temperature=1e300), 300))) == {1, 3}

    class Last:
        def random(self) -> float:
            return math.nextafter(1.0, 0.0)

    sampler = Sampler(Sampling())
    sampler._rng = Last()  # type: ignore[assignment]
    assert sampler.draw(logits)[0] == 3


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_broken_logits_give_a_token_without_a_logprob(broken: float) -> None:
    logits = np.array([0.0, 1.0, broken], dtype=np.float32)
    for sampling in (Sampling(), Sampling(top_k=2), Sampling(top_p=0.5)):
        token_id, logprob = Sampler(sampling).draw(logits)
        assert 0 <= token_id < 3
        assert math.isnan(logprob)
    assert math.isnan(Sampler(Sampling()).draw(np.full(3, -np.inf, dtype=np.float32))[1])


@pytest.mark.parametrize("shape", [(0,), (1, 4)])
def test_logits_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"logits must have shape \(V,\)"):
        Sampler(Sampling()).draw(np.zeros(shape, dtype=np.float32))


def test_the_likeliest_are_best_first_and_their_probabilities_the_models() -> None:
    logits = np.array([0.0, 3.0, 1.0, 3.0, -np.inf], dtype=np.float32)
    expected = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum())
    found = likeliest_of(logits, 3)
    assert [token for token, _ in found] == [1, 3, 2]
    assert [value for _, value in found] == pytest.approx(expected[[1, 3, 2]].tolist())
    assert len(likeliest_of(logits, 9)) == 5
    assert likeliest_of(np.array([np.inf, 1.0], dtype=np.float32), 2)[0][0] in {0, 1}
