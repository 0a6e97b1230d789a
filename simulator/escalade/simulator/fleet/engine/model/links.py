"""What a call meets on its links: delays, dialling, outages and back-off; knows no event."""

from __future__ import annotations

from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model.draws import BACKOFF, sample_of, uniform
from escalade.simulator.fleet.engine.model.model import Floats, Model, device_of, query_of


@inner
def _delays(
    up_s: Floats, down_s: Floats, seed: int, key: int, record: int, attempt: int
) -> tuple[float, float]:
    many = up_s.shape[1]
    if many == 1:
        return up_s[record, 0], down_s[record, 0]
    sample = sample_of(seed, device_of(key), query_of(key), attempt, many)
    return up_s[record, sample], down_s[record, sample]


@compiled
def delays_of(model: Model, key: int, record: int, attempt: int) -> tuple[float, float]:
    """What an attempt takes over the link to the cloud, up and down."""
    return _delays(model.up_s, model.down_s, model.seed, key, record, attempt)


@compiled
def leaving(model: Model, group: int) -> int:
    """The link that calls of a group leave their devices over, see `Model.first_outage`."""
    return group if model.gateways.kind[group] < 0 else len(model.gateways.kind) + group


@compiled
def leaving_s(model: Model, group: int, key: int, record: int, attempt: int) -> float:
    """What an attempt takes up from its device, to the cloud or to its gateway."""
    if model.gateways.kind[group] < 0:
        return delays_of(model, key, record, attempt)[0]
    near = model.gateways
    return _delays(near.up_s, near.down_s, model.seed, key, record, attempt)[0]


@compiled
def home_s(model: Model, group: int, key: int, record: int) -> float:
    """What an answer takes from the gateway to the device: that of the first attempt; else 0."""
    if model.gateways.kind[group] < 0:
        return 0.0
    near = model.gateways
    return _delays(near.up_s, near.down_s, model.seed, key, record, 0)[1]


@compiled
def dialling_of(model: Model, key: int, record: int, attempt: int) -> tuple[float, float]:
    """What an attempt that dials takes until it is sent, and from then on up."""
    many = model.open_s.shape[1]
    sample = sample_of(model.seed, device_of(key), query_of(key), attempt, many)
    return model.open_s[record, sample], model.first_up_s[record, sample]


@compiled
def is_out(model: Model, link: int, at_s: float) -> bool:
    """Whether no call leaves over a link at a time."""
    for k in range(model.first_outage[link], model.first_outage[link + 1]):
        if model.outage_from_s[k] <= at_s < model.outage_to_s[k]:
            return True
    return False


@compiled
def next_attempt(
    model: Model, link: int, key: int, failed_s: float, first_s: float, attempt: int
) -> tuple[bool, float, int]:
    """Whether a failed call leaves over a link again; when, or when it was given up; its attempt.

    Exponential back-off with full jitter, as the client has it (`escalade.edge.wire`). A call that
    cannot leave fails at once.
    """
    at_s = failed_s
    while True:
        most_s = min(model.backoff_first_s * 2.0 ** min(attempt, 60), model.backoff_most_s)
        draw = uniform(model.seed, device_of(key), query_of(key), BACKOFF, attempt)
        if at_s + draw * most_s - first_s >= model.deadline_s:
            return False, at_s, attempt
        at_s += draw * most_s
        attempt += 1
        if not is_out(model, link, at_s):
            return True, at_s, attempt


@inner
def first_attempt(model: Model, link: int, key: int, at_s: float) -> tuple[bool, float, int]:
    """The same of a call that is to leave over a link for the first time."""
    if is_out(model, link, at_s):
        return next_attempt(model, link, key, at_s, at_s, 0)
    return True, at_s, 0
