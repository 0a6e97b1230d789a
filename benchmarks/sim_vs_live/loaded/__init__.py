"""Load: calls in an open loop, live and through the fleet's queue in virtual time.

They would keep the cloud at work for 70 % of the time if it took one at a time. It takes more, and
could be asked more; but clients, proxies and servers of three tiers share two cores.

The calls are those of queries that climb to the cloud; what devices take themselves is of the light
load, for two cores are no fleet of devices. The moments and the order of the queries are the same,
live and virtual. What each takes alone is recorded where nothing delays, one right after the other:
with pauses of 70 ms, as a network makes them, a server took a third longer. What one beside it
makes of that, and what a call takes else, is of a control: in turns with them, as many a second
over links that do not delay, of other queries at other moments. What is compared is so the network,
and the queue on it.
"""

from benchmarks.sim_vs_live.loaded.calls import Call, recorded_calls
from benchmarks.sim_vs_live.loaded.reckoning import Control, measure

__all__ = ["Call", "Control", "measure", "recorded_calls"]
