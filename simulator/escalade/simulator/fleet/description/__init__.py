"""What is said of a fleet in TOML, read and refused; knows no engine, no trace."""

from escalade.simulator.fleet.description.checking import read_spec
from escalade.simulator.fleet.description.spec import (
    MOST_REPLICAS,
    MOST_S,
    MOST_SLOTS,
    Answers,
    Bursts,
    CloudTable,
    Daily,
    Dialling,
    GatewayTable,
    Group,
    Outage,
    Poisson,
    Recorded,
    Spec,
)

__all__ = [
    "MOST_REPLICAS",
    "MOST_S",
    "MOST_SLOTS",
    "Answers",
    "Bursts",
    "CloudTable",
    "Daily",
    "Dialling",
    "GatewayTable",
    "Group",
    "Outage",
    "Poisson",
    "Recorded",
    "Spec",
    "read_spec",
]
