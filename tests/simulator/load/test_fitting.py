"""A fit of answers that were made by the model finds it again."""

from __future__ import annotations

import numpy as np
import pytest

from escalade.simulator.errors import LoadError
from escalade.simulator.load.fitting import fit


def made(
    start_s: float, token_s: float, slowdown: float, noise: float = 0.0
) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(1)
    loops = {}
    for clients in (1, 2, 4, 8, 16):
        tokens = rng.integers(1, 40, 50 * clients)
        taken_s = (start_s + token_s * tokens) * (1 + slowdown * (clients - 1))
        taken_s = taken_s * np.exp(noise * rng.standard_normal(len(tokens)))
        loops[clients] = np.column_stack([tokens, taken_s])
    return loops


@pytest.mark.parametrize("slowdown", [0.0, 0.01, 0.2, 1.0])
@pytest.mark.parametrize("start_s", [0.0, 0.02])
def test_what_the_model_made_is_found_again(start_s: float, slowdown: float) -> None:
    found = fit(made(start_s, 0.003, slowdown))
    assert found.slowdown == pytest.approx(slowdown, abs=1e-5)
    assert found.start_s == pytest.approx(start_s, abs=1e-6)
    assert found.token_s == pytest.approx(0.003, rel=1e-4)
    assert found.error < 1e-4
    assert found.slots == 16


def test_seconds_that_fall_with_tokens_are_all_a_start() -> None:
    """Chance can have it so, where answers take little for their tokens; no time is below 0."""
    answers = np.column_stack([np.arange(1.0, 21.0), np.linspace(0.3, 0.2, 20)])
    found = fit({1: answers, 2: answers})
    assert found.token_s == 0
    assert found.start_s == pytest.approx(0.25)


def test_the_error_is_that_of_the_means() -> None:
    found = fit(made(0.01, 0.003, 0.1, noise=0.2))
    assert found.slowdown == pytest.approx(0.1, rel=0.1)
    off = [row.fitted_s / row.measured_s - 1 for row in found.rows]
    assert found.error == pytest.approx(np.sqrt(np.mean(np.square(off))))
    assert 0 < found.error < 0.1
    assert [row.answers for row in found.rows] == [50, 100, 200, 400, 800]


def test_what_another_model_made_has_a_large_error() -> None:
    loops = made(0.01, 0.003, 0.0)
    loops[16][:, 1] *= 5
    assert fit(loops).error > 0.3


def test_a_loop_without_answers_is_named() -> None:
    loops = made(0.01, 0.003, 0.1)
    loops[4] = np.empty((0, 2))
    with pytest.raises(LoadError, match="that of 4 clients has none"):
        fit(loops)
