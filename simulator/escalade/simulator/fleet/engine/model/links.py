"""What a call meets on its links: delays, dialling, outages and back-off; knows no event."""

from __future__ import annotations

from escalade.simulator.fleet.engine.compiling import compiled, inner
from escalade.simulator.fleet.engine.model.draws import BACKOFF, sample_of, uniform
from escalade.simulator.fleet.engine.model.model import Floats, Model, device_of, query_of

#: What the attempts of a call past its gateway have beside their number, so that what is drawn for
#: them is of their own.
PAST = 1 << 32


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
    if attempt >= PAST:
        past = model.gateways.past
        return _delays(past.up_s, past.down_s, model.seed, key, record, attempt)
    return _delays(model.up_s, model.down_s, model.seed, key, record, attempt)


@compiled
def leaving(model: Model, group: int) -> int:
    """The link that calls of a group leave their devices over, see `Model.first_outage`."""
    return group if model.gateways.kind[group] < 0 else len(model.gateways.kind) + group


@compiled
def to_cloud(model: Model, group: int, attempt: int) -> int:
    """The link that an attempt of a group's call goes to the cloud over, likewise."""
    return group if attempt < PAST else 2 * len(model.gateways.kind) + group


@compiled
def leaving_s(model: Model, group: int, key: int, record: int, attempt: int) -> float:
    """What an attempt takes up from its device, to the cloud or to its gateway."""
    if model.gateways.kind[group] < 0:
        return delays_of(model, key, record, attempt)[0]
    near = model.gateways
    return _delays(near.up_s, near.down_s, model.seed, key, record, attempt)[0]


@compiled
def refused_s(model: Model, key: int, record: int, attempt: int) -> float:
    """What it takes until a device hears that its gateway has refused an attempt."""
    near = model.gateways
    return _delays(near.up_s, near.down_s, model.seed, key, record, attempt)[1]


@compiled
def home_s(model: Model, group: int, key: int, record: int, attempt: int) -> float:
    """What an answer takes from the gateway to the device: that of the first attempt; else 0."""
    if model.gateways.kind[group] < 0 or attempt >= PAST:
        return 0.0
    near = model.gateways
    return _delays(near.up_s, near.down_s, model.seed, key, record, 0)[1]


@compiled
def dialling_of(
    open_s: Floats, first_up_s: Floats, seed: int, key: int, record: int, attempt: int
) -> tuple[float, float]:
    """What an attempt that dials takes until it is sent, and from then on up."""
    sample = sample_of(seed, device_of(key), query_of(key), attempt, open_s.shape[1])
    return open_s[record, sample], first_up_s[record, sample]


@inner
def connected(
    model: Model,
    used_s: Floats,
    ready_s: Floats,
    who: int,
    idle_s: float,
    open_s: Floats,
    first_up_s: Floats,
    key: int,
    record: int,
    attempt: int,
    sent_s: float,
    up_s: float,
) -> tuple[float, float]:
    """When a call of who dials goes on its way, and what that takes.

    Each has one connection, and who calls while it is dialled waits for it. A call that left before
    the one that dialled, though it was due after it (a back-off lies between), dials itself. Since
    when a connection is idle goes by when calls leave: answers are others' affair.

    Args:
        model: the fleet.
        used_s: when a call of each last left, and
        ready_s: from when its connection is open; they move on.
        who: calls.
        idle_s: see `Model`; so are
        open_s: and
        first_up_s: of this link.
        key: of the call,
        record: what it is recorded as,
        attempt: and its attempt.
        sent_s: when it leaves over a connection that is open,
        up_s: and what its way up then takes.
    """
    last_s = used_s[who]
    if sent_s - last_s > idle_s or sent_s < last_s < ready_s[who]:
        dial_s, up_s = dialling_of(open_s, first_up_s, model.seed, key, record, attempt)
        ready_s[who] = sent_s + dial_s
    used_s[who] = max(last_s, sent_s)
    return max(sent_s, ready_s[who]), up_s


@compiled
def is_out(model: Model, link: int, at_s: float) -> bool:
    """Whether no call leaves over a link at a time."""
    for k in range(model.first_outage[link], model.first_outage[link + 1]):
        if model.outage_from_s[k] <= at_s < model.outage_to_s[k]:
            return True
    return False


@compiled
def next_attempt(
    model: Model,
    link: int,
    key: int,
    failed_s: float,
    first_s: float,
    attempt: int,
    least_s: float,
) -> tuple[bool, float, int]:
    """Whether a failed call leaves over a link again; when, or when it was given up; its attempt.

    Exponential back-off with full jitter, as the client has it (`escalade.edge.wire`). A call that
    cannot leave fails at once. Who has refused it may say how long it waits at least.
    """
    at_s = failed_s
    while True:
        tries = min(attempt & (PAST - 1), 60)
        most_s = min(model.backoff_first_s * 2.0**tries, model.backoff_most_s)
        draw = uniform(model.seed, device_of(key), query_of(key), BACKOFF, attempt)
        wait_s = max(draw * most_s, least_s)
        if at_s + wait_s - first_s >= model.deadline_s:
            return False, at_s, attempt
        at_s += wait_s
        least_s = 0.0
        attempt += 1
        if not is_out(model, link, at_s):
            return True, at_s, attempt


@inner
def first_attempt(
    model: Model, link: int, key: int, at_s: float, attempt: int
) -> tuple[bool, float, int]:
    """The same of a call that is to leave over a link for the first time."""
    if is_out(model, link, at_s):
        return next_attempt(model, link, key, at_s, at_s, attempt, 0.0)
    return True, at_s, attempt
