"""`escalade ask --on-outage queue` and `escalade outbox`: kept, listed, answered, deleted."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Invoke = Callable[..., tuple[int, str, str]]
PROMPT = "g2p: cascade"


@pytest.fixture
def artifact(int8_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_artifact, tmp_path / "artifact"))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's own outbox is."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "escalade" / "outbox.sqlite"


@pytest.fixture
def ask(invoke: Invoke, artifact: Path, silent_cloud: str) -> Invoke:
    def ask(*arguments: object) -> tuple[int, str, str]:
        gone = ("--threshold", "-1", "--deadline-s", "0.1", "--cloud", silent_cloud)
        return invoke("ask", artifact, *arguments, *gone, "--on-outage", "queue")

    return ask


def test_a_query_is_kept_listed_answered_and_gone(
    invoke: Invoke, ask: Invoke, artifact: Path, state: Path, scripted_cloud: Any
) -> None:
    code, out, err = ask(PROMPT)
    assert code == 2
    assert out  # the device's answer all the same
    name = err.rstrip().rpartition("; kept in the outbox as ")[2]
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    code, out, _ = invoke("outbox", "list")
    assert code == 0
    assert out.startswith(f"{name}  2")
    assert out.endswith(f"Z  waiting  {PROMPT}\n")
    code, out, err = invoke("outbox", "flush", artifact, "--cloud", scripted_cloud.address)
    assert (code, out) == (2, "")
    assert "not calibrated" in err
    flush = ("outbox", "flush", artifact, "--threshold", "-1", "--cloud", scripted_cloud.address)
    code, out, err = invoke(*flush)
    assert (code, out) == (0, "large answer\n")
    assert err.splitlines() == [f"{PROMPT} (by cloud, after all)", "1 answered, 0 refused"]
    assert invoke("outbox", "list") == (0, "", "")
    assert invoke(*flush)[:2] == (0, "")


def test_for_machines(
    invoke: Invoke, ask: Invoke, artifact: Path, state: Path, scripted_cloud: Any
) -> None:
    answer = json.loads(ask(PROMPT, "--json")[1])
    assert (answer["outcome"], answer["outbox_error"]) == ("degraded", None)
    ask("g2p: tier")
    listed = json.loads(invoke("outbox", "list", "--json")[1])
    assert [one["prompt"] for one in listed] == [PROMPT, "g2p: tier"]
    assert listed[0]["id"] == answer["kept"]
    assert listed[0]["given"] == answer["answer"]
    to = ("--threshold", "-1", "--cloud", scripted_cloud.address)
    code, out, _ = invoke("outbox", "flush", artifact, *to, "--json")
    assert code == 0
    flushed = [json.loads(line) for line in out.splitlines()]
    assert [(one["prompt"], one["answer"]) for one in flushed] == [
        (PROMPT, "large answer"),
        ("g2p: tier", "large answer"),
    ]
    assert flushed[0]["id"] == answer["kept"]


def test_what_still_waits_is_said(
    invoke: Invoke, ask: Invoke, artifact: Path, silent_cloud: str, state: Path
) -> None:
    ask(PROMPT)
    gone = ("--threshold", "-1", "--deadline-s", "0.1", "--cloud", silent_cloud)
    code, out, err = invoke("outbox", "flush", artifact, *gone)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: 1 still wait: UNAVAILABLE: ")


def test_it_is_cleared(invoke: Invoke, ask: Invoke, state: Path) -> None:
    ask(PROMPT)
    assert invoke("outbox", "clear") == (0, f"{state}: 1 deleted\n", "")
    assert json.loads(invoke("outbox", "clear", "--json")[1]) == {"deleted": 0}
    assert invoke("outbox", "list") == (0, "", "")


def test_a_place_of_ones_own(invoke: Invoke, ask: Invoke, state: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.sqlite"
    ask(PROMPT, "--outbox", own)
    assert not state.exists()
    assert PROMPT in invoke("outbox", "list", "--outbox", own)[1]
    code, _, err = invoke("outbox", "list")
    assert (code, err) == (
        2,
        f"error: {state}: no outbox; `escalade ask --on-outage queue` makes one\n",
    )
    assert not state.exists()


def test_an_outbox_that_nothing_goes_into_is_refused(
    invoke: Invoke, artifact: Path, tmp_path: Path
) -> None:
    code, _, err = invoke("ask", artifact, PROMPT, "--outbox", tmp_path / "o")
    assert (code, err) == (2, f"error: {tmp_path / 'o'}: outbox: goes with on_outage 'queue'\n")


def test_a_cascades_file_says_it_too(
    invoke: Invoke, artifact: Path, silent_cloud: str, tmp_path: Path
) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(
        'on_outage = "queue"\n[outbox]\npath = "kept.sqlite"\n'
        f'[[tiers]]\nmembers = ["{artifact}"]\ngate = {{ threshold = -1.0 }}\n'
        f'[[tiers]]\naddress = "{silent_cloud}"\ndeadline_s = 0.1\n'
    )
    code, _, err = invoke("ask", path, PROMPT)
    assert code == 2
    assert "kept in the outbox as" in err
    assert PROMPT in invoke("outbox", "list", "--outbox", tmp_path / "kept.sqlite")[1]
    code, _, err = invoke("ask", path, PROMPT, "--on-outage", "degrade")
    assert code == 2
    assert "kept" not in err
    code, _, err = invoke("gateway", path, "--listen", "127.0.0.1:0")
    assert code == 2
    assert "on_outage must be 'degrade' behind a gateway" in err
