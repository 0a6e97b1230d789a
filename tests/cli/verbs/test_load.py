"""`escalade load` against a real server in a process of its own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from escalade.cli.demo.processes import running
from escalade.edge.base import Record, write_records

Invoke = Callable[..., tuple[int, str, str]]
LARGE = Path(__file__).parents[3] / "training" / "checkpoints" / "large"


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    arguments = ("--listen", "127.0.0.1:0", "--threads", "1", "--queue", "4")
    with running("cloud", "serve", str(LARGE), *arguments) as address:
        yield address


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "queries.jsonl"
    words = ("cascade", "tier", "gate")
    write_records(
        path,
        [Record(id=word, task="g2p", prompt=f"g2p: {word}", references=["?"]) for word in words],
    )
    return path


def test_a_closed_loop_of_streams_times_tokens(cloud: str, records: Path, invoke: Invoke) -> None:
    code, out, _ = invoke(
        "load", cloud, "--prompts", records, "--clients", 2, "--requests", 8, "--stream",
        "--warm-up-s", 0, "--json", "--no-clock",
    )  # fmt: skip
    said = json.loads(out)
    assert code == 0
    assert said["clock"] is None
    assert (said["model"], said["prompts"], said["streamed"]) == ("large", 3, True)
    assert (said["requests"], said["answered"], said["refused"]) == (8, 8, [])
    assert said["latency"]["count"] == said["first_token"]["count"] == 8
    assert 0 < said["first_token"]["p50"] <= said["latency"]["p99"]
    assert said["between_tokens"]["count"] > 8
    assert said["tokens"] > 8
    assert said["bytes_up"] > 0
    assert said["bytes_down"] > 0


def test_an_open_loop_of_a_bundled_task_says_what_was_refused(cloud: str, invoke: Invoke) -> None:
    # More than 64 at once and 4 that wait.
    code, out, _ = invoke(
        "load", cloud, "--prompts", "g2p", "--rate", 2000, "--requests", 300, "--warm-up-s", 0,
        "--deadline-s", 60, "--json",
    )  # fmt: skip
    said = json.loads(out)
    assert code == 0
    refused = {one["reason"]: one["count"] for one in said["refused"]}
    assert refused.get("QUEUE_FULL", 0) > 0
    assert said["answered"] + sum(refused.values()) + said["deadline_missed"] == 300
    assert said["refusal"]["count"] == sum(refused.values())
    assert said["sent_late"]["count"] == 300
    # Calls wait for no moment; the gaps of 0.5 ms do.
    asked = {(row["driver"], row["asked_s"]) for row in said["clock"]["rows"]}
    assert asked == {
        *itertools.product(("calls", "sleep"), (1e-6, 1e-4, 1e-3, 1e-2)),
        ("sleep", 5e-4),
    }


def test_a_table_for_people(cloud: str, records: Path, invoke: Invoke) -> None:
    code, out, _ = invoke("load", cloud, "--prompts", records, "--requests", 3, "--warm-up-s", 0)
    assert code == 0
    assert out.startswith("large (transformers")
    assert "closed loop, 1 client that asks again when answered" in out
    assert "3 answered, 0 not within 10 s, 0 refused" in out
    assert "p99.9" in out
    # Nothing of a closed loop is due at a moment.
    assert "gRPC calls in process: a call's round trip" in out
    assert "waits until a request is due" not in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--max-new-tokens", "5000"], "none of 3 requests was answered; OPTION_OUT_OF_RANGE: "),
        (["--clients", "2", "--rate", "3"], "clients or rate: give one of them, got 2"),
        (["--rate", "-1"], "rate: must be above 0 and finite, got -1.0"),
        (["--seconds", "2"], "seconds or requests: give one of them, got 2"),
        (["--tls", "--plaintext"], "tls and plaintext exclude each other"),
        (["--ca-cert", "/nowhere.pem"], "/nowhere.pem: cannot be read"),
        (
            ["--prompts", "/nowhere.jsonl"],
            "no such file, and no task: /nowhere.jsonl; tasks are g2p",
        ),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], says: str, cloud: str, records: Path, invoke: Invoke
) -> None:
    code, _, err = invoke(
        "load", cloud, "--prompts", records, "--requests", 3, "--warm-up-s", 0, *arguments
    )
    (line,) = err.splitlines()
    assert (code, line[:7]) == (2, "error: ")
    assert says in line


def test_nobody_there_is_one_line(silent_cloud: str, records: Path, invoke: Invoke) -> None:
    code, out, err = invoke("load", silent_cloud, "--prompts", records, "--deadline-s", 0.3)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert silent_cloud in err


def test_a_fit_says_what_batching_costs(cloud: str, records: Path, invoke: Invoke) -> None:
    arguments = ("load", cloud, "--prompts", records, "--fit", "--requests", 16, "--warm-up-s", 0,
                 "--no-clock")  # fmt: skip
    # The server takes at most four that wait beside those in its batch; all of 16 have a place.
    code, out, _ = invoke(*arguments, "--json")
    said = json.loads(out)
    assert code == 0
    assert [row["clients"] for row in said["rows"]] == [1, 2, 4, 8, 16]
    assert all(row["answers"] >= 16 for row in said["rows"])
    assert 0 <= said["slowdown"] <= 1
    assert said["token_s"] > 0
    code, out, _ = invoke(*arguments)
    assert code == 0
    keys = ["slots", "slowdown", "start_s", "token_s"]
    assert [line.split(" = ")[0] for line in out.splitlines()[1:6]] == ["[cloud]", *keys]
    assert "\nslots = 16\n" in out
    assert set(keys) <= set(said)
    code, _, err = invoke(*arguments, "--clients", 5)
    assert code == 2
    assert "--fit has clients of its own" in err


def test_a_fit_at_a_load_says_what_a_call_takes_there(
    cloud: str, records: Path, invoke: Invoke
) -> None:
    arguments = ("load", cloud, "--prompts", records, "--fit", "--rate", 40, "--requests", 40)
    code, out, _ = invoke(*arguments, "--warm-up-s", 0, "--json", "--no-clock")
    said = json.loads(out)
    assert code == 0
    assert (said["rate"], said["answers"]) == (40, 40)
    assert 0 <= said["slowdown"] <= 1
    assert said["beside_s"] >= 0
    assert [row["name"] for row in said["rows"]] == ["mean", "p50", "p95"]
    code, out, _ = invoke(*arguments, "--warm-up-s", 0)
    assert code == 0
    assert "how `escalade load` waits until a request is due" in out
    assert "\n[cloud]\nslots = " in out
    assert "\nbeside_s = " in out
