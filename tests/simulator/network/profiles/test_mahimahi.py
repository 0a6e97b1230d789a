"""Traces of mahimahi's: as many bits pass, and one line for what is no such trace."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escalade.simulator.errors import ProfileError
from escalade.simulator.network.profiles import RateSeries, read_mahimahi


def test_a_packet_each_millisecond_is_12_mbps(tmp_path: Path) -> None:
    trace = tmp_path / "12mbps"
    trace.write_text("".join(f"{ms}\n" for ms in range(1, 1001)))
    series = read_mahimahi(trace)
    assert list(series.values) == pytest.approx([8 * 1504 / 1000] * 10)
    assert series.period_s == 1


def test_steps_without_a_packet_have_no_bandwidth(tmp_path: Path) -> None:
    trace = tmp_path / "bursts"
    trace.write_text("0\n100\n100\n300\n")
    assert list(read_mahimahi(trace).values) == pytest.approx(
        [3 * 8 * 1504 / 1e5, 0, 8 * 1504 / 1e5]
    )


@settings(deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 2000), min_size=1), st.integers(1, 3000))
def test_as_many_bits_pass_and_a_file_says_the_same(
    tmp_path: Path, moments: list[int], step_ms: int
) -> None:
    trace, table = tmp_path / "trace", tmp_path / "table.csv"
    moments = sorted([*moments, 1])
    trace.write_text("\n".join(map(str, moments)))
    series = read_mahimahi(trace, step_ms=step_ms)
    table.write_text("".join(series.csv_lines()))
    assert RateSeries.read(table) == series
    if len(series.values) > 1:  # else it is as long as anybody likes
        assert series.period_s == pytest.approx(moments[-1] / 1000)
    passed_s = moments[-1] / 1000
    assert series.mean * passed_s * 1e6 == pytest.approx(len(moments) * 8 * 1504)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "trace: must have a line above 0; got none"),
        ("0\n0\n", "trace: must have a line above 0; got none"),
        ("5\n4\n", "trace:2: must be a whole number of milliseconds in [5, 86400000]; got '4'"),
        ("5\n-4\n", "got '-4'"),
        ("5\nnan\n", "got 'nan'"),
        ("5\n1e3\n", "got '1e3'"),
        ("86400001\n", "trace:1: must be a whole number of milliseconds in [0, 86400000]"),
        ("9" * 5000, "got '9999"),
    ],
)
def test_one_line_names_the_line(content: str, says: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    trace.write_text(content)
    with pytest.raises(ProfileError) as caught:
        read_mahimahi(trace)
    assert says in str(caught.value)
    with pytest.raises(ProfileError, match="cannot be read"):
        read_mahimahi(tmp_path / "none")
