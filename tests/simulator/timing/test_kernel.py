"""What the kernel has is tried for real; what it lacks is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from escalade.simulator.timing.drivers import drivers_of
from escalade.simulator.timing.kernel import KernelPart, probe_kernel

PARTS = ["namespace", "veth", "tbf", "netem"]


def test_each_part_is_there_or_says_why_not() -> None:
    found = {part.name: part.lacking for part in probe_kernel()}
    assert list(found) == PARTS
    if found["namespace"]:
        # Without it nothing else can be tried, and each says the same.
        assert set(found.values()) == {found["namespace"]}
    elif shutil.which("tc") is None:
        assert "tc" in found["netem"]
    else:
        assert "tc: not found" not in found["netem"]


def test_a_machine_without_the_tools_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [part.lacking for part in probe_kernel()] == ["unshare: No such file or directory"] * 4


def test_only_the_kernels_driver_can_lack_something() -> None:
    parts = [KernelPart(name="tbf", lacking=""), KernelPart(name="netem", lacking="unknown")]
    lacking = {row.name: row.lacking for row in drivers_of(parts)}
    assert lacking == {"proxy": "", "calls": "", "virtual": "", "kernel": "netem: unknown"}
