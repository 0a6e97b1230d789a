"""A fleet as arrays, what is drawn of it and what its links do; knows no event and no file."""

from escalade.simulator.fleet.engine.model.draws import ARRIVAL, exponential, record_of, uniform
from escalade.simulator.fleet.engine.model.links import (
    delays_of,
    dialling_of,
    first_attempt,
    home_s,
    leaving,
    leaving_s,
    next_attempt,
)
from escalade.simulator.fleet.engine.model.model import (
    Bools,
    Floats,
    Gateways,
    Ints,
    Model,
    device_of,
    gateway_of,
    group_of,
    key_of,
    no_gateways,
    recorded_as,
)

__all__ = [
    "ARRIVAL",
    "Bools",
    "Floats",
    "Gateways",
    "Ints",
    "Model",
    "delays_of",
    "device_of",
    "dialling_of",
    "exponential",
    "first_attempt",
    "gateway_of",
    "group_of",
    "home_s",
    "key_of",
    "leaving",
    "leaving_s",
    "next_attempt",
    "no_gateways",
    "record_of",
    "recorded_as",
    "uniform",
]
