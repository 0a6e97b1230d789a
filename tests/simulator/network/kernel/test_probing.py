"""What the kernel has is tried for real; what it lacks is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from escalade.simulator.network.kernel import KernelPart, kernel_lacks, probe_kernel

PARTS = ["namespace", "veth", "netem"]


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


def test_a_machine_without_the_tools_is_told_so_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = probe_kernel()
    assert [part.lacking for part in found] == ["unshare: No such file or directory"] * 3
    assert kernel_lacks(found) == "namespace, veth, netem: unshare: No such file or directory"


def test_what_is_there_is_not_said() -> None:
    parts = [KernelPart(name="veth", lacking=""), KernelPart(name="netem", lacking="unknown")]
    assert kernel_lacks(parts) == "netem: unknown"
    assert kernel_lacks(parts[:1]) == ""
