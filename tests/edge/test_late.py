"""Queries whose tier was out of reach: kept, asked again, handed out once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from scripted import good_reply

from escalade.edge import Artifact, Cascade, EdgeClient, Query
from escalade.edge.deferral import Gate, mean_nll
from escalade.edge.errors import OutboxError, PromptError
from escalade.edge.outbox import Entry, OutboxOptions
from escalade.edge.tiers import ArtifactTier, Member, RemoteTier
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
Open = Callable[..., EdgeClient]


def unavailable(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


def refused(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a query that cannot be")


@pytest.fixture
def open_client(
    artifact: Artifact, make_remote: Callable[..., RemoteTier], jumping_clock: Any, tmp_path: Path
) -> Iterator[Open]:
    made: list[EdgeClient] = []

    def make(*remotes: RemoteTier, max_queries: int = 9) -> EdgeClient:
        member = Member(artifact)
        above = remotes or (make_remote(reader=member),)
        gate = Gate(rule=mean_nll, threshold=-1.0)
        cascade = Cascade(
            tiers=[ArtifactTier(member, name="device"), *above],
            gates=[*[gate] * len(above), None],
            clock=jumping_clock,
            outbox=OutboxOptions(tmp_path / "outbox.sqlite", "here", max_queries),
        )
        made.append(EdgeClient(cascade))
        return made[-1]

    yield make
    for one in made:
        one.close()


def states(client: EdgeClient) -> list[tuple[str, str]]:
    assert client.outbox is not None
    return [(one.prompt, one.state) for one in client.outbox.entries()]


def test_a_query_that_is_degraded_is_answered_later_once(
    open_client: Open, scripted_cloud: Any
) -> None:
    scripted_cloud.replies = [unavailable]
    with open_client() as client:
        answer = client.ask(PROMPT)
        assert (answer.outcome, answer.outbox_error) == ("degraded", None)
        assert answer.kept
        assert states(client) == [(PROMPT, "waiting")]
    first = scripted_cloud.asked[0]
    scripted_cloud.replies = [good_reply]
    got: list[Entry] = []
    with open_client() as later:  # another process, say
        assert later.flush(got.append) == (1, 0, 0, None)
        assert later.flush(got.append) == (0, 0, 0, None)
        assert states(later) == []
    (entry,) = got
    assert (entry.id, entry.prompt, entry.given) == (answer.kept, PROMPT, answer.text)
    assert (entry.state, entry.answer, entry.answered_by) == ("answered", "large answer", "cloud")
    # The very same request: a server that had it knows the answer.
    assert scripted_cloud.asked[-1] == first
    assert first.request_id == answer.kept
    assert first.HasField("draft")


def test_what_is_answered_is_not_kept(open_client: Open, scripted_cloud: Any) -> None:
    client = open_client()
    answer = client.ask(PROMPT)
    assert (answer.outcome, answer.kept) == ("deferred", None)
    with pytest.raises(PromptError):
        client.ask("")
    scripted_cloud.replies = [refused]
    answer = client.ask(PROMPT)
    assert (answer.outcome, answer.kept) == ("degraded", None)  # nobody would ever answer it
    scripted_cloud.replies = [unavailable]
    client.ask(PROMPT, shadow=True)
    assert states(client) == []


def test_an_id_of_the_callers_is_kept_once(open_client: Open, scripted_cloud: Any) -> None:
    scripted_cloud.replies = [unavailable]
    client = open_client()
    query = Query(text=PROMPT, request_id="mine")
    assert [client.ask(query).kept for _ in range(2)] == ["mine", "mine"]
    assert states(client) == [(PROMPT, "waiting")]


def test_a_full_outbox_costs_no_answer(open_client: Open, scripted_cloud: Any) -> None:
    scripted_cloud.replies = [unavailable]
    client = open_client(max_queries=1)
    client.ask(PROMPT)
    answer = client.ask("g2p: tier")
    assert answer.text
    assert answer.kept is None
    assert answer.outbox_error is not None
    assert "full: of queries and answers it holds at most 1;" in answer.outbox_error


def test_while_nobody_is_there_all_wait_and_one_is_asked(
    open_client: Open, scripted_cloud: Any
) -> None:
    scripted_cloud.replies = [unavailable]
    client = open_client()
    for word in ("cascade", "tier", "gate"):
        client.ask(f"g2p: {word}")
    done = open_client().flush(lambda entry: pytest.fail("nothing is settled"))
    assert (done.answered, done.refused, done.left) == (0, 0, 3)
    assert done.reason is not None
    assert done.reason.startswith("UNAVAILABLE: ")
    assert {one.prompt: one.tries for one in client.outbox.entries()} == {  # type: ignore[union-attr]
        "g2p: cascade": 1,
        "g2p: tier": 0,
        "g2p: gate": 0,
    }


def test_what_would_never_be_answered_is_said_and_holds_up_nobody(
    open_client: Open, scripted_cloud: Any
) -> None:
    scripted_cloud.replies = [unavailable]
    client = open_client()
    client.ask(PROMPT)
    client.ask("g2p: tier")
    asked = len(scripted_cloud.asked)
    scripted_cloud.replies = [unavailable] * asked + [refused, good_reply]
    got: list[Entry] = []
    assert open_client().flush(got.append) == (1, 1, 0, None)
    assert [(one.prompt, one.state, one.answer) for one in got] == [
        (PROMPT, "refused", None),
        ("g2p: tier", "answered", "large answer"),
    ]
    assert got[0].reason.startswith("INVALID_ARGUMENT: ")


def test_who_cannot_take_an_answer_is_given_it_again(
    open_client: Open, scripted_cloud: Any
) -> None:
    scripted_cloud.replies = [unavailable]
    client = open_client()
    client.ask(PROMPT)
    scripted_cloud.replies = [good_reply]
    asked = len(scripted_cloud.asked)

    def full(entry: Entry) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        open_client().flush(full)
    assert states(client) == [(PROMPT, "answered")]
    got: list[Entry] = []
    assert open_client().flush(got.append) == (1, 0, 0, None)
    assert got[0].answer == "large answer"
    assert len(scripted_cloud.asked) == asked + 1  # it was written; nobody is asked again


def test_it_goes_on_from_the_tier_that_was_out_of_reach(
    open_client: Open, make_remote: Callable[..., RemoteTier], artifact: Artifact, nobody: str
) -> None:
    """Both are; later the first answers, and its gate sends the query on as it always would."""
    member = Member(artifact)

    def remotes(address: str | None) -> list[RemoteTier]:
        return [make_remote(address, name=name, reader=member) for name in ("near", "far")]

    assert open_client(*remotes(nobody)).ask(PROMPT).kept
    client = open_client(*remotes(None))
    (waits,) = client.outbox.entries()  # type: ignore[union-attr]
    assert waits.tier == "near"
    got: list[Entry] = []
    assert client.flush(got.append) == (1, 0, 0, None)
    assert got[0].answered_by == "far"


def test_two_at_once_hand_out_each_answer_once(open_client: Open, scripted_cloud: Any) -> None:
    scripted_cloud.replies = [unavailable]
    words = ("cascade", "tier", "gate", "draft", "teacher", "expert")
    asking = open_client()
    for word in words:
        asking.ask(f"g2p: {word}")
    scripted_cloud.replies = [good_reply]
    clients, begun = [open_client() for _ in range(2)], threading.Barrier(2)
    got: list[str] = []

    def flush(client: EdgeClient) -> int:
        begun.wait(30)
        return client.flush(lambda entry: got.append(entry.prompt)).answered

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(flush, clients)) == len(words)
    assert sorted(got) == sorted(f"g2p: {word}" for word in words)


def test_what_cannot_be_read_is_said_and_holds_up_nobody(
    open_client: Open, scripted_cloud: Any
) -> None:
    scripted_cloud.replies = [unavailable]
    client = open_client()
    client.ask(PROMPT)
    client.ask("g2p: tier")
    assert client.outbox is not None
    client.outbox._base.file.execute("UPDATE kept SET work = x'00' WHERE prompt = ?", (PROMPT,))
    scripted_cloud.replies = [good_reply]
    got: list[Entry] = []
    assert open_client().flush(got.append) == (1, 1, 0, None)
    assert "cannot be read: " in got[0].reason


def test_without_an_outbox_nothing_is_flushed(make_client: Callable[..., EdgeClient]) -> None:
    with pytest.raises(OutboxError, match="on_outage"):
        make_client(0.5).flush(lambda entry: None)
