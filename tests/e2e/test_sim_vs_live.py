"""Virtual time against the live system: processes, sockets, the proxy between them.

Two tiers on one network, one query after the other, with a model of random weights; the bundled
cascade on six networks, three tiers, and load are in `test_sim_vs_live_networks`.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from escalade.cli.demo.processes import running
from escalade.edge import EdgeClient, Query
from escalade.edge.base import Record
from escalade.edge.trace import Trace
from escalade.simulator.network import Network, get_profile
from escalade.simulator.replay import replay

_QUERIES = 40


@pytest.mark.slow
def test_a_replayed_cascade_takes_as_long_as_the_live_one(
    tiny_model_dir: Path, float_artifact: Path, tmp_path: Path
) -> None:
    """Random weights, so that the gate is set to send every query on."""
    records = [
        Record(id=str(k), task="g2p", prompt=f"g2p: cascade {k}", references=[])
        for k in range(_QUERIES)
    ]
    with ExitStack() as stack:
        cloud = stack.enter_context(
            running("server", "serve", str(tiny_model_dir), "--listen", "127.0.0.1:0")
        )
        clients = []
        for profile in ("free", "lte"):
            proxy = running("proxy", "proxy", "--profile", profile, "--upstream", cloud)
            path = tmp_path / f"{profile}.toml"
            path.write_text(
                f"""[[tiers]]
name = "device"
members = ["{float_artifact}"]
gate = {{ rule = "mean", threshold = -1.0 }}

[[tiers]]
name = "cloud"
place = "cloud"
address = "{stack.enter_context(proxy)}"
"""
            )
            clients.append(stack.enter_context(EdgeClient.open(path)))
            clients[-1].ask(Query(text="g2p: open the connection"))
        near, far = clients
        recorded, live = [], []
        for done, record in enumerate(records):
            for client in (near, far) if done % 2 else (far, near):
                if client is near:
                    recorded.append(near.trace_record(record, shadow=True))
                else:
                    live.append(far.ask(Query(text=record.prompt)).total_s)
        trace = Trace(near.trace_header(), recorded)
    virtual_s = replay(trace, Network(get_profile("lte")), [-1.0], seed=1).cascade_s
    for of in (0.5, 0.9):
        # What a loaded machine adds to one of the two is in milliseconds, of a hundred.
        assert np.quantile(virtual_s, of) == pytest.approx(np.quantile(live, of), rel=0.1)
