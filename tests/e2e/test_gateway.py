"""Device, gateway and cloud as processes of their own: reports, deadlines, loops, many at once."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from relay import relay_to

from escalade.cli.demo.processes import running
from escalade.edge import EdgeClient, Query, Sampling
from escalade.edge.errors import CloudError
from escalade.edge.trace import read_trace
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

ESCALADE = [sys.executable, "-m", "escalade.cli"]
PROMPTS = [f"g2p: {word}" for word in ("cat", "dog", "banana", "zebra", "apple", "o'neil")]


def escalade(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ESCALADE, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def cascade(path: Path, artifact: Path, threshold: float, address: str, **link: object) -> Path:
    """A file of one artifact and an address."""
    more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in link.items())
    path.write_text(
        f"""[[tiers]]
name = "{path.stem}"
members = [{json.dumps(str(artifact))}]
gate = {{ rule = "mean", threshold = {threshold} }}

[[tiers]]
name = "above-{path.stem}"
address = "{address}"
{more}"""
    )
    return path


@pytest.fixture(scope="module")
def cloud(tiny_model_dir: Path) -> Iterator[str]:
    with running("cloud", "serve", str(tiny_model_dir), "--listen", "127.0.0.1:0") as address:
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def gateway(cloud: str, folder: Path, int8_artifact: Path) -> Iterator[str]:
    # A threshold in the midst of its scores, so that it keeps some and sends others on.
    scores = []
    with EdgeClient.open(int8_artifact) as client:
        scores = sorted(float(client.ask(prompt).score or 0.0) for prompt in PROMPTS)
    path = cascade(folder / "gateway.toml", int8_artifact, scores[len(scores) // 2], cloud)
    with running("gateway", "gateway", str(path), "--listen", "127.0.0.1:0") as address:
        yield address


@pytest.fixture(scope="module")
def device(gateway: str, folder: Path, float_artifact: Path) -> Path:
    # Everything is deferred, so that the gateway decides.
    return cascade(folder / "device.toml", float_artifact, -1.0, gateway, place="gateway")


def test_the_gateway_keeps_some_queries_and_sends_others_on(
    device: Path, cloud: str, int8_artifact: Path, folder: Path
) -> None:
    trace = folder / "trace.jsonl"
    with (
        EdgeClient.open(device, trace=trace) as client,
        EdgeClient.open(int8_artifact) as alone,
        EdgeClient.open(cascade(folder / "two.toml", int8_artifact, -1.0, cloud)) as two,
    ):
        answers = [client.ask(prompt) for prompt in PROMPTS]
        here = [alone.ask(prompt).text for prompt in PROMPTS]
        there = [two.ask(prompt).text for prompt in PROMPTS]
        members = client.trace_header().tiers[1].members
    assert {answer.given_at for answer in answers} == {"gateway", "cloud"}
    for answer, kept, sent in zip(answers, here, there, strict=True):
        gate, *above = answer.said.hops
        assert (gate.tier, gate.place, gate.model) == ("gateway", "gateway", "tiny")
        assert gate.score is not None
        assert gate.threshold is not None
        deferred = gate.score >= gate.threshold
        assert [hop.place for hop in above] == (["cloud"] if deferred else [])
        assert answer.text == (sent if deferred else kept)
        # Every model that ran is charged, and no other.
        assert [one.member for one in answer.said.members] == ([0, 1] if deferred else [0])
        assert all(one.generated_tokens > 0 for one in answer.said.members)
        assert (answer.outcome, answer.answered_by) == ("deferred", 1)
    assert [member.name for member in members] == ["tiny", "tiny"]
    assert [record.tiers[1] for record in read_trace(trace).records] == [a.said for a in answers]


def test_what_a_gateway_says_has_a_score(
    gateway: str, cloud: str, folder: Path, float_artifact: Path
) -> None:
    path = cascade(folder / "three.toml", float_artifact, -1.0, gateway, place="gateway")
    for threshold, outcome in (("1e9", 1), ("-1.0", 2)):
        path.write_text(
            path.read_text().partition('gate = { rule = "min"')[0]
            + f'gate = {{ rule = "min", threshold = {threshold} }}\n\n'
            + f'[[tiers]]\nname = "last"\naddress = "{cloud}"\n'
        )
        with EdgeClient.open(path) as client:
            for prompt in PROMPTS:
                answer = client.ask(prompt)
                middle = answer.tiers[1]
                assert middle is not None
                assert middle.score is not None
                assert math.isfinite(middle.score)
                assert answer.answered_by == outcome


def test_stop_texts_reach_the_model_behind_the_gateway(device: Path) -> None:
    with EdgeClient.open(device) as client:
        for prompt in PROMPTS:
            whole = client.ask(prompt).text
            stop = whole[len(whole) // 2 :][:2]
            cut = client.ask(Query(text=prompt, stop=(stop,))).text
            assert cut == whole[: whole.index(stop)]


def test_how_tokens_are_drawn_reaches_every_tier(device: Path, gateway: str) -> None:
    def drawn(client: EdgeClient, seed: int) -> list[str]:
        sampling = Sampling(temperature=3.0, seed=seed)
        answers = [client.ask(Query(text=one, sampling=sampling, batch=True)) for one in PROMPTS]
        assert {answer.outcome for answer in answers} == {"deferred"}
        return [answer.text for answer in answers]

    with EdgeClient.open(device) as client:
        assert drawn(client, 1) == drawn(client, 1)
        assert drawn(client, 1) != drawn(client, 2)
        assert drawn(client, 1) != [client.ask(prompt).text for prompt in PROMPTS]
    asker = CloudClient(gateway)
    with pytest.raises(CloudError, match=r"output\.top_logprobs: this server gives none") as caught:
        asker.generate(
            pb.GenerateRequest(
                prompt=pb.Prompt(text=PROMPTS[0]), output=pb.OutputOptions(top_logprobs=1)
            )
        )
    assert caught.value.reason == "NOT_SUPPORTED"
    asker.close()


def test_many_devices_at_once_get_what_one_gets(device: Path) -> None:
    with EdgeClient.open(device) as client:
        expected = {prompt: client.ask(prompt).text for prompt in PROMPTS}

    def ask(number: int) -> None:
        with EdgeClient.open(device) as client:
            for prompt in PROMPTS[number % 3 :] + PROMPTS[: number % 3]:
                answer = client.ask(prompt)
                assert (answer.text, answer.outcome) == (expected[prompt], "deferred")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ask, range(6)))


def test_the_command_line_says_who_answered(device: Path) -> None:
    done = escalade("ask", device, PROMPTS[0])
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("answered by above-device (gateway)\n")
    assert "through gateway (gateway)" in done.stderr
    shown = json.loads(escalade("ask", device, PROMPTS[0], "--json").stdout)
    assert shown["place"] in {"gateway", "cloud"}
    assert shown["tiers"][1]["said"]["hops"][0]["tier"] == "gateway"


def test_a_gateway_that_loses_its_cloud_answers_degraded_and_says_why(
    folder: Path, float_artifact: Path, int8_artifact: Path, tiny_model_dir: Path
) -> None:
    with running("cloud", "serve", str(tiny_model_dir), "--listen", "127.0.0.1:0") as cloud:
        path = cascade(folder / "lonely.toml", int8_artifact, -1.0, cloud, deadline_s=3.0)
        lonely = running("gateway", "gateway", str(path), "--listen", "127.0.0.1:0")
        address = lonely.__enter__()
    try:  # the cloud has gone
        device = cascade(
            folder / "below.toml", float_artifact, -1.0, address, place="gateway", deadline_s=2.0
        )
        with EdgeClient.open(device) as client, EdgeClient.open(int8_artifact) as alone:
            answer = client.ask(PROMPTS[0])
            assert answer.text == alone.ask(PROMPTS[0]).text
        assert (answer.outcome, answer.answered_by, answer.given_at) == ("degraded", 1, "gateway")
        assert answer.total_s < 2.0  # the deadline shrank on the way up
        assert [bool(hop.reason) for hop in answer.said.hops] == [False, True]
        assert answer.reason is not None
        assert cloud in answer.reason
        done = escalade("ask", device, PROMPTS[0])
        assert done.returncode == 2
        assert "degraded" in done.stderr.splitlines()[0]
        assert done.stderr.splitlines()[-1].startswith("error: degraded: ")
    finally:
        lonely.__exit__(None, None, None)


def test_a_loop_of_gateways_is_refused(
    folder: Path, float_artifact: Path, int8_artifact: Path
) -> None:
    with running("proxy", "proxy", "--profile", "free", "--upstream", "127.0.0.1:9") as unused:
        port = unused.rpartition(":")[2]
    # The gateway's cloud is the gateway itself.
    path = cascade(folder / "loop.toml", int8_artifact, -1.0, f"127.0.0.1:{port}", deadline_s=1.0)
    with running("gateway", "gateway", str(path), "--listen", f"127.0.0.1:{port}") as address:
        device = cascade(folder / "looped.toml", float_artifact, -1.0, address, place="gateway")
        with EdgeClient.open(device) as client, EdgeClient.open(float_artifact) as alone:
            answer = client.ask(PROMPTS[0])
            assert answer.text == alone.ask(PROMPTS[0]).text  # nothing is lost
    assert (answer.outcome, answer.answered_by) == ("degraded", 0)
    assert answer.reason is not None
    assert answer.reason.startswith("LOOP: ")
    assert "lead back to it" in answer.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("members = [", "members = []  # ["), "give members"),
        (('name = "bad"\nmembers', 'address = "127.0.0.1:9"\n#'), "first tier of a gateway"),
        (("threshold = -1.0", 'threshold = -1.0, early = "certain"'), "early must be 'off'"),
    ],
)
def test_what_is_no_gateway_is_refused_in_one_line(
    change: tuple[str, str], said: str, tmp_path: Path, float_artifact: Path
) -> None:
    path = cascade(tmp_path / "bad.toml", float_artifact, -1.0, "127.0.0.1:9")
    path.write_text(path.read_text().replace(*change))
    done = escalade("gateway", path, "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_gateways_policy_is_told_to_the_device_and_sends_no_byte(
    cloud: str, folder: Path, int8_artifact: Path, float_artifact: Path
) -> None:
    with relay_to(cloud) as relay:
        path = cascade(folder / "kept.toml", int8_artifact, -1.0, relay.address)
        path.write_text(path.read_text() + '[policy]\nsend = "never"\n')
        with running("gateway", "gateway", str(path), "--listen", "127.0.0.1:0") as address:
            above = cascade(folder / "asks.toml", float_artifact, -1.0, address, place="gateway")
            with EdgeClient.open(above) as client:
                answer = client.ask(PROMPTS[0])
        assert (relay.dialled, relay.carried) == (0, 0)
    assert (answer.outcome, answer.given_at, answer.blocked) == ("degraded", "gateway", None)
    assert answer.reason is not None
    assert answer.reason.startswith("POLICY_NEVER: above-kept: not sent: ")
