"""An ensemble of three processes: recorded and replayed; behind a gateway, one of them killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from faults.processes import Process

from escalade.edge import Answer, EdgeClient
from escalade.edge.trace import links_of, read_trace

ESCALADE = [sys.executable, "-m", "escalade.cli"]
PROMPTS = [f"g2p: {word}" for word in ("cat", "dog", "banana", "zebra", "apple", "o'neil")]
#: Of one call, by `escalade.simulator.replay.course.calls`.
FRAMING_UP = 85

# Processes that take their time to start where others use the cores.
pytestmark = pytest.mark.timeout(900)


def escalade(*arguments: object) -> str:
    done = subprocess.run(
        [*ESCALADE, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def toml_of(path: Path, *tiers: dict[str, Any]) -> Path:
    """A cascade's file; what stands in JSON stands so in TOML, but for tables."""

    def said(value: Any) -> str:
        if isinstance(value, dict):
            return "{ " + ", ".join(f"{key} = {said(one)}" for key, one in value.items()) + " }"
        if isinstance(value, list):
            return "[" + ", ".join(map(said, value)) + "]"
        return json.dumps(value)

    path.write_text(
        "".join(
            "[[tiers]]\n" + "".join(f"{key} = {said(value)}\n" for key, value in tier.items())
            for tier in tiers
        )
    )
    return path


def one_gateway(folder: Path, artifact: Path) -> Process:
    """A gateway of one artifact alone."""
    path = toml_of(folder / f"{artifact.name}.toml", {"members": [str(artifact)]})
    return Process("gateway", str(path))


def everything_goes_on(artifact: Path, name: str) -> dict[str, Any]:
    gate = {"rule": "mean", "threshold": -1.0}
    return {"name": name, "members": [str(artifact)], "gate": gate}


def panel_of(addresses: Sequence[str], **keys: Any) -> dict[str, Any]:
    return {"name": "panel", "members": [{"address": one} for one in addresses], **keys}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("panel")


@pytest.fixture(scope="module")
def other(other_model_dir: Path, folder: Path) -> Path:
    from escalade.export.artifact.artifact import export_artifact

    export_artifact(
        other_model_dir, folder / "other", golden_prompts=PROMPTS[:1], max_new_tokens=47
    )
    return folder / "other"


@pytest.fixture(scope="module")
def addresses(
    folder: Path, tiny_model_dir: Path, float_artifact: Path, other: Path
) -> Iterator[list[str]]:
    """A server and two gateways: the server and the last hold the same weights, and agree."""
    again = Path(shutil.copytree(float_artifact, folder / "again"))
    with ExitStack() as running:
        made = [
            Process("serve", str(tiny_model_dir)),
            *(one_gateway(folder, a) for a in (other, again)),
        ]
        for one in made:
            running.enter_context(closing(one))
        yield [one.address for one in made]


def test_it_is_recorded_calibrated_replayed_and_judged(
    addresses: list[str], folder: Path, float_artifact: Path
) -> None:
    path = toml_of(
        folder / "cascade.toml",
        everything_goes_on(float_artifact, "first"),
        panel_of(addresses, deadline_s=60, gate={"rule": "vote", "threshold": 0.5}),
        {"name": "last", "address": addresses[0]},
    )
    data, trace = folder / "data.jsonl", folder / "trace.jsonl"
    with EdgeClient.open(float_artifact) as alone:
        asked = [
            {"id": one, "task": "g2p", "prompt": one, "references": [alone.ask(one).text]}
            for one in PROMPTS
        ]
    data.write_text("".join(json.dumps(one) + "\n" for one in asked))
    escalade("record", path, "--data", data, "--out", trace)
    header, records = read_trace(trace)
    assert [one.name for one in header.tiers[1].members] == ["tiny", "other", "tiny"]
    assert header.tiers[1].side_by_side
    said = [answer for record in records if (answer := record.tiers[1]) is not None]
    assert [answer.score for answer in said] == [pytest.approx(1 / 3)] * len(PROMPTS)
    assert [answer.correct for answer in said] == [True] * len(PROMPTS)
    assert [len(links_of(answer)) for answer in said] == [3] * len(PROMPTS)

    networks = ("--profile", "free", "--profile", "coe-100ms")
    page = ("--out", folder / "report.html", "--json")
    shown = json.loads(escalade("simulate", trace, "--threshold", "-1,0.5", *networks, *page))
    before, after = (one["cascade"]["mean_s"] for one in shown["networks"])
    # One delay more, for three links that are crossed at the same time.
    assert after - before == pytest.approx(0.1, abs=0.01)
    up = sum(link.bytes_up for answer in said for link in links_of(answer))
    (point,) = shown["points"]
    assert point["tiers"][1]["bytes_up"] == up + FRAMING_UP * 3 * len(PROMPTS)
    judged = json.loads(escalade("evaluate", trace, "--cost", "bytes", "--gate", "panel", "--json"))
    assert judged["gate"] == "panel"
    assert judged["slices"][0]["headlines"][0]["small_quality"]["value"] == 1.0

    escalade("calibrate", path, "--trace", trace, "--target-deferral-rate", "0.5")
    with EdgeClient.open(path) as client:
        assert client.ask(PROMPTS[0]).text == asked[0]["references"][0]


def silent_in(answer: Answer) -> list[str]:
    """Who gave no answer in the panel behind the gateway, and why."""
    (hop,) = (one for one in answer.said.hops if one.tier == "panel")
    return hop.silent if isinstance(hop.silent, list) else []


@pytest.mark.slow
def test_behind_a_gateway_one_member_is_killed_in_the_midst_and_no_query_is_lost(
    addresses: list[str], folder: Path, float_artifact: Path, tiny_model_dir: Path
) -> None:
    with ExitStack() as opened:
        killed = opened.enter_context(closing(Process("serve", str(tiny_model_dir))))
        front = toml_of(
            folder / "front.toml",
            everything_goes_on(float_artifact, "first"),
            # Its score is wanted, so that all are heard.
            panel_of(
                [killed.address, *addresses[1:]],
                deadline_s=20,
                breaker_after=1,
                gate={"rule": "vote"},
            ),
        )
        gateway = opened.enter_context(closing(Process("gateway", str(front))))
        device = toml_of(
            folder / "device.toml",
            everything_goes_on(float_artifact, "device"),
            {"name": "gateway", "address": gateway.address, "place": "gateway", "deadline_s": 60},
        )
        client = opened.enter_context(EdgeClient.open(device))
        alone = opened.enter_context(EdgeClient.open(float_artifact))
        expected = [alone.ask(prompt).text for prompt in PROMPTS]
        whole = [client.ask(prompt) for prompt in PROMPTS]
        members = client.trace_header().tiers[1].members
        killed.close()
        rest = [client.ask(prompt) for prompt in PROMPTS]
    # The first and the last agree; of the two that are left the one given first is taken.
    assert [answer.text for answer in whole] == expected
    for answer in (*whole, *rest):
        ended = (answer.outcome, answer.tier, answer.given_at, answer.reason)
        assert ended == ("deferred", "gateway", "cloud", None)
        assert [hop.tier for hop in answer.said.hops] == ["first", "panel"]
    assert [one.name for one in members] == ["tiny", "tiny", "other", "tiny"]
    assert not any(silent_in(answer) for answer in whole)
    for answer in rest:
        (why,) = silent_in(answer)
        assert why.startswith(f"{killed.address}: ")
        assert "UNAVAILABLE" in why or "CIRCUIT_OPEN" in why
        # The gateway's own model and the two that answered: each is charged, and no other.
        ran = [one for one in answer.said.members if one.generated_tokens]
        assert [members[one.member].name for one in ran] == ["tiny", "other", "tiny"]
