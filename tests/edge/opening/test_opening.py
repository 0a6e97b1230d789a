"""Cascades opened from files: tiers, gates, prices and addresses as they stand there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from escalade.edge import Artifact, EdgeClient, OpenOptions, Query
from escalade.edge.artifact import MANIFEST_NAME
from escalade.edge.base import sha256_of
from escalade.edge.deferral import Vote
from escalade.edge.errors import EdgeError
from escalade.edge.opening import open_cascade
from escalade.edge.tiers import ArtifactTier, EnsembleTier, RemoteEnsembleTier, RemoteTier
from escalade.edge.wire import CloudClient

PROMPT = "g2p: cascade"


@pytest.fixture
def write(folders: list[Path], tmp_path: Path) -> Callable[[str], Path]:
    """A file beside links to the artifacts a, b (which agree) and c (which does not)."""
    for name, folder in zip("abc", folders, strict=True):
        (tmp_path / name).symlink_to(folder)

    def write(text: str) -> Path:
        path = tmp_path / "cascade.toml"
        path.write_text(text)
        return path

    return write


def test_every_kind_of_tier_is_opened_as_the_file_says(
    write: Callable[[str], Path], scripted_cloud: Any, folders: list[Path]
) -> None:
    digest = sha256_of(folders[2] / MANIFEST_NAME)
    path = write(
        f"""
        currency = "EUR"
        [[tiers]]
        name = "small"
        members = ["a"]
        gate = {{ rule = "min", threshold = 0.1, early = "certain" }}
        [[tiers]]
        members = ["b", {{ artifact = "c", manifest_sha256 = "{digest}", generated_price = 0.5 }}]
        side_by_side = true
        gate = {{ threshold = 0.25 }}
        [[tiers]]
        address = "{scripted_cloud.address}"
        place = "gateway"
        send = "text"
        deadline_s = 3
        gate = {{ rule = "quantile:0.4", threshold = 2 }}
        [[tiers]]
        name = "large"
        address = "localhost:9"
        prompt_price = 1
        generated_price = 2.5
        send = "text"
        """
    )
    with EdgeClient.open(path) as client:
        small, vote, near, large = client.cascade.tiers
        first, second, third, last = client.cascade.gates
    assert isinstance(small, ArtifactTier)
    assert isinstance(vote, EnsembleTier)
    assert isinstance(near, RemoteTier)
    assert isinstance(large, RemoteTier)
    names = [tier.name for tier in client.cascade.tiers]
    assert names == ["small", "ensemble-2", "gateway", "large"]
    places = [tier.place for tier in client.cascade.tiers]
    assert places == ["device", "device", "gateway", "cloud"]
    assert [tier.side_by_side for tier in client.cascade.tiers] == [False, True, False, False]
    assert first is not None
    assert second is not None
    assert third is not None
    assert last is None
    assert (first.rule.name, first.threshold, first.early) == ("min", 0.1, "certain")
    assert isinstance(second.rule, Vote)
    assert second.threshold == 0.25
    assert (third.rule.name, third.threshold) == ("quantile:0.4", 2.0)
    header = client.cascade.header(known_only=True)
    assert header.currency == "EUR"
    assert [one.generated_price for one in header.tiers[1].members] == [0.0, 0.5]
    assert (near.client.deadline_s, near.client.address) == (3.0, scripted_cloud.address)
    assert [tier.rule for tier in header.tiers] == ["min", "vote", "quantile:0.4", None]


def test_members_at_addresses_are_opened_as_the_file_says(
    write: Callable[[str], Path], scripted_cloud: Any
) -> None:
    path = write(
        f"""
        [[tiers]]
        members = ["a"]
        gate = {{ threshold = -1 }}
        [[tiers]]
        members = [
            {{ address = "{scripted_cloud.address}", weight = 0.5, generated_price = 2 }},
            {{ address = "localhost:9", prompt_price = 1 }},
        ]
        place = "gateway"
        send = "text"
        deadline_s = 0.2
        gate = {{ rule = "vote:folded", threshold = 0.75 }}
        [[tiers]]
        name = "large"
        address = "{scripted_cloud.address}"
        """
    )
    with EdgeClient.open(path) as client:
        vote, gate = client.cascade.tiers[1], client.cascade.gates[1]
        assert isinstance(vote, RemoteEnsembleTier)
        assert (vote.name, vote.place, vote.side_by_side) == ("ensemble-2", "gateway", True)
        assert (vote.deadline_s, vote.weights) == (0.2, [0.5, 1.0])
        assert gate is not None
        assert (gate.rule.name, gate.threshold) == ("vote:folded", 0.75)
        answer = client.ask(PROMPT)
    assert [request.prompt.text for request in scripted_cloud.asked] == [PROMPT]
    said = answer.tiers[1]
    assert said is not None
    # Of a weight of 1.5 two thirds have failed.
    assert (answer.text, said.score) == ("large answer", 2 / 3)
    assert answer.tier == "ensemble-2"


def test_an_artifact_in_a_file_answers_as_its_folder(
    write: Callable[[str], Path], folders: list[Path]
) -> None:
    with (
        EdgeClient.open(write('[[tiers]]\nmembers = ["a"]\n')) as of_file,
        EdgeClient.open(folders[0]) as of_folder,
    ):
        one, other = of_file.ask(PROMPT), of_folder.ask(PROMPT)
    assert (one.text, one.score, one.outcome) == (other.text, other.score, other.outcome)
    assert one.said.members[0].logprobs == other.said.members[0].logprobs
    assert (one.tier, other.tier) == ("a", "device")


def test_members_side_by_side_share_the_threads(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    open_artifact = Artifact.open

    def watched(folder: Path, **options: Any) -> Artifact:
        opened.append(options["threads"])
        return open_artifact(folder, **options)

    monkeypatch.setattr(Artifact, "open", watched)
    monkeypatch.setattr("escalade.edge.opening.members.default_threads", lambda: 4)
    tiers = '[[tiers]]\nmembers = ["a", "b"]\nside_by_side = {}\n'
    open_cascade(write(tiers.format("true")), OpenOptions())
    open_cascade(write(tiers.format("true")), OpenOptions(threads=3))
    open_cascade(write(tiers.format("false")), OpenOptions())
    assert opened == [2, 2, 3, 3, 0, 0]


def test_what_is_asked_for_all_tiers_holds_for_all(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    path = write(
        '[[tiers]]\nmembers = ["a"]\ngate = { threshold = 0.1 }\n'
        '[[tiers]]\nmembers = ["b", "c"]\ngate = { threshold = 0.1 }\n[[tiers]]\nmembers = ["c"]\n'
    )
    gates = open_cascade(path, OpenOptions(early="certain")).gates
    assert gates[0] is not None
    assert gates[0].early == "certain"
    with pytest.raises(EdgeError, match="may take at most 1000"):
        open_cascade(path, OpenOptions(max_memory=1000))
    with pytest.raises(EdgeError, match="not signed"):
        open_cascade(path, OpenOptions(trusted_key=tmp_path / "key.pem"))


HALF = """
[[tiers]]
address = "127.0.0.1:9"
gate = { rule = "mean", threshold = 0.5 }
[[tiers]]
"""


@pytest.mark.parametrize(
    "last",
    [
        'members = ["nowhere"]',
        'members = ["a", "a"]',
        'name = "b"\naddress = "127.0.0.1:8"\nca_cert = "none.pem"\nplaintext = false',
        'members = ["a"]\ngate = { rule = "router" }\n[[tiers]]\nmembers = ["b"]',
        'name = "b"\naddress = "127.0.0.1:8"\ngate = { rule = "mean" }\n[[tiers]]\nmembers = ["a"]',
    ],
)
def test_what_was_open_is_closed_where_the_rest_does_not_open(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    opened: list[str] = []
    closed: list[str] = []
    init, close = CloudClient.__init__, CloudClient.close

    def watched(self: CloudClient, address: str, **options: Any) -> None:
        init(self, address, **options)
        opened.append(address)

    monkeypatch.setattr(CloudClient, "__init__", watched)
    monkeypatch.setattr(
        CloudClient, "close", lambda self: (closed.append(self.address), close(self))[1]
    )
    with pytest.raises(EdgeError):
        EdgeClient.open(write(HALF + last))
    assert sorted(closed) == sorted(opened)
    assert opened[:1] == ["127.0.0.1:9"]


def test_the_whole_climb_through_a_file(
    write: Callable[[str], Path], scripted_cloud: Any, tmp_path: Path
) -> None:
    path = write(
        '[[tiers]]\nmembers = ["a"]\ngate = { threshold = -1 }\n'
        '[[tiers]]\nname = "vote"\nmembers = ["a", "b", "c"]\n'
        'gate = { rule = "vote", threshold = 0.3 }\n'
        f'[[tiers]]\naddress = "{scripted_cloud.address}"\n'
    )
    trace = tmp_path / "trace.jsonl"
    with EdgeClient.open(path, trace=trace) as client:
        answer = client.ask(Query(text=PROMPT, references=("large answer",)))
        assert (answer.outcome, answer.answered_by, answer.text) == ("deferred", 2, "large answer")
        (request,) = scripted_cloud.asked
        assert (
            request.prompt.tokens.tokenizer_fingerprint
            == client.cascade.tiers[0].opened[0].fingerprint
        )
    with pytest.raises(EdgeError, match="recorded under threshold of tier 'vote' 0.3, this client"):
        EdgeClient.open(write(path.read_text().replace("0.3", "0.4")), trace=trace)


def test_every_channel_to_a_tier_elsewhere_may_have_something_before_it(
    write: Callable[[str], Path], folders: list[Path], scripted_cloud: Any
) -> None:
    seen: list[str] = []

    def through(address: str, channel: grpc.Channel) -> grpc.Channel:
        seen.append(address)
        return channel

    address, options = scripted_cloud.address, OpenOptions(threshold=0.5, through=through)
    open_cascade(folders[0], options, cloud=address).close()
    path = write(
        f"""
        [[tiers]]
        members = ["a"]
        gate = {{ rule = "min", threshold = 0.1 }}
        [[tiers]]
        members = [{{ address = "{address}" }}, {{ address = "localhost:9" }}]
        gate = {{ threshold = 0.5 }}
        [[tiers]]
        address = "localhost:8"
        """
    )
    open_cascade(path, OpenOptions(through=through)).close()
    assert seen == [address, address, "localhost:9", "localhost:8"]
