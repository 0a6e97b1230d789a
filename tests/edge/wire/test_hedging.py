"""Asking twice: who is first is taken, the other is told, and both are counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from held import HELD_S, Held
from scripted import good_reply, scripted

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient, Hedge
from escalade.edge.wire.hedging import race
from escalade.edge.wire.sending import CloudAnswer
from escalade.v1 import cascade_pb2 as pb

SOON, NEVER = 0.02, 60.0


@pytest.fixture
def connect(scripted_cloud: Any) -> Iterator[Callable[..., CloudClient]]:
    made: list[CloudClient] = []

    def make(
        after_s: float, other: Any = None, percent: int | None = None, **options: Any
    ) -> CloudClient:
        hedge = Hedge(after_s, None if other is None else other.address, percent)
        made.append(CloudClient(scripted_cloud.address, hedge=hedge, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def other() -> Iterator[Any]:
    with scripted() as cloud:
        cloud.says(text=", of the other")
        yield cloud


def ask(client: CloudClient, **options: Any) -> CloudAnswer:
    answer = client.generate(pb.GenerateRequest(prompt=pb.Prompt(text="g2p: cat")), **options)
    assert answer is not None
    return answer


def test_who_answers_in_time_is_asked_once(
    scripted_cloud: Any, connect: Callable[..., CloudClient]
) -> None:
    answer = ask(connect(NEVER))
    assert (answer.attempts, answer.bytes_up) == (1, scripted_cloud.asked[0].ByteSize())


def test_the_second_is_taken_where_it_is_first_and_the_first_is_told(
    scripted_cloud: Any, connect: Callable[..., CloudClient]
) -> None:
    held = Held()
    scripted_cloud.replies = [held, good_reply]
    answer = ask(connect(SOON))
    assert held.hung_up.wait(HELD_S)
    first, second = scripted_cloud.asked
    assert first == second  # the same id too: a server computes it once
    assert answer.attempts == 2
    assert answer.bytes_up == first.ByteSize() + second.ByteSize()


def test_by_a_percentile_it_is_who_takes_longer_than_the_last(
    scripted_cloud: Any, connect: Callable[..., CloudClient]
) -> None:
    held = Held()
    scripted_cloud.replies = [good_reply, good_reply, held, good_reply]
    client = connect(NEVER, percent=50)
    assert [ask(client).attempts for _ in range(3)] == [1, 1, 2]
    assert held.hung_up.wait(HELD_S)


def test_the_first_is_taken_where_it_is_first_all_the_same(
    scripted_cloud: Any, connect: Callable[..., CloudClient], other: Any
) -> None:
    slow, slower = Held(), Held()
    scripted_cloud.replies, other.replies = [slow], [slower]
    client = connect(SOON, other)

    def word() -> None:
        assert slower.arrived.wait(HELD_S)
        slow.go.set()

    thread = threading.Thread(target=word)
    thread.start()
    answer = ask(client)
    thread.join()
    assert (answer.response.text, answer.attempts) == ("large answer", 2)
    assert slower.hung_up.wait(HELD_S)


LINK = CloudError("CIRCUIT_OPEN", "the first", cause="link")
QUERY = CloudError("PROMPT_TOO_LONG", "the first")
LATER = CloudError("UNAVAILABLE", "the second", cause="link")


@pytest.mark.parametrize(
    ("first", "second", "address", "expected"),
    [
        (LINK, "answer", "host:1", "answer"),  # at once, though the delay is not over
        (LINK, LATER, "host:1", LINK),
        (LINK, "answer", None, LINK),  # the same link is as much at fault
        (QUERY, "answer", "host:1", QUERY),  # nobody would answer it
    ],
)
def test_a_link_that_is_at_fault_is_not_waited_for(
    first: CloudError, second: CloudError | str, address: str | None, expected: object
) -> None:
    def leg(ends: CloudError | str) -> Callable[[Callable[[], bool]], str]:
        def run(given_up: Callable[[], bool]) -> str:
            if isinstance(ends, CloudError):
                raise ends
            return ends

        return run

    legs = leg(first), leg(second), Hedge(NEVER, address), lambda: False
    if isinstance(expected, CloudError):
        with pytest.raises(CloudError) as caught:
            race(*legs)
        assert caught.value is expected
    else:
        assert race(*legs) == expected


def test_an_answer_that_cannot_be_does_not_win(
    scripted_cloud: Any, connect: Callable[..., CloudClient], other: Any
) -> None:
    held = Held()
    scripted_cloud.replies = [held]
    other.says(stop_reason=pb.STOP_REASON_DEADLINE)
    client = connect(SOON, other)

    def word() -> None:
        while not other.asked:
            held.arrived.wait(0.01)
        held.go.set()

    thread = threading.Thread(target=word)
    thread.start()
    assert ask(client).response.text == "large answer"
    thread.join()


def test_given_up_both_are_told(
    scripted_cloud: Any, connect: Callable[..., CloudClient], other: Any
) -> None:
    first, second = Held(), Held()
    scripted_cloud.replies, other.replies = [first], [second]
    client = connect(SOON, other)
    asked = pb.GenerateRequest(prompt=pb.Prompt(text="x"))
    assert client.generate(asked, cancelled=second.arrived.is_set) is None
    assert first.hung_up.wait(HELD_S)
    assert second.hung_up.wait(HELD_S)


def test_a_second_address_that_is_none_leaves_nothing_open(scripted_cloud: Any) -> None:
    with pytest.raises(CloudError, match="BAD_ADDRESS"):
        CloudClient(scripted_cloud.address, hedge=Hedge(1.0, "nowhere"))
