"""Files of profiles: what they add, and one line for what they may not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.simulator.errors import ProfileError
from escalade.simulator.network.profiles import (
    Bursts,
    Chance,
    Cycle,
    RateSeries,
    Spike,
    get_profile,
    profiles_with,
)
from escalade.simulator.network.profiles.reading import shipped_profiles
from escalade.simulator.network.profiles.spreads import Normal, Quantiles

WHOLE = """\
[lift]
rtt_ms = 70
spread = { kind = "normal", sd_ms = 10, correlation_s = 2 }
down_mbps = 12
up_trace = "traces/up.csv"
loss = 0.001
bursts = { to_bad = 0.01, to_good = 0.3, loss_bad = 0.4 }
price_per_gb = 2
joules_per_mb = 0.5
source = "measured by hand"

[[lift.outages]]
kind = "chance"
every_s = 600
lasts_s = 30

[[lift.outages]]
kind = "cycle"
every_s = 86400
lasts_s = 36000
begins_s = 28800

[[lift.spikes]]
every_s = 15
lasts_s = 0.2
extra_rtt_ms = 40

[walk]
rtt_trace = "walk.csv"
source = "ping"

[measured]
spread = { kind = "quantiles", points = [[0.25, 40], [0.5, 50], [0.75, 60]] }
source = "ping"

[lte]
rtt_ms = 55
source = "the one beside our house"
"""


def write(folder: Path, content: str) -> Path:
    (folder / "traces").mkdir(exist_ok=True)
    (folder / "traces" / "up.csv").write_text("time_s,mbps\n0,4\n1,0\n2,8\n")
    (folder / "walk.csv").write_text("time_s,rtt_ms\n10,40\n11,60\n13,300\n")
    path = folder / "mine.toml"
    path.write_text(content)
    return path


def test_a_file_adds_and_takes_the_place_of_what_has_its_name(tmp_path: Path) -> None:
    known = profiles_with(write(tmp_path, WHOLE))
    assert list(known) == [*shipped_profiles(), "lift", "walk", "measured"]
    assert get_profile("lte", known).rtt_ms == 55
    assert get_profile("lte", known).down_mbps is None
    assert get_profile("lte").rtt_ms == 70
    assert get_profile("3g", known) is get_profile("3g")
    lift = get_profile("lift", known)
    assert lift.spread == Normal(sd_ms=10, correlation_s=2)
    assert lift.up_trace == RateSeries([(0, 4), (1, 0), (2, 8)])
    assert lift.up_trace.mean == 4
    assert lift.bursts == Bursts(to_bad=0.01, to_good=0.3, loss_bad=0.4)
    assert lift.outages == (
        Chance(every_s=600, lasts_s=30),
        Cycle(every_s=86400, lasts_s=36000, begins_s=28800),
    )
    assert lift.spikes == (Spike(every_s=15, lasts_s=0.2, extra_rtt_ms=40),)
    assert lift.period_s == 86400
    assert (lift.price_per_gb, lift.joules_per_mb) == (2, 0.5)
    assert hash(lift) == hash(get_profile("lift", profiles_with(tmp_path / "mine.toml")))


def test_a_median_need_not_be_said_where_it_is_known(tmp_path: Path) -> None:
    known = profiles_with(write(tmp_path, WHOLE))
    walk, measured = known["walk"], known["measured"]
    assert walk.rtt_ms == 60
    assert walk.period_s == 5
    assert walk.rtt_trace is not None
    assert [walk.rtt_trace.at(at_s) for at_s in (0, 0.9, 1, 2.9, 3, 4.9, 5)] == [
        *(40, 40, 60, 60, 300, 300, 40)
    ]
    assert measured.rtt_ms == 50
    assert isinstance(measured.spread, Quantiles)


def test_no_file_is_the_shipped_one() -> None:
    assert profiles_with(None) is shipped_profiles()


HEAD = '[x]\nsource = "me"\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[x", "not valid TOML"),
        ("x = 3", "profile 'x' must be a table, [x]; got 3"),
        (HEAD, "missing required field `rtt_ms`"),
        ("[x]\nrtt_ms = 3", "missing required field `source`"),
        (HEAD + 'rtt_ms = 3\nname = "y"', "the heading is the name"),
        (HEAD + "rtt_ms = 3\ndown_mps = 3", "`down_mps`; did you mean 'down_mbps'?"),
        ('["a=b"]\nrtt_ms = 3\nsource = "s"', "name must be not empty and without '='"),
        ('[""]\nrtt_ms = 3\nsource = "s"', "name must be not empty and without '='"),
        ('[x]\nrtt_ms = 3\nsource = " "', "source must be not empty; got"),
        (HEAD + "rtt_ms = '3'", "Expected `float`, got `str` - at `$.rtt_ms`: '3'"),
        (HEAD + "rtt_ms = nan", "rtt_ms must be 0 <= rtt_ms <= 3.6e+06; got nan"),
        (HEAD + "rtt_ms = 1e9", "rtt_ms must be 0 <= rtt_ms <= 3.6e+06; got 1000000000.0"),
        (HEAD + "rtt_ms = 3\ndown_mbps = 0", "1e-05 <= down_mbps <= 1e+06"),
        (HEAD + "rtt_ms = 3\nup_mbps = nan", "got nan"),
        (
            HEAD + 'rtt_ms = 3\nup_mbps = 1\nup_trace = "traces/up.csv"',
            "up_mbps must be left out beside up_trace; got 1.0",
        ),
        (HEAD + 'rtt_ms = 3\nup_trace = "none.csv"', "none.csv: cannot be read: No such file"),
        (
            HEAD + 'rtt_ms = 3\nup_trace = "walk.csv"',
            "row 0 must be time_s,mbps; got 'time_s,rtt_ms'",
        ),
        (HEAD + "rtt_ms = 3\nup_trace = 4", "Expected `str`, a path, got `int` - at `$.up_trace`"),
        (HEAD + 'rtt_ms = 3\nrtt_trace = "walk.csv"', "rtt_ms must be 60, the median of rtt_trace"),
        (HEAD + "rtt_ms = 9\njitter_ms = 9", "jitter_ms must be 0 <= jitter_ms <= 5.36"),
        (
            HEAD + 'rtt_ms = 9\njitter_ms = 1\nspread = { kind = "normal", sd_ms = 1 }',
            "must be one of jitter_ms, spread, rtt_trace; got jitter_ms and spread",
        ),
        (HEAD + 'rtt_ms = 9\nspread = { kind = "normal", sd_ms = 4 }', "0 <= sd_ms <= 3; got 4.0"),
        (HEAD + 'rtt_ms = 9\nspread = { kind = "normal", sd = 4 }', "unknown field `sd`"),
        (
            HEAD + 'rtt_ms = 9\nspread = { kind = "lognormal", sigma = 9 }',
            "0 <= sigma <= 3; got 9.0",
        ),
        (
            HEAD + 'rtt_ms = 9\nspread = { kind = "pareto", shape = 1 }',
            "1 < shape <= 1e+06; got 1.0",
        ),
        (HEAD + 'rtt_ms = 9\nspread = { kind = "gamma" }', "one of normal, lognormal, "),
        (
            HEAD + 'spread = { kind = "quantiles", points = [[0.5, 50], [0.2, 60]] }',
            "spread.points must be at least 2 pairs [share, ms]",
        ),
        (HEAD + 'spread = { kind = "quantiles", points = [] }', "spread.points must be at least 2"),
        (
            HEAD + 'rtt_ms = 9\nspread = { kind = "quantiles", points = [[0, 40], [1, 60]] }',
            "spread.points must be 9 (rtt_ms) at 0.5; got 50 at 0.5",
        ),
        (
            HEAD + 'rtt_ms = 3\n[[x.outages]]\nkind = "cycle"\nevery_s = 15\nlasts_s = 20',
            "outages[0].lasts_s must be 0 <= lasts_s <= 15; got 20.0",
        ),
        (
            HEAD + 'rtt_ms = 3\n[[x.outages]]\nkind = "cycle"\nevery_s = 15\nlasts_s = 14.9',
            "outages must be at most 0.99 of the time together; got 0.993",
        ),
        (
            HEAD + 'rtt_ms = 3\n[[x.outages]]\nkind = "chance"\nevery_s = 15\nlast_s = 1',
            "`last_s` - at `$.outages[0]`; did you mean 'lasts_s'?",
        ),
        (
            HEAD + "rtt_ms = 3\n[[x.spikes]]\nevery_s = 0\nlasts_s = 0\nextra_rtt_ms = 1",
            "spikes[0].every_s must be 0.001 <= every_s <= 3.2e+07; got 0.0",
        ),
        (
            HEAD + "rtt_ms = 3\nbursts = { to_bad = 0, to_good = 1, loss_bad = 1 }",
            "bursts.to_bad must be 0 < to_bad <= 1; got 0.0",
        ),
        (HEAD + "rtt_ms = 3\njoules_per_mb = -1", "0 <= joules_per_mb <= 1e+06; got -1.0"),
    ],
)
def test_one_line_names_file_field_range_and_value(content: str, says: str, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ProfileError) as caught:
        profiles_with(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert says in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("0,1\n1,2\n1,3", "row 3: time_s must be finite and increase; got 1.0 after 1"),
        ("0,1\n2,2\n1,3", "row 3: time_s must be finite and increase; got 1.0 after 2"),
        ("0,1\nnan,2", "row 2: time_s must be finite and increase; got nan after 0"),
        ("0,1\n1,-2", "row 2: mbps must be 0 <= mbps <= 1e+06; got -2.0"),
        ("0,1\n1,nan", "row 2: mbps must be 0 <= mbps <= 1e+06; got nan"),
        ("0,1\n1,inf", "got inf"),
        ("0,1\n1", "row 2 must be two numbers; got '1'"),
        ("0,1\none,2", "row 2 must be two numbers; got 'one,2'"),
        ("0,0\n1,0", "must have a row with mbps above 0; got none"),
        ("", "must have a row with mbps above 0; got none"),
    ],
)
def test_a_traces_row_is_named(rows: str, says: str, tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + 'rtt_ms = 3\ndown_trace = "bad.csv"')
    (tmp_path / "bad.csv").write_text(f"time_s,mbps\n{rows}\n")
    with pytest.raises(ProfileError) as caught:
        profiles_with(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: {tmp_path / 'bad.csv'}: ")
    assert says in said


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="none.toml: cannot be read"):
        profiles_with(tmp_path / "none.toml")
    (tmp_path / "noise").write_bytes(b"\xff\x00")
    with pytest.raises(ProfileError, match="noise: not UTF-8 text"):
        profiles_with(tmp_path / "noise")
