"""When requests are due, and which prompt each asks; knows no clock and no server.

One seed, one schedule: the same moments and the same prompts in the same order, whatever the server
does. Of a closed loop only the order of the prompts can be known before.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Literal

import msgspec

from escalade.simulator.errors import LoadError

Arrivals = Literal["poisson", "constant"]

#: Clients that a process of Python can drive, each with a connection of its own.
MOST_CLIENTS = 4096
#: Requests a second of an open loop: several times what a process of Python sends. More would only
#: wait in its memory, each until its deadline.
MOST_RATE = 10_000.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is asked.

    Attributes:
        clients: of a closed loop, each with one request at a time; None is an open loop.
        rate: requests a second of an open loop, whatever becomes of them; None is a closed loop.
        arrivals: of an open loop. Poisson is what many clients who know nothing of each other make.
        seconds: that are measured; None is until `requests` are.
        requests: that are measured; None is as many as come in `seconds`.
        warm_up_s: seconds before that, asked the same way and not measured.
        deadline_s: that a request may take from when it was due.
        seed: of moments and prompts.
    """

    clients: int | None = None
    rate: float | None = None
    arrivals: Arrivals = "poisson"
    seconds: float | None = None
    requests: int | None = None
    warm_up_s: float = 1.0
    deadline_s: float = 10.0
    seed: int = 1

    def __post_init__(self) -> None:
        one_of(clients=self.clients, rate=self.rate)
        one_of(seconds=self.seconds, requests=self.requests)
        if self.clients is not None and not 1 <= self.clients <= MOST_CLIENTS:
            raise LoadError(f"clients: must be in 1..{MOST_CLIENTS}, got {self.clients}")
        if self.requests is not None and self.requests < 1:
            raise LoadError(f"requests: must be at least 1, got {self.requests}")
        for name in ("rate", "seconds", "deadline_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise LoadError(f"{name}: must be above 0 and finite, got {value}")
        if self.rate is not None and self.rate > MOST_RATE:
            raise LoadError(f"rate: must be at most {MOST_RATE:g}, got {self.rate:g}")
        if not 0 <= self.warm_up_s < math.inf:
            raise LoadError(f"warm_up_s: must be at least 0 and finite, got {self.warm_up_s}")


def one_of(**options: object) -> None:
    """Refuse none or both of two options.

    Raises:
        LoadError: not exactly one is given.
    """
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        raise LoadError(f"{' or '.join(options)}: give one of them, got {len(given)}")


def moments(plan: Plan) -> Iterator[float]:
    """Seconds from the start at which an open loop's requests are due, rising, for ever.

    Raises:
        LoadError: the plan is a closed loop's.
    """
    if plan.rate is None:
        raise LoadError("rate: must be above 0 and finite, got none: a closed loop has no moments")
    if plan.arrivals == "constant":
        yield from (number / plan.rate for number in itertools.count())
    rng = random.Random(f"moments {plan.seed}")  # noqa: S311 - no secret
    at_s = 0.0
    while True:
        at_s += rng.expovariate(plan.rate)
        yield at_s


def prompt_order(prompts: int, seed: int) -> Iterator[int]:
    """Which of so many prompts each request asks, for ever: all of them, shuffled, then again."""
    rng = random.Random(f"prompts {seed}")  # noqa: S311 - no secret
    while True:
        yield from rng.sample(range(prompts), prompts)
