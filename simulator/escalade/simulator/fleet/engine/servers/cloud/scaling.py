"""How many replicas there are; knows no query.

The rule is that of Kubernetes' HorizontalPodAutoscaler (its documentation, "Algorithm details" and
"Stabilization window"), of queries in slots or waiting: as many replicas as have `target` of their
slots in use, more at once, fewer only when fewer have done for `settle_s`.
"""

from __future__ import annotations

import numpy as np

from escalade.simulator.fleet.engine.compiling import inner
from escalade.simulator.fleet.engine.model import Model
from escalade.simulator.fleet.engine.servers.cloud.replicas import (
    COMING,
    FIRST_COMING,
    LEAVING,
    LOOK,
    LOW_MOST,
    LOW_SINCE,
    OFF,
    ON,
    PAID,
    STARTING,
    TAKING,
    USED,
    WAITING,
    Cloud,
    fill,
)
from escalade.simulator.fleet.engine.servers.heaps import play


@inner
def look(model: Model, cloud: Cloud, now_s: float) -> None:
    """Start replicas, or let some go."""
    cloud.times[LOOK] += model.scale_every_s
    in_work = cloud.counts[USED] + cloud.counts[WAITING]
    wanted = int(np.ceil(in_work / (model.slots * model.target)))
    wanted = min(max(wanted, model.least_replicas), model.most_replicas)
    have = cloud.counts[ON] + cloud.counts[COMING]
    if wanted >= have:
        cloud.times[LOW_SINCE] = np.inf
        _start(model, cloud, wanted - have, now_s)
        return
    if cloud.times[LOW_SINCE] == np.inf:
        cloud.times[LOW_SINCE], cloud.times[LOW_MOST] = now_s, wanted
    cloud.times[LOW_MOST] = max(cloud.times[LOW_MOST], wanted)
    if now_s - cloud.times[LOW_SINCE] >= model.settle_s:
        _let_go(cloud, have - int(cloud.times[LOW_MOST]))
        cloud.times[LOW_SINCE] = np.inf


@inner
def _start(model: Model, cloud: Cloud, many: int, now_s: float) -> None:
    for replica in range(model.most_replicas):
        if many == 0:
            return
        if cloud.state[replica] == OFF:
            cloud.state[replica] = STARTING
            ring = len(cloud.coming)
            place = (cloud.counts[FIRST_COMING] + cloud.counts[COMING]) % ring
            cloud.coming_s[place], cloud.coming[place] = now_s + model.startup_s, replica
            cloud.counts[COMING] += 1
            cloud.counts[PAID] += 1
            many -= 1


@inner
def _let_go(cloud: Cloud, many: int) -> None:
    """The last replicas first; one that starts is not stopped, and one stays."""
    for replica in range(len(cloud.state) - 1, -1, -1):
        if many == 0 or cloud.counts[ON] == 1:
            return
        if cloud.state[replica] == TAKING:
            cloud.counts[ON] -= 1
            cloud.load[replica] = np.inf
            play(cloud.least, cloud.load, replica)
            if cloud.active[replica] > 0:
                cloud.state[replica] = LEAVING
            else:
                cloud.state[replica] = OFF
                cloud.counts[PAID] -= 1
            many -= 1


@inner
def coming_at(cloud: Cloud) -> float:
    """When the next replica that starts takes queries; infinite for never."""
    if cloud.counts[COMING] == 0:
        return np.inf
    return float(cloud.coming_s[cloud.counts[FIRST_COMING]])


@inner
def come(model: Model, cloud: Cloud, now_s: float) -> None:
    """Let the replica that is due take queries, those that wait first."""
    replica = cloud.coming[cloud.counts[FIRST_COMING]]
    cloud.counts[FIRST_COMING] = (cloud.counts[FIRST_COMING] + 1) % len(cloud.coming)
    cloud.counts[COMING] -= 1
    cloud.counts[ON] += 1
    cloud.state[replica] = TAKING
    cloud.load[replica] = cloud.active[replica]
    play(cloud.least, cloud.load, replica)
    fill(model, cloud, replica, now_s)
