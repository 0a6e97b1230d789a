"""What can put a network in a query's path, and what of it a machine may lack."""

from __future__ import annotations

from escalade.simulator.network import KernelPart
from escalade.simulator.timing.drivers import drivers_of


def test_only_the_kernels_driver_can_lack_something() -> None:
    parts = [KernelPart(name="veth", lacking=""), KernelPart(name="netem", lacking="unknown")]
    lacking = {row.name: row.lacking for row in drivers_of(parts)}
    assert lacking == {"proxy": "", "calls": "", "virtual": "", "kernel": "netem: unknown"}
