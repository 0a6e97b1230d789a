"""What one query beside another costs, fitted to answers of a live server; knows no server.

The model is that of a fleet's replica (`escalade.simulator.fleet`): an answer of `n` tokens takes
`(start_s + n token_s) (1 + slowdown (b - 1))` where `b` are computed at once. `b` is taken as the
number of clients of a closed loop, each of which has one request at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.simulator.errors import LoadError
from escalade.simulator.timing import ClockReport

#: Clients of the loops, by default: each twice as many.
CLIENTS = 1, 2, 4, 8, 16

_GOLDEN = (math.sqrt(5) - 1) / 2
#: Steps of a golden section search of [0, 1]: to 1e-6 of it.
_STEPS = 29

#: Tokens and seconds of answers, `(N, 2)`.
Answers = NDArray[np.float64]


class FitRow(msgspec.Struct, frozen=True, kw_only=True):
    """One closed loop.

    Attributes:
        clients: that asked at once.
        answers: that they got.
        tokens: of one, on average.
        measured_s: seconds of one, on average,
        fitted_s: and what the model has in their place.
    """

    clients: int
    answers: int
    tokens: float
    measured_s: float
    fitted_s: float


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A server's service time by batch size and tokens.

    Attributes:
        start_s: seconds of an answer before its tokens, the call's own among them.
        token_s: of each token.
        slowdown: each query beside it makes one take so many times longer.
        slots: the most that were asked at once.
        error: root mean square, over the loops, of fitted less measured mean beside the measured.
        rows: by clients.
        clock: what this machine makes of delays; None where that was not timed.
    """

    start_s: float
    token_s: float
    slowdown: float
    slots: int
    error: float
    rows: list[FitRow]
    clock: ClockReport | None = None


def fit(loops: Mapping[int, Answers]) -> Fit:
    """Fit the model, each loop counting alike, by least squares of relative errors.

    Args:
        loops: answers by the number of clients, at least 2 numbers.

    Raises:
        LoadError: a loop has no answer.
    """
    for clients, answers in loops.items():
        if not len(answers):
            raise LoadError(
                f"a fit needs answers of every loop; that of {clients} clients has none"
            )
    slowdown = best_slowdown(lambda slowdown: _solved(loops, slowdown)[0])
    _, start_s, token_s = _solved(loops, slowdown)
    rows = []
    for clients, answers in sorted(loops.items()):
        tokens, measured_s = answers.mean(axis=0).tolist()
        fitted_s = (start_s + token_s * tokens) * _stretch(clients, slowdown)
        rows.append(
            FitRow(
                clients=clients,
                answers=len(answers),
                tokens=tokens,
                measured_s=measured_s,
                fitted_s=fitted_s,
            )
        )
    return Fit(
        start_s=start_s,
        token_s=token_s,
        slowdown=slowdown,
        slots=max(loops),
        error=_error(rows),
        rows=rows,
    )


def best_slowdown(error: Callable[[float], float], *, steps: int = _STEPS) -> float:
    """Where in [0, 1] an error is least: a golden section search.

    Args:
        error: of a slowdown; one valley, as of one curve.
        steps: of the search; each leaves 0.62 of what is left.
    """
    low, high = 0.0, 1.0
    left, right = 1 - _GOLDEN, _GOLDEN
    of_left, of_right = error(left), error(right)
    for _ in range(steps - 1):  # one of both is the next step's too
        if of_left < of_right:
            high, right, of_right = right, left, of_left
            left = high - _GOLDEN * (high - low)
            of_left = error(left)
        else:
            low, left, of_left = left, right, of_right
            right = low + _GOLDEN * (high - low)
            of_right = error(right)
    return left if of_left < of_right else right


def seconds_alone(answers: Answers) -> tuple[float, float]:
    """Seconds of a start and of a token, of answers that had no other beside them."""
    _, start_s, token_s = _solved({1: answers}, 0.0)
    return start_s, token_s


def _stretch(clients: int, slowdown: float) -> float:
    return 1 + slowdown * (clients - 1)


def _solved(loops: Mapping[int, Answers], slowdown: float) -> tuple[float, float, float]:
    """Squared error, seconds of a start and of a token that are best for a slowdown."""
    sides, ends = [], []
    for clients, answers in loops.items():
        tokens, taken_s = answers.T
        weight = 1 / (taken_s.mean() * math.sqrt(len(answers)))
        stretch = _stretch(clients, slowdown) * weight
        sides.append(np.column_stack([np.full(len(tokens), stretch), stretch * tokens]))
        ends.append(weight * taken_s)
    side, end = np.concatenate(sides), np.concatenate(ends)
    (start_s, token_s), *_ = np.linalg.lstsq(side, end)
    # What is below 0 is none, and the other is all of it.
    if start_s < 0:
        start_s, token_s = 0.0, _least_squares(side[:, 1], end)
    elif token_s < 0:
        start_s, token_s = _least_squares(side[:, 0], end), 0.0
    left = side @ np.array([start_s, token_s]) - end
    return float(left @ left), float(start_s), float(token_s)


def _least_squares(column: NDArray[np.float64], end: NDArray[np.float64]) -> float:
    return float(column @ end / (column @ column))


def _error(rows: Sequence[FitRow]) -> float:
    relative = [row.fitted_s / row.measured_s - 1 for row in rows]
    return math.sqrt(sum(one * one for one in relative) / len(relative))
