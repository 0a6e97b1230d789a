"""`escalade plan --fleet`: thresholds and replicas, and the file that `escalade fleet` runs."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from small_traces import cloud, deferrable, device, header

from escalade.cli.verbs.plan.fleet_toml import write_fleet
from escalade.edge.trace import write_trace
from escalade.simulator.fleet import read_spec
from escalade.simulator.planning.deployment import read_fleet

Invoke = Callable[..., tuple[int, str, str]]

FLEET = """# of ours
seconds = 300
[cloud]
replicas = 40 # a guess
slots = 2
slowdown = 0.1
price_per_hour = 2.5
scaling = { least = 1, most = 50 }

[[groups]]
name = "phones" # of this trace, as they say no other
count = 20000
profile = "lte"
arrivals = { kind = "poisson", per_hour = 20 }

[[groups]]
name = "desks"
count = 400
profile = "fios"
trace = "in/day.trace"
thresholds = [0.9]
arrivals = { kind = "recorded", file = "in/times", period_s = 50 }

[[groups]]
name = "others"
count = 500
profile = "lan"
answers = { device_s = 0.1, cloud_s = 0.3, deferral_rate = 0.2 }
arrivals = { kind = "poisson", per_hour = 60 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trace of 200 queries, its times, and a fleet of it."""
    (tmp_path / "in").mkdir()
    write_trace(tmp_path / "in" / "day.trace", header(device(), cloud()), deferrable(200))
    (tmp_path / "in" / "times").write_text("0\n9\n30\n")
    (tmp_path / "fleet.toml").write_text(FLEET)
    return tmp_path


def test_what_is_planned_is_what_the_written_fleet_does(folder: Path, invoke: Invoke) -> None:
    """From another folder than the fleet's, whose paths, comments and other groups stay."""
    trace, fleet, out = (folder / one for one in ("in/day.trace", "fleet.toml", "out/new.toml"))
    out.parent.mkdir()
    goal = ("--fleet", fleet, "--p95-ms", 400, "--quality", 0.9, "--seed", 2)
    code, said, err = invoke("plan", trace, *goal, "--out", out, "--json")
    assert (code, err) == (0, "")
    planned = json.loads(said)
    one = planned["deployment"]
    assert planned["met"]
    code, said, _ = invoke("fleet", out, "--seed", 2, "--json")
    assert code == 0
    run = json.loads(said)
    rows = [*run["groups"][:2], run["together"]]
    assert [row["group"] for row in one["groups"]] == ["phones", "desks", "together"]
    for row, of in zip(one["groups"], rows, strict=True):
        took = of["latency"]
        assert [row["mean_s"], row["p50_s"], row["p95_s"], row["p99_s"]] == [
            took[name] for name in ("mean", "p50", "p95", "p99")
        ]
    assert one["utilisation"] == run["cloud"]["utilisation"]
    assert one["calls_per_s"] == run["cloud"]["attempts"] / 300
    assert one["replicas_a_day"] == pytest.approx(run["cloud"]["cost"] * 86_400 / 300)
    written = tomllib.loads(out.read_text())
    phones, desks, others = written["groups"]
    assert written["cloud"]["replicas"] == one["replicas"]
    assert "scaling" not in written["cloud"]
    assert phones["thresholds"] == desks["thresholds"] == planned["thresholds"]
    assert phones["trace"] == desks["trace"] == "../in/day.trace"
    assert desks["arrivals"]["file"] == "../in/times"
    assert others == tomllib.loads(FLEET)["groups"][2]
    for comment in ("# of ours", "# a guess", "# of this trace, as they say no other"):
        assert comment in out.read_text()
    # And once more, from what was written: the same plan, by the thresholds of the trace.
    again = ("--fleet", out, *goal[2:])
    assert (
        json.loads(invoke("plan", trace, *again, "--json")[1])["thresholds"]
        == (planned["thresholds"])
    )


def test_a_deployment_is_told_in_lines_and_tables(folder: Path, invoke: Invoke) -> None:
    trace, fleet = folder / "in" / "day.trace", folder / "fleet.toml"
    code, out, err = invoke("plan", trace, "--fleet", fleet, "--p99-ms", 600, "--money-a-day", 400)
    assert (code, err) == (0, "")
    for said in (
        "thresholds and replicas that keep every bound, with the least of wrong answers: device ",
        " of 2 slots each; what a run needs: median ",
        "of its slots in use; as they arrive 12.4 M queries a day",
        " an hour for replicas, ",
        "scaling is left aside",
        "p99",
        "The deployment, on all queries (seed 1)",
        "Where nobody waits for another, on 100 other queries",
    ):
        assert said in out
    code, out, _ = invoke("plan", trace, "--fleet", fleet, "--p50-ms", 0.001, "--money-a-day", 9)
    assert code == 0
    first, second, *_ = out.splitlines()
    assert first.startswith("no thresholds and replicas keep every bound; the nearest: device ")
    assert second.startswith("it misses p50 of ")


def test_a_device_in_place_of_the_recorder_is_written_with_its_scale(
    folder: Path, invoke: Invoke
) -> None:
    trace, fleet, out = (folder / one for one in ("in/day.trace", "fleet.toml", "new.toml"))
    (folder / "devices.toml").write_text(
        '[laptop]\nresnet18_ms = 5\nsource = "t"\n'
        '[phone]\nresnet18_ms = 15\nwatts = 2\nbattery_wh = 15\nsource = "t"\n'
    )
    fleet.write_text(FLEET.replace("fios", "lte"))
    asked = ("--devices", folder / "devices.toml", "--device", "laptop=phone", "--out", out)
    code, said, err = invoke(
        "plan", trace, "--fleet", fleet, "--battery-share", 0.05, *asked, "--json"
    )
    assert (code, err) == (0, "")
    planned = json.loads(said)
    assert [one["quantity"] for one in planned["bounds"]] == ["battery_share", "battery_share"]
    # Of each group's own queries: 20 an hour, and three recorded ones that come every 50 s.
    for bound, of_group, a_day in zip(
        planned["bounds"], planned["figures"], (20 * 24, 3 * 86_400 / 50), strict=True
    ):
        assert (bound["group"], bound["limit"]) == (of_group["group"], 0.05)
        assert bound["found"] == of_group["battery_share"]
        taken = of_group["joules"]["value"] * a_day / (15 * 3600)
        assert bound["found"]["value"] == pytest.approx(taken)
        assert of_group["money_a_day"] is None
    groups = tomllib.loads(out.read_text())["groups"]
    assert [one.get("scale") for one in groups] == [3.0, 3.0, None]
    assert [one.get("device") for one in groups] == ["phone", "phone", None]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--profile", "lte"), "--profile is not for --fleet, whose file says"),
        (("--deadline-s", 1), "--deadline-s is not for --fleet"),
        (("--hedge-after-s", 1), "--hedge-after-s is not for --fleet"),
        (("--dialled", 0.5), "--dialled is not for --fleet"),
        (("--early", 16), "--early is not for --fleet"),
        (("--price-per-hour", "large=2"), "--price-per-hour is not for --fleet"),
        (
            ("--money-a-day", 5, "--queries-a-day", 1e6),
            "--queries-a-day must be what the fleet's arrivals are, 1.23936e+07 a day",
        ),
        (
            ("--battery-share", 0.05, "--queries-a-device", 3),
            "--queries-a-device must be what the fleet's arrivals are, 5,184 a day",
        ),
        (("--battery-share", 0.05), "battery_share needs the battery of the device"),
        (("--minimise", "flops", "--calls", "nan"), "calls must be in (0, 1]; got nan"),
        (("--out", "{folder}/fleet.toml"), "is read too, and would be lost"),
        (("--p95-ms", "5e-324"), "--p95-ms must be above 0 and finite; got 4.94066e-324"),
        ((), "a goal needs at least 1 bound"),
    ],
)
def test_what_contradicts_a_fleet_is_one_line(
    folder: Path, invoke: Invoke, arguments: tuple[object, ...], says: str
) -> None:
    given = [str(one).format(folder=folder) for one in arguments]
    fleet = folder / "fleet.toml"
    code, out, err = invoke("plan", folder / "in" / "day.trace", "--fleet", fleet, *given)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert fleet.read_text() == FLEET


def test_a_fleet_is_needed_for_what_is_of_one(folder: Path, invoke: Invoke) -> None:
    trace = folder / "in" / "day.trace"
    for arguments, says in (
        (("--out", folder / "new.toml"), "--out is of a fleet: give --fleet, too"),
        (("--minimise", "replicas", "--calls", 0.5), "replicas needs a fleet (--fleet)"),
        (("--fleet", folder / "none.toml"), "none.toml: cannot be read"),
        (("--fleet", trace), "not valid TOML"),
    ):
        code, out, err = invoke("plan", trace, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert says in err


@pytest.mark.parametrize(
    "text",
    [
        "seconds = 9\n[cloud]\nreplicas = 3\n[cloud.scaling]\nleast = 1\nmost = 9\n"
        '[[groups]]\nname = "a"\ncount = 3\nprofile = "lan"\n[groups.arrivals]\n'
        'kind = "poisson"\nper_hour = 9\n',
        "seconds = 9\ncloud.replicas = 3\ncloud.scaling.least = 1\ncloud.scaling.most = 9\n"
        'groups = [{ name = "a", count = 3, profile = "lan",'
        ' arrivals = { kind = "poisson", per_hour = 9 } }]\n',
        "cloud = { replicas = 3, scaling = { least = 1, most = 9 } }\nseconds = 9\n"
        '[[groups]]\nname = "a"\ncount = 3\nprofile = "lan"\nscale = 2\n'
        'arrivals.kind = "poisson"\narrivals.per_hour = 9\n',
    ],
    ids=["tables", "dotted", "inline"],
)
def test_a_fleet_is_written_again_however_its_toml_is_laid_out(folder: Path, text: str) -> None:
    trace, out = folder / "in" / "day.trace", folder / "in" / "new.toml"
    (folder / "fleet.toml").write_text(text)
    fleet = read_fleet(folder / "fleet.toml", trace)
    write_fleet(out, fleet, trace, [0.25], 7)
    spec = read_spec(out)
    (group,) = spec.groups
    assert (group.trace, group.thresholds) == ("day.trace", [0.25])
    planned = fleet.with_plan([0.25], 7)
    assert spec == msgspec.structs.replace(
        planned, groups=[msgspec.structs.replace(planned.groups[0], trace="day.trace")]
    )


@pytest.mark.parametrize(("package", "extra"), [("numba", "fleet"), ("tomlkit", "calibration")])
def test_what_is_not_installed_is_said_before_the_work(
    folder: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("escalade.simulator.")]:
        if ".fleet" in name or ".deployment" in name:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    asked = ("--fleet", folder / "fleet.toml", "--calls", 0.5, "--out", folder / "new.toml")
    code, out, err = invoke("plan", folder / "in" / "day.trace", *asked)
    assert (code, out) == (2, "")
    assert err == f"error: plan needs {package}: pip install 'escalade[{extra}]'\n"
    # Without a fleet neither is asked for.
    assert invoke("plan", folder / "in" / "day.trace", "--calls", 0.5)[0] == 0
