"""Gateways between devices and the cloud; knows neither of these."""

from escalade.simulator.fleet.engine.servers.gateways.bounds import (
    BACK,
    CALLS_AGAIN,
    Bounds,
    answer_at,
    as_many,
    come_again,
    give_back,
    look_due,
    new_bounds,
    next_again,
    next_answered,
)
from escalade.simulator.fleet.engine.servers.gateways.onward import count_past, sent_on
from escalade.simulator.fleet.engine.servers.gateways.passing import run_gateways
from escalade.simulator.fleet.engine.servers.gateways.serving import (
    Serving,
    at_gateways,
    new_serving,
    say_gateways,
    with_jobs,
)
from escalade.simulator.fleet.engine.servers.gateways.slots import (
    leave,
    let_go,
    let_in,
    stay,
    take_call,
)

__all__ = [
    "BACK",
    "CALLS_AGAIN",
    "Bounds",
    "Serving",
    "answer_at",
    "as_many",
    "at_gateways",
    "come_again",
    "count_past",
    "give_back",
    "leave",
    "let_go",
    "let_in",
    "look_due",
    "new_bounds",
    "new_serving",
    "next_again",
    "next_answered",
    "run_gateways",
    "say_gateways",
    "sent_on",
    "stay",
    "take_call",
    "with_jobs",
]
