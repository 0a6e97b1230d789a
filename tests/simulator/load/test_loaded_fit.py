"""A fit of an open loop that the model itself made finds it again."""

from __future__ import annotations

import numpy as np
import pytest

from escalade.simulator.errors import LoadError
from escalade.simulator.fleet import replica_s
from escalade.simulator.load.loaded_fit import fit_loaded

START_S, TOKEN_S, RATE, MANY = 0.003, 0.002, 45.0, 300


def made(
    slowdown: float, beside_s: float, noise_s: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers of one client; when those of an open loop were sent, and they."""
    rng = np.random.default_rng(2)
    tokens = rng.integers(2, 12, MANY)
    alone_s = START_S + TOKEN_S * tokens
    sent_s = 5.0 + np.cumsum(rng.exponential(1 / RATE, MANY))
    took_s = replica_s(sent_s - sent_s[0], alone_s, slowdown) + beside_s
    took_s += noise_s * rng.exponential(size=MANY)
    return np.column_stack([tokens, alone_s]), sent_s, np.column_stack([tokens, took_s])


@pytest.mark.parametrize(("slowdown", "beside_s"), [(0.1, 0.002), (0.4, 0.0)])
def test_what_the_model_made_is_found_again(slowdown: float, beside_s: float) -> None:
    alone, sent_s, answers = made(slowdown, beside_s)
    found = fit_loaded(alone, sent_s, answers, rate=RATE, queue=replica_s)
    assert found.slowdown == pytest.approx(slowdown, abs=2e-3)
    assert found.beside_s == pytest.approx(beside_s, abs=2e-4)
    assert (found.start_s, found.token_s) == pytest.approx((START_S, TOKEN_S))
    assert found.error < 0.01
    ends_s = sent_s + answers[:, 1]
    assert found.slots == max(int(np.sum(ends_s[:k] > at)) + 1 for k, at in enumerate(sent_s))


def test_noise_is_told_from_the_queue() -> None:
    alone, sent_s, answers = made(0.15, 0.001, noise_s=0.001)
    found = fit_loaded(alone, sent_s, answers, rate=RATE, queue=replica_s)
    assert found.slowdown == pytest.approx(0.15, abs=0.02)
    assert found.beside_s == pytest.approx(0.002, abs=5e-4)
    rows = {row.name: row.fitted_s / row.measured_s for row in found.rows}
    assert rows == pytest.approx(dict.fromkeys(("mean", "p50", "p95"), 1.0), abs=0.03)
    assert 0 < found.error < 0.1


def test_a_loop_without_answers_is_named() -> None:
    alone, sent_s, answers = made(0.1, 0.0)
    with pytest.raises(LoadError, match="that of one client has none"):
        fit_loaded(np.empty((0, 2)), sent_s, answers, rate=RATE, queue=replica_s)
    with pytest.raises(LoadError, match="that of 45 requests/s has none"):
        fit_loaded(alone, np.empty(0), np.empty((0, 2)), rate=RATE, queue=replica_s)
