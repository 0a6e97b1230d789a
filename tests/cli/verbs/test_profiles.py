"""`escalade profiles` as a user meets it: list, show, plot, convert, and one line for a mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[moon]\nrtt_ms = 2600\ndown_mbps = 2\nsource = "light"\n'
        '[lift]\nrtt_ms = 70\nsource = "ours"\nspread = { kind = "lognormal", sigma = 0.4 }\n'
        '[[lift.outages]]\nkind = "chance"\nevery_s = 60\nlasts_s = 6\n'
    )
    return path


def test_the_list_has_every_network_with_its_source(invoke: Invoke, mine: Path) -> None:
    code, out, err = invoke("profiles")
    assert (code, err) == (0, "")
    for said in ("coe-1us", "leo-handover", "WebPageTest connectivity.ini", "70 ms"):
        assert said in out
    assert "moon" not in out
    code, out, _ = invoke("profiles", "--profiles", mine, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert next(iter(rows)) == "free"
    assert rows["moon"]["rtt_ms"] == 2600
    assert rows["moon"]["up_mbps"] is None
    assert rows["lift"]["varies"] == "lognormal"
    assert rows["lift"]["away"] == pytest.approx(0.1)
    assert all(row["source"] for row in rows.values())


def test_one_is_shown_with_what_pings_take(invoke: Invoke, mine: Path) -> None:
    code, out, _ = invoke("profiles", "show", "lift", "--profiles", mine)
    assert code == 0
    assert out.startswith("lift: RTT 70 ms (median), round trips vary: lognormal\n")
    assert "bandwidth: unlimited down, unlimited up" in out
    assert "nothing passes for 6 s every 60 s on average, by chance" in out
    code, out, _ = invoke("profiles", "show", "lift", "--profiles", mine, "--json")
    found = json.loads(out)["round_trips"]
    # A tenth of the time nothing passes; the rest is log-normal.
    assert 25 < found["p05_ms"] < 60 < found["p50_ms"] < 90
    assert found["p95_ms"] > 1000


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<?xml"), ("a.png", b"\x89PNG")])
def test_a_figure_is_drawn_the_same_again(
    invoke: Invoke, mine: Path, tmp_path: Path, name: str, begins: bytes
) -> None:
    drawn = []
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        out = tmp_path / folder / name
        code, said, err = invoke(
            "profiles", "plot", "lte", "lte-lift", "lift", "free", "--profiles", mine, "--out", out
        )
        assert (code, said, err) == (0, f"figure: {out}\n", "")
        drawn.append(out.read_bytes())
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(begins)


def test_a_mahimahi_trace_becomes_a_networks_bandwidth(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("".join(f"{ms}\n" for ms in range(1, 1001)))
    out = tmp_path / "up.csv"
    code, said, _ = invoke("profiles", "convert", tmp_path / "trace", "--out", out)
    assert (code, said) == (0, f"{out}: 10 rows, 1 s, 12.03 Mb/s on average\n")
    mine = tmp_path / "mine.toml"
    mine.write_text('[bus]\nrtt_ms = 70\nup_trace = "up.csv"\nsource = "a bus"\n')
    code, said, _ = invoke("profiles", "show", "bus", "--profiles", mine)
    assert code == 0
    assert "bandwidth: unlimited down, 12.03 Mb/s up" in said


MISTAKES: list[tuple[list[str], str]] = [
    (["show", "lt"], "got 'lt'; did you mean 'lte'?"),
    (["--json", "show", "lte"], "give options after the verb: escalade profiles show"),
    (["--profiles", "{tmp}/none.toml"], "none.toml: cannot be read: No such file"),
    (["plot", "lte", "--out", "{tmp}/a.pdf"], "--out must end in .svg or .png; got "),
    (["plot", "mars", "--out", "{tmp}/a.svg"], "got 'mars'"),
    (["convert", "{tmp}/none", "--out", "{tmp}/a.csv"], "none: cannot be read"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_a_mistake_is_one_line(
    invoke: Invoke, tmp_path: Path, arguments: list[str], says: str
) -> None:
    asked = [one.replace("{tmp}", str(tmp_path)) for one in arguments]
    code, out, err = invoke("profiles", *asked)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert says in line
