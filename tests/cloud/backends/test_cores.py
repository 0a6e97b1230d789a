"""Cores under a control group's quota, as both versions write it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from escalade.cloud.backends import usable_cores

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "cores"),
    [
        ("100000 100000", 1),
        ("150000 100000", min(ALL, 2)),
        ("20000 100000", 1),
        ("max 100000", ALL),
        ("6400000 100000", min(ALL, 64)),
        ("nonsense", ALL),
    ],
)
def test_a_quota_of_version_2_bounds_the_cores(tmp_path: Path, said: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(said + "\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("50000", 1), ("-1", ALL)])
def test_a_quota_of_version_1_bounds_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == cores


def test_without_a_control_group_all_cores_are_usable(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == ALL
