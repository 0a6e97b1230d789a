"""`escalade ask` and `record` on cascades of several tiers: in words, as JSON, as a stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import scripted

from escalade.edge import Artifact, EdgeClient
from escalade.edge.errors import ArtifactError
from escalade.edge.trace import read_trace
from escalade.v1 import cascade_pb2 as pb

Invoke = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]
PROMPT = "g2p: cascade"


@pytest.fixture
def write(shelf: Path, tmp_path: Path, scripted_cloud: Any) -> Write:
    def write(*tiers: str, name: str = "cascade.toml") -> Path:
        """A file of tiers; `SHELF` and `CLOUD` stand for where things are."""
        text = "".join(f"[[tiers]]\n{tier}\n" for tier in tiers)
        path = tmp_path / name
        path.write_text(text.replace("SHELF", str(shelf)).replace("CLOUD", scripted_cloud.address))
        return path

    return write


SMALL = 'name = "small"\nmembers = ["SHELF/small"]\n'
VOTE = 'name = "vote"\nmembers = ["SHELF/small", "SHELF/twin"]\n'
LAST = 'name = "last"\nmembers = ["SHELF/small"]\n'
FAR = 'address = "CLOUD"\n'


def gate(threshold: float, rule: str = "mean") -> str:
    return f'gate = {{ rule = "{rule}", threshold = {threshold} }}\n'


ALWAYS, NEVER = -1.0, 1e9
#: Of the last tier: it says who wins.
ONLY_VOTES = 'gate = { rule = "vote" }\n'


@pytest.fixture
def broken_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all artifacts the twin fails when it is asked."""
    real = Artifact.stream

    def stream(self: Artifact, *arguments: Any, **options: Any) -> Any:
        if self.folder.name == "twin":
            raise ArtifactError("model.onnx: out of\nmemory")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Artifact, "stream", stream)


@pytest.fixture
def said(shelf: Path) -> str:
    """What the small model says."""
    with EdgeClient.open(shelf / "small") as client:
        return client.ask(PROMPT).text


def asked(invoke: Invoke, *arguments: object) -> dict[str, Any]:
    code, out, _ = invoke("ask", *arguments, "--json")
    assert code == 0
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_two_tiers_in_words(invoke: Invoke, shelf: Path, scripted_cloud: Any) -> None:
    arguments = ("--cloud", scripted_cloud.address, "--threshold")
    code, out, err = invoke("ask", shelf / "small", PROMPT, *arguments, "-1")
    assert (code, out) == (0, "large answer\n")
    lines = err.splitlines()
    assert lines[0] == "answered by the cloud"
    assert lines[1].startswith("device: score ")
    assert lines[1].endswith(", threshold -1.0000")
    assert lines[2].startswith("device ")
    assert lines[3].startswith("cloud ")
    assert lines[3].endswith("of it 750.0 ms on the server")
    assert lines[4].startswith("total ")
    assert len(lines) == 5
    _, _, err = invoke("ask", shelf / "small", PROMPT, *arguments, "1e9")
    assert err.splitlines()[0] == "answered by the device"
    _, _, err = invoke("ask", shelf / "small", PROMPT, "--threshold", "-1")
    assert err.splitlines()[0] == (
        "answered by the device; with a tier above it would have been deferred"
    )


def test_everything_that_is_known_is_in_the_json(invoke: Invoke, write: Write, said: str) -> None:
    path = write(SMALL + gate(ALWAYS), VOTE + gate(0.0, "vote"), FAR)
    answer = asked(invoke, path, PROMPT)
    assert (answer["answer"], answer["answered_by"]) == ("large answer", "cloud")
    assert (answer["place"], answer["outcome"]) == ("cloud", "deferred")
    assert (answer["score"], answer["threshold"], answer["would_defer"]) == (0.0, 0.0, True)
    assert (answer["stop"], answer["reason"], answer["trace_error"]) == ("end", None, None)
    assert answer["total_s"] > 0
    small, vote, cloud = answer["tiers"]
    assert [tier["name"] for tier in answer["tiers"]] == ["small", "vote", "cloud"]
    assert [tier["place"] for tier in answer["tiers"]] == ["device", "device", "cloud"]
    assert [tier["rule"] for tier in answer["tiers"]] == ["mean", "vote", None]
    assert [tier["threshold"] for tier in answer["tiers"]] == [-1.0, 0.0, None]
    # One member decides a vote of threshold 0: its answer is a vote all the same.
    assert [tier["votes"] for tier in answer["tiers"]] == [None, {said: 1}, None]
    assert small["said"]["text"] == said
    assert len(vote["said"]["members"]) == 1
    assert cloud["said"]["link"]["server_s"] == 0.75
    answer = asked(invoke, write(SMALL + gate(NEVER), FAR), PROMPT)
    assert (answer["answered_by"], answer["outcome"]) == ("small", "answered")
    assert answer["tiers"][1]["said"] is None


def test_a_vote_in_words(invoke: Invoke, write: Write, said: str) -> None:
    code, out, err = invoke("ask", write(VOTE), PROMPT)
    assert (code, out) == (0, said + "\n")
    assert err.startswith("answered by vote (device)\n")
    assert f"vote (device): votes 1 x {said!r}" in err
    assert "vote (device): score at most 0.5000, threshold not calibrated" in err
    three = VOTE.replace('"SHELF/twin"', '"SHELF/twin", "SHELF/third"')
    _, _, err = invoke("ask", write(three + gate(0.9, "vote"), FAR), PROMPT)
    assert "vote (device): score at most 0.3333, threshold 0.9000" in err
    _, _, err = invoke("ask", write(VOTE + gate(0.0, "vote"), FAR), PROMPT)
    assert "vote (device): score at least 0.0000, threshold 0.0000" in err
    assert f"vote (device): votes 1 x {said!r}" in err
    assert "stopped after" not in err


def test_a_gateway_in_words(
    invoke: Invoke, shelf: Path, scripted_cloud: Any, tmp_path: Path
) -> None:
    members = [
        pb.MemberReport(model=pb.ModelIdentity(name=name), generated_tokens=3) for name in "ab"
    ]
    near = pb.TierReport(
        tier="near", place=pb.PLACE_GATEWAY, members=members, score=0.5, threshold=0.25
    )
    far = pb.TierReport(tier="far", place=pb.PLACE_CLOUD, reason="UNAVAILABLE:\n gone")
    scripted_cloud.says(reports=[near, far], degraded=True)
    arguments = ("ask", shelf / "small", PROMPT, "--cloud", scripted_cloud.address)
    code, out, err = invoke(*arguments, "--threshold", "-1")
    assert (code, out) == (2, "large answer\n")
    assert err.splitlines()[0] == "answered by the gateway, behind the cloud, degraded"
    assert "  through near (gateway) 0.0 ms, score 0.5000, threshold 0.2500" in err
    assert "  not far (cloud): UNAVAILABLE: gone" in err
    assert "votes" not in err  # what its members said did not travel
    assert err.splitlines()[-1] == "error: degraded: UNAVAILABLE: gone"
    code, out, _ = invoke(*arguments, "--threshold", "-1", "--json")
    assert code == 2
    assert json.loads(out)["tiers"][1]["votes"] is None


def test_tiers_in_one_place_go_by_their_names(invoke: Invoke, write: Write) -> None:
    _, _, err = invoke("ask", write(SMALL + gate(ALWAYS), LAST), PROMPT)
    lines = err.splitlines()
    assert lines[0] == "answered by last (device)"
    assert lines[1].startswith("small (device): score ")


def test_a_tier_that_was_passed_over_is_said(
    invoke: Invoke, write: Write, silent_cloud: str, said: str
) -> None:
    gone = f'name = "gone"\naddress = "{silent_cloud}"\ndeadline_s = 0.05\n'
    code, out, err = invoke("ask", write(SMALL + gate(ALWAYS), gone + gate(0.5), LAST), PROMPT)
    assert (code, out) == (0, said + "\n")
    assert "answered by last (device)" in err
    assert "passed over: UNAVAILABLE: cloud " in err or "passed over: DEADLINE" in err


def test_where_nobody_answers_there_is_no_answer(
    invoke: Invoke, write: Write, silent_cloud: str
) -> None:
    path = write(f'address = "{silent_cloud}"\ndeadline_s = 0.05\n')
    for stream in ([], ["--stream"]):
        code, out, err = invoke("ask", path, PROMPT, *stream)
        assert (code, out.strip()) == (2, "")
        assert err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("tiers", [[FAR], [VOTE], [SMALL]])
def test_a_stream_ends_in_the_answer_whoever_gives_it(
    invoke: Invoke, write: Write, tiers: list[str]
) -> None:
    path = write(*tiers)
    _, whole, _ = invoke("ask", path, PROMPT)
    code, streamed, _ = invoke("ask", path, PROMPT, "--stream")
    assert (code, streamed) == (0, whole)
    assert whole.strip()


def test_a_draft_has_a_line_for_each_tier(invoke: Invoke, write: Write, said: str) -> None:
    path = write(SMALL + gate(ALWAYS), VOTE + gate(0.0, "vote"), FAR)
    code, out, err = invoke("ask", path, PROMPT, "--stream")
    assert (code, out) == (0, "large answer\n")
    assert err.splitlines()[:3] == [said, said, "answered by the cloud"]


def test_a_trace_of_three_tiers_grows_and_is_held_to_its_cascade(
    invoke: Invoke, write: Write, tmp_path: Path
) -> None:
    path, trace = write(SMALL + gate(ALWAYS), VOTE + gate(0.5, "vote"), FAR), tmp_path / "t.jsonl"
    for _ in range(2):
        code, _, _ = invoke("ask", path, PROMPT, "--trace", trace)
        assert code == 0
    read = read_trace(trace)
    assert [tier.name for tier in read.header.tiers] == ["small", "vote", "cloud"]
    assert [record.answered_by for record in read.records] == [1, 1]
    before = trace.read_bytes()
    other = write(SMALL + gate(0.5), VOTE + gate(0.5, "vote"), FAR, name="other.toml")
    code, out, err = invoke("ask", other, PROMPT, "--trace", trace)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {trace}: recorded under threshold of tier 'small' -1.0, this client has 0.5;"
        " name another file\n"
    )
    assert trace.read_bytes() == before


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    rows = [
        {"id": word, "task": "g2p", "prompt": f"g2p: {word}", "references": ["large answer"]}
        for word in ("cat", "dog", "pea")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_record_asks_every_tier_of_a_file(
    invoke: Invoke, write: Write, data: Path, tmp_path: Path
) -> None:
    path, out = write(SMALL + gate(NEVER), VOTE + gate(0.5, "vote"), FAR), tmp_path / "t.jsonl"
    code, said, _ = invoke("record", path, "--data", data, "--out", out, "--json")
    assert code == 0
    assert json.loads(said) == {"queries": 3, "deferred": 0, "unanswered": 0}
    trace = read_trace(out)
    assert [record.id for record in trace.records] == ["cat", "dog", "pea"]
    for record in trace.records:
        small, vote, large = record.tiers
        assert small is not None
        assert vote is not None
        assert large is not None
        assert (record.outcome, len(vote.members), large.correct) == ("answered", 2, True)
    code, _, err = invoke("record", path, "--data", data, "--out", out, "--limit", "2")
    assert code == 0
    assert err.splitlines()[-2:] == [
        "2 queries, the first gate defers 0, 0 not answered by every tier",
        f"trace: {out}",
    ]


def test_record_needs_somebody_to_compare_with(
    invoke: Invoke, shelf: Path, data: Path, tmp_path: Path, silent_cloud: str
) -> None:
    out = tmp_path / "t.jsonl"
    for arguments, says in (
        ([shelf / "small"], "2 tiers or more, or members that vote; give --cloud"),
        ([shelf / "small", "--cloud", silent_cloud, "--deadline-s", "0.05"], "cloud 127.0.0.1:"),
    ):
        code, said, err = invoke("record", *arguments, "--data", data, "--out", out)
        assert (code, said) == (2, "")
        (line,) = err.splitlines()
        assert says in line
        assert not out.exists()


def test_record_wants_no_threshold_for_it_is_what_one_is_set_by(
    invoke: Invoke, shelf: Path, data: Path, tmp_path: Path, scripted_cloud: Any
) -> None:
    out = tmp_path / "t.jsonl"
    arguments = (shelf / "twin", "--cloud", scripted_cloud.address, "--data", data, "--out", out)
    code, _, _ = invoke("record", *arguments)
    assert code == 0
    trace = read_trace(out)
    assert trace.header.tiers[0].threshold is None
    assert [record.outcome for record in trace.records] == ["answered"] * 3
    code, out_, err = invoke("ask", *arguments[:1], PROMPT, *arguments[1:3])
    assert (code, out_) == (2, "")
    assert "twin: not calibrated: run `escalade calibrate`" in err


@pytest.mark.usefixtures("broken_twin")
def test_a_member_that_fails_is_named_with_its_reason(
    invoke: Invoke, write: Write, said: str
) -> None:
    path = write(VOTE.replace('"SHELF/small", "SHELF/twin"', '"SHELF/twin", "SHELF/small"'))
    code, out, err = invoke("ask", path, PROMPT)
    assert (code, out) == (0, f"{said}\n")
    assert f"vote (device): votes 1 x {said!r}" in err
    assert "(member 1) failed: model.onnx: out of memory\n" in err
    (tier,) = asked(invoke, path, PROMPT)["tiers"]
    assert tier["votes"] == {said: 1}
    second, first = tier["said"]["members"]
    assert "failed" not in first
    assert (second["text"], second["failed"]) == (None, "model.onnx: out of\nmemory")


def test_members_at_addresses_in_words(
    invoke: Invoke, write: Write, silent_cloud: str, scripted_cloud: Any
) -> None:
    with scripted() as other:
        members = ", ".join(
            f'{{ address = "{one}" }}' for one in ("CLOUD", silent_cloud, other.address)
        )
        panel = f"name = 'panel'\nmembers = [{members}]\ndeadline_s = 0.5\n"
        path = write(SMALL + gate(ALWAYS), panel)
        code, out, err = invoke("ask", path, PROMPT)
        assert (code, out) == (0, "large answer\n")
        assert err.startswith("answered by panel (cloud)\n")
        assert "panel (cloud): votes 2 x 'large answer'" in err
        _, panel_said = asked(invoke, write(SMALL + gate(ALWAYS), panel + ONLY_VOTES), PROMPT)[
            "tiers"
        ]
    assert panel_said["votes"] == {"large answer": 2}
    first, second, _ = panel_said["said"]["members"]
    assert first["call"]["link"]["server_s"] == 0.75
    assert second["text"] is None  # nobody waits for it: two have decided


def test_what_failed_behind_a_gateway_is_said(
    invoke: Invoke, shelf: Path, scripted_cloud: Any
) -> None:
    members = [
        pb.MemberReport(model=pb.ModelIdentity(name="a"), prompt_tokens=4, generated_tokens=3),
        pb.MemberReport(model=pb.ModelIdentity(name="host:1"), reason="UNAVAILABLE:\n gone"),
    ]
    panel = pb.TierReport(tier="panel", place=pb.PLACE_CLOUD, members=members)
    near = pb.TierReport(tier="near", place=pb.PLACE_GATEWAY, members=members[:1])
    scripted_cloud.says(reports=[near, panel])
    arguments = (shelf / "small", PROMPT, "--cloud", scripted_cloud.address, "--threshold", "-1")
    code, _, err = invoke("ask", *arguments)
    assert code == 0
    assert "  not in panel: host:1: UNAVAILABLE: gone\n" in err
    _, cloud = asked(invoke, *arguments)["tiers"]
    assert cloud["said"]["hops"][1]["silent"] == ["host:1: UNAVAILABLE: gone"]
    assert [one["generated_tokens"] for one in cloud["said"]["members"]] == [3, 3]


def test_members_at_addresses_are_inspected_without_asking_them(
    invoke: Invoke, write: Write, scripted_cloud: Any
) -> None:
    panel = 'members = [{ address = "CLOUD" }, { address = "host:1", weight = 0.5 }]\n'
    path = write(SMALL + gate(ALWAYS), panel)
    code, out, _ = invoke("inspect", path)
    assert code == 0
    assert "cloud, 2 members side by side" in out
    assert "host:1, weight 0.5" in out
    _, shown = json.loads(invoke("inspect", path, "--json")[1])["tiers"]
    assert [one["address"] for one in shown["addresses"]] == [scripted_cloud.address, "host:1"]
    assert (shown["place"], shown["side_by_side"], shown["members"]) == ("cloud", True, [])
    assert not scripted_cloud.asked


def test_members_that_all_fail_leave_the_answer_to_the_tier_above(
    invoke: Invoke, write: Write
) -> None:
    path = write(VOTE + "member_deadline_s = 1e-9\n" + gate(0.5, "vote"), FAR)
    code, out, err = invoke("ask", path, PROMPT)
    assert (code, out) == (0, "large answer\n")
    assert "passed over: tier 'vote': no member answered: " in err
    assert err.count("no answer after 1e-09 s") == 2
    code, _, err = invoke("ask", write(VOTE + "member_deadline_s = 1e-9\n"), PROMPT)
    assert code == 2
    assert err.startswith("error: tier 'vote': no member answered: ")


@pytest.mark.parametrize("rule", ["vote:words", "mean-score", "similarity:edit"])
def test_every_agreement_is_said_by_its_name(invoke: Invoke, write: Write, rule: str) -> None:
    three = VOTE.replace("]", ', { artifact = "SHELF/third", weight = 0.5 }]')
    path = write(three + gate(0.9, rule), LAST.replace("SHELF/small", "SHELF/twin"))
    _, out, _ = invoke("inspect", path)
    assert f"then rule {rule}, threshold 0.9000" in " ".join(out.split())
    assert "weight 0.5" in out
    vote, _ = asked(invoke, path, PROMPT)["tiers"]
    assert (vote["rule"], vote["threshold"]) == (rule, 0.9)


def test_samples_of_one_model(invoke: Invoke, write: Write) -> None:
    path = write(SMALL + "samples = 3\ntemperature = 5\n" + gate(NEVER, "mean-score"), FAR)
    _, out, _ = invoke("inspect", path)
    assert "3 samples at temperature 5" in " ".join(out.split())
    summary = json.loads(invoke("inspect", path, "--json")[1])
    assert (summary["tiers"][0]["samples"], summary["tiers"][0]["temperature"]) == (3, 5.0)
    first, again = (asked(invoke, path, PROMPT)["tiers"][0] for _ in range(2))
    assert first["votes"] == again["votes"]
    assert len(first["said"]["members"]) == 3
