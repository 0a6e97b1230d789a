"""Calls on from a gateway to the cloud, or past it; knows no queue."""

from __future__ import annotations

from escalade.simulator.fleet.engine.compiling import inner
from escalade.simulator.fleet.engine.model import (
    PAST,
    Model,
    connected,
    delays_of,
    device_of,
    first_attempt,
    to_cloud,
)
from escalade.simulator.fleet.engine.servers.gateways.serving import Serving
from escalade.simulator.fleet.engine.tally import Tally


@inner
def sent_on(
    model: Model, serving: Serving, gateway: int, job: int, now_s: float, attempt: int
) -> tuple[bool, float, int]:
    """Whether a call to the cloud leaves; when it comes there, or was given up; its attempt.

    Args:
        model: the fleet.
        serving: where its gateways stand; their connections, and those past them, move on.
        gateway: whose job it is.
        job: the query.
        now_s: when it is to leave.
        attempt: 0 from the gateway, `PAST` from the device.
    """
    key, group, record = serving.key[job], serving.group[job], serving.record[job]
    link = to_cloud(model, group, attempt)
    leaves, sent_s, attempt = first_attempt(model, link, key, now_s, attempt)
    if not leaves:
        return False, sent_s, attempt
    up_s, _ = delays_of(model, key, record, attempt)
    near = model.gateways
    if attempt < PAST:
        kind = serving.kind[gateway]
        if near.dials[kind]:
            sent_s, up_s = connected(
                model,
                serving.called_s,
                serving.open_s,
                gateway,
                near.idle_s[kind],
                near.open_s,
                near.first_up_s,
                key,
                record,
                attempt,
                sent_s,
                up_s,
            )
    elif model.dials[group]:
        sent_s, up_s = connected(
            model,
            serving.past_called_s,
            serving.past_open_s,
            device_of(key),
            model.idle_s[group],
            near.past.open_s,
            near.past.first_up_s,
            key,
            record,
            attempt,
            sent_s,
            up_s,
        )
    return True, sent_s + up_s, attempt


@inner
def count_past(model: Model, serving: Serving, job: int, tally: Tally) -> None:
    """Count a query whose device asks the cloud itself."""
    if serving.came_s[job] >= model.warm_up_s:
        tally.past[serving.group[job]] += 1
