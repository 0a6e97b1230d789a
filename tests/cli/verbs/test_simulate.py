"""`escalade simulate` as a user meets it: two tiers, three, and one line for a mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from escalade.edge.trace import (
    TRACE_SCHEMA,
    Link,
    MemberAnswer,
    MemberInfo,
    TierAnswer,
    TierInfo,
    TraceHeader,
    TraceRecord,
    read_trace,
    write_trace,
)

Invoke = Callable[..., tuple[int, str, str]]


def tier(name: str, place: str, members: int, threshold: float | None) -> TierInfo:
    return TierInfo(
        name=name,
        place=place,
        members=[MemberInfo(name=f"{name}-{k}", parameters=100) for k in range(members)],
        rule=None if threshold is None else "vote" if members > 1 else "mean",
        threshold=threshold,
    )


def answer(
    rng: np.random.Generator, members: int, score: float | None, *, link: bool
) -> TierAnswer:
    texts = [str(rng.integers(0, 2)) for _ in range(members)]
    return TierAnswer(
        text=texts[0],
        members=[
            MemberAnswer(
                member=k, text=text, logprobs=[-0.1], prompt_tokens=2, generated_tokens=1,
                seconds=0.01, correct=text == "0",
            )
            for k, text in enumerate(texts)
        ],
        score=score,
        correct=texts[0] == "0",
        seconds=0.01 * members,
        link=Link(round_trip_s=0.03, server_s=0.02, bytes_up=100, bytes_down=80) if link else None,
    )  # fmt: skip


def write(path: Path, tiers: list[TierInfo], *, queries: int = 40) -> Path:
    rng = np.random.default_rng(1)
    header = TraceHeader(schema=TRACE_SCHEMA, tiers=tiers, created="2026-01-02T03:04:05Z")
    records = [
        TraceRecord(
            id=f"q{k}", task="t", prompt="x", references=["0"],
            tiers=[
                answer(
                    rng, len(one.members), None if one.rule is None else float(rng.random()),
                    link=one.place != "device",
                )
                for one in tiers
            ],
            answered_by=0, outcome="answered", total_s=0.01,
        )
        for k in range(queries)
    ]  # fmt: skip
    write_trace(path, header, records)
    return path


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A device and a cloud."""
    return write(
        tmp_path / "two.jsonl", [tier("device", "device", 1, 0.5), tier("cloud", "cloud", 1, None)]
    )


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """An ensemble of three, a gateway and a cloud."""
    tiers = [
        tier("device", "device", 3, 0.3),
        tier("gateway", "gateway", 1, 0.5),
        tier("cloud", "cloud", 1, None),
    ]
    return write(tmp_path / "three.jsonl", tiers)


@pytest.fixture
def simulate(invoke: Invoke, tmp_path: Path) -> Invoke:
    """Run `escalade simulate ARGUMENTS`, its report in the test's folder."""
    return partial(invoke, "simulate", "--out", tmp_path / "report.html")


def test_two_tiers_over_the_papers_delays(simulate: Invoke, two: Path, tmp_path: Path) -> None:
    code, out, err = simulate(two)
    assert (code, err) == (0, "")
    assert out.startswith("two, threshold 0.5: device answers ")
    for said in (
        "cloud answers",
        "calls to cloud saved",
        "coe-100ms",
        "cloud only p50",
        "report: ",
    ):
        assert said in out
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    code, out, _ = simulate(two, "--threshold", "0.2", "--threshold", "0.9", "--json")
    found = json.loads(out)
    assert [row["thresholds"] for row in found["points"]] == [[0.2], [0.9]]
    assert len(found["networks"]) == 8
    assert found["points"][0]["calls"] > found["points"][1]["calls"]


def test_three_tiers_with_a_profile_for_each_link(simulate: Invoke, three: Path) -> None:
    arguments = (three, "--profile", "lte", "--profile", "gateway=lan", "--threshold", "0.3,0.5")
    code, out, err = simulate(*arguments)
    assert (code, err) == (0, "")
    assert "three, thresholds 0.3, 0.5: device answers" in out
    for said in ("gateway answers", "asking ", "of 3", "lte, gateway=lan"):
        assert said in out
    code, out, _ = simulate(*arguments, "--price", "cloud-0=5,15", "--json")
    found = json.loads(out)
    (point,) = found["points"]
    assert sum(share["answered"] for share in point["tiers"]) == pytest.approx(1)
    assert point["money"]["last_only"] == pytest.approx((2 * 5 + 15) / 1e6)
    code, out, _ = simulate(
        *arguments, "--price", "cloud-0=5,15", "--price-per-hour", "cloud-0=3600", "--json"
    )
    (rented,) = json.loads(out)["points"]
    assert rented["money"]["last_only"] > point["money"]["last_only"]
    code, out, _ = simulate(*arguments, "--price-per-hour", "cloud-0=3600")
    assert "USD a million queries, models" in " ".join(out.split())
    assert "an hour in which cloud-0 computes costs 3600 USD" in " ".join(out.split())
    assert point["flops"]["cascade"] > 0
    assert [row["network"] for row in found["networks"]] == ["lte, gateway=lan"]


def test_a_trace_without_the_clouds_answers_serves_a_sweep_of_those_below(
    simulate: Invoke, invoke: Invoke, three: Path, tmp_path: Path
) -> None:
    """What is refused is told what to ask for instead, and that is what a shorter trace gives."""
    whole = read_trace(three)
    cut = [
        msgspec.structs.replace(record, tiers=[*record.tiers[:2], None]) for record in whole.records
    ]
    live = tmp_path / "live.jsonl"
    write_trace(live, whole.header, cut)
    goal = ("--profile", "lte", "--calls", "0.9")
    verbs = (
        (simulate, (live, "--profile", "lte")),
        (invoke, ("plan", live, *goal)),
        (invoke, ("evaluate", live, "--resamples", 5)),
    )
    for run, asked in verbs:
        code, out, err = run(*asked)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert (
            "no query has an answer from tier 'cloud': the trace serves sweeps of 'device' and"
            f" 'gateway' alone; --up-to gateway keeps {len(cut)} of {len(cut)} (of `simulate`,"
            " `plan` and `evaluate`)" in err
        )
        code, out, err = run(*asked, "--up-to", "gateway", "--json")
        assert (code, err) == (0, "")
        told = json.loads(out)
        of_whole = (three if one == live else one for one in asked)
        same = json.loads(run(*of_whole, "--up-to", "gateway", "--json")[1])
        for kind in ("networks", "figures", "bounds", "slices"):
            # But for the file's name.
            assert str(told.get(kind)).replace("live", "three") == str(same.get(kind))
    # Before it is said that no query crossed a link which the cascade has.
    code, _, err = simulate(live, "--profile", "lte", "--profile", "cloud=lan")
    assert (code, "live.jsonl: no query has an answer from tier 'cloud'" in err) == (2, True)
    fleet = tmp_path / "fleet.toml"
    code, _, err = invoke("plan", live, "--fleet", fleet, "--up-to", "gateway", "--calls", "0.9")
    assert (code, "--up-to is not for --fleet, whose runs read every tier" in err) == (2, True)


MISTAKES: list[tuple[str, list[str], str]] = [
    ("profile", ["{two}", "--profile", "mars"], "got 'mars'"),
    ("link", ["{three}", "--profile", "gatway=lan"], "got 'gatway'; did you mean 'gateway'?"),
    ("too few", ["{three}", "--threshold", "0.5"], "three: thresholds must be 2"),
    ("too many", ["{two}", "--threshold", "0.5,0.5"], "two: thresholds must be 1"),
    ("no number", ["{two}", "--threshold", "half"], "'half' is no choice of thresholds"),
    ("nan", ["{two}", "--threshold", "nan"], "must be a finite number; got nan"),
    ("price", ["{two}", "--price", "cloud-0=1,-2"], "must be finite and >= 0; got -2"),
    (
        "seed",
        ["{two}", "--seed", "-1"],
        "'--seed': Input should be greater than or equal to 0, got '-1'",
    ),
    ("hour", ["{two}", "--price-per-hour", "cloud-0=-2"], "must be finite and >= 0; got -2"),
    ("no hour", ["{two}", "--price-per-hour", "cloud-0"], "'cloud-0' is no price of an hour: give"),
    ("one tier", ["{one}"], "one: a replay needs at least 2 tiers; the trace has 1: device"),
    ("no tier", ["{three}", "--up-to", "gatway"], "got 'gatway'; did you mean 'gateway'?"),
    ("one is left", ["{three}", "--up-to", "device"], "--up-to must be one of gateway, cloud; got"),
    (
        "link above",
        ["{three}", "--up-to", "gateway", "--profile", "cloud=lte", "--profile", "lan"],
        "got 'cloud'",
    ),
    (
        "price above",
        ["{three}", "--up-to", "gateway", "--price", "cloud-0=1,2"],
        "must be one of device-0, device-1, device-2, gateway-0; got 'cloud-0'",
    ),
    (
        "thresholds of all",
        ["{three}", "--up-to", "gateway", "--threshold", "0.3,0.5"],
        "three: thresholds must be 1",
    ),
    ("no file", ["{tmp}/nowhere.jsonl"], "nowhere.jsonl"),
]


@pytest.mark.parametrize(
    ("arguments", "says"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_costs_one_line_and_exit_code_2(
    simulate: Invoke, two: Path, three: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    one = write(tmp_path / "one.jsonl", [tier("device", "device", 1, 0.5)])
    paths = {"one": one, "two": two, "three": three, "tmp": tmp_path}
    code, out, err = simulate(*(argument.format(**paths) for argument in arguments))
    assert (code, out) == (2, "")
    assert not (tmp_path / "report.html").exists()
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert says in line


@pytest.mark.parametrize(
    "option",
    [
        ("--profile", "lte"),
        ("--device", "pi-5=pi-4"),
        ("--dialled", "0"),
        ("--out", "report.html"),
        ("--seed", "1"),
        ("--sample", "5"),
    ],
)
def test_the_clock_takes_no_options_of_traces(invoke: Invoke, option: tuple[str, str]) -> None:
    code, _, err = invoke("simulate", "clock", *option)
    assert code == 2
    assert f"clock takes no option but --json, the others are of traces; got {option[0]}" in err


@pytest.mark.slow
def test_the_clock_is_timed_at_every_delay(invoke: Invoke) -> None:
    code, out, _ = invoke("simulate", "clock", "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert [row["driver"] for row in rows[::7]] == ["proxy", "calls", "wait", "virtual"]
    assert [row["asked_s"] for row in rows] == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0] * 4
    assert all(row["achieved_p50_s"] >= 0.9 * row["asked_s"] for row in rows[4:7])


def test_a_plan_says_thresholds_or_that_there_are_none(invoke: Invoke, three: Path) -> None:
    goal = ("plan", three, "--profile", "lte", "--profile", "gateway=lan", "--calls", "0.9")
    code, out, err = invoke(*goal)
    assert (code, err) == (0, "")
    assert out.startswith(
        "thresholds that keep every bound, with the least of wrong answers: device "
    )
    for said in ("answers: device", "at most 90.0%", "lte, gateway=lan", "last tier alone"):
        assert said in out
    code, out, _ = invoke(*goal, "--p95-ms", "0.01", "--json")
    found = json.loads(out)
    assert (code, found["met"], len(found["thresholds"])) == (0, False, 2)
    # In the goal's own units, where nothing keeps it, too.
    bill = ("--money-a-day", "1e-9", "--queries-a-day", "1e6", "--price", "cloud-0=5,15")
    code, out, _ = invoke(*goal, *bill, "--accuracy", "1")
    assert (code, out.startswith("no thresholds keep every bound; the nearest: ")) == (0, True)
    assert out.count("money a day") >= 2  # by itself, and beside the last tier alone
    code, out, _ = invoke(*goal, *bill, "--accuracy", "1", "--json")
    (one,), (alone,) = (json.loads(out)[name] for name in ("figures", "alone"))
    assert alone["money_a_day"]["value"] == pytest.approx(2 * 5 + 15)
    assert one["money_a_day"]["value"] == pytest.approx(1e6 * one["money"]["value"])
    # What replays differ by, plans do: two seconds are enough, a millisecond is not.
    for given in ("2", "0.001"):
        code, out, _ = invoke(
            *goal, "--deadline-s", given, "--hedge-after-s", "0.05", "--dialled", "0.2", "--json"
        )
        found = json.loads(out)
        lost = found["alone"][0]["degraded"]["value"]
        assert (code, lost, len(found["notes"])) == (0, float(given == "0.001"), 3)
    for wrong, said in (
        (("--dialled", "2"), "dialled must be in [0, 1]; got 2"),
        (("--hedge-after-s", "0"), "hedge_after_s must be above 0; got 0"),
        (("--deadline-s", "-1"), "deadline_s must be above 0; got -1"),
        (("--early", "0"), "--early takes TOKENS or TOKENS,WINDOW, each at least 1; got '0'"),
        (("--degraded", "0.1"), "degraded needs a deadline (--deadline-s)"),
        (("--quality", "95"), "quality must be in (0, 2], a share: 0.95 is 95 %; got 95"),
    ):
        code, _, err = invoke(*goal, *wrong)
        assert (code, said in " ".join(err.split())) == (2, True), err
    code, _, err = invoke("plan", three, "--profile", "lte")
    assert (code, "a goal needs at least 1 bound" in err) == (2, True)
    code, _, err = invoke("plan", three, "--profile", "lte", "--p95-ms", "-5")
    assert (code, "--p95-ms must be above 0 and finite; got -5" in err) == (2, True)


def test_numbers_for_notebooks_and_figures_for_a_paper(
    simulate: Invoke, three: Path, tmp_path: Path
) -> None:
    told, drawn = tmp_path / "told", tmp_path / "drawn"
    asked = (three, "--profile", "lte", "--tables", told, "--figures", drawn)
    code, out, _ = simulate(*asked)
    assert code == 0
    assert f"table: {told / 'latency.parquet'}" in out
    assert {path.name for path in drawn.iterdir()} == {
        f"{stem}.{kind}" for stem in ("curve", "latency-0") for kind in ("png", "svg")
    }
    found = json.loads(simulate(*asked, "--json")[1])
    (latency,) = pq.read_table(told / "latency.parquet").to_pylist()
    assert latency["p95_s"] == found["networks"][0]["cascade"]["p95_s"]
    assert latency["thresholds"] == "0.3,0.5"
    curve = pq.read_table(told / "curve.parquet").to_pylist()
    assert {row["gate"] for row in curve} == {"device", "gateway"}
    (here,) = [row for row in curve if (row["gate"], row["threshold"]) == ("gateway", 0.5)]
    assert here["accuracy"] == found["points"][0]["accuracy"]
    assert here["calls"] == pytest.approx(1 - found["points"][0]["calls_saved"])
    assert (told / "curve.csv").read_text().startswith("trace,gate,threshold,calls,accuracy\n")


def test_networks_of_a_users_own(invoke: Invoke, two: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[moon]\nrtt_ms = 2600\nsource = "light"\n[lte]\nrtt_ms = 55\nsource = "ours"\n'
    )
    out = tmp_path / "report.html"
    asked = ("--profiles", mine, "--profile", "moon", "--profile", "lte", "--out", out, "--json")
    code, stdout, _ = invoke("simulate", two, *asked)
    assert code == 0
    rows = json.loads(stdout)["networks"]
    assert [row["network"] for row in rows] == ["moon", "lte"]
    # The trace's call takes 30 ms on loopback, and nothing beside the round trip is modelled.
    assert [row["last_only"]["p50_s"] for row in rows] == pytest.approx([2.63, 0.085])
    code, stdout, stderr = invoke("simulate", two, *asked, "--profile", "mon")
    assert (code, stdout) == (2, "")
    assert stderr.endswith("got 'mon'; did you mean 'moon'?\n")


def test_what_one_device_recorded_on_another(simulate: Invoke, two: Path) -> None:
    asked = (two, "--profile", "free", "--threshold", "2", "--json")
    _, stdout, _ = simulate(*asked)
    recorded = json.loads(stdout)
    code, stdout, _ = simulate(*asked, "--device", "pi-5=pi-4")
    replayed = json.loads(stdout)
    assert code == 0
    # Nothing is deferred, so all is the device's; the cloud is as fast as it was.
    (before,), (after,) = recorded["networks"], replayed["networks"]
    assert after["cascade"]["p50_s"] == pytest.approx(6.15 * before["cascade"]["p50_s"])
    assert after["last_only"] == before["last_only"]
    assert recorded["notes"] == []
    assert replayed["notes"] == ["seconds on the device are those recorded times 6.15"]
    code, _, stderr = simulate(*asked, "--device", "pi-4")
    assert code == 2
    assert "must be RECORDED=DEVICE" in stderr
