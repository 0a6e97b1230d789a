"""A bounded queue: who finds a place, who is refused, and when he should come back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.backends.fair_order import NOBODY, Claim
from escalade.cloud.backends.places import PLACE_BYTES, Places
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import QueueFullError

# About each at which one more is kept.
capacities = st.sampled_from([1, 2, 3, 4, 7, 15, 16, 17, 33, 50])
hosts = st.sampled_from("ABCDE")
connections = st.sampled_from("123")
claims = st.builds(Claim, hosts, connections, st.just(0), st.just(False))
any_claims = st.builds(
    Claim, hosts, connections, st.sampled_from([0, 3 * PLACE_BYTES]), st.booleans()
)


def ticket(claim: Claim = NOBODY) -> Ticket:
    return Ticket(math.inf, lambda: 0.0, claim)


class Queue:
    """Requests that come and end, before a queue that they see as clients do."""

    def __init__(self, capacity: int) -> None:
        self.places = Places(capacity, "requests")
        self.held: list[tuple[Claim, ExitStack]] = []

    def ask(self, claim: Claim) -> bool:
        """Whether there was a place; it is kept then."""
        before = len(self.places)
        mine, stack = ticket(claim), ExitStack()
        try:
            self.places.check(mine)
            room = True
        except QueueFullError:
            room = False
        try:
            stack.enter_context(self.places.take(mine))
        except QueueFullError:
            assert not room
            assert len(self.places) == before
            return False
        assert room
        self.held.append((claim, stack))
        return True

    def fill(self, claims: Sequence[Claim]) -> None:
        """Have clients ask for more, each in turn, until all are refused."""
        while sum(self.ask(claim) for claim in claims):
            pass

    def end(self, which: int) -> Claim:
        """End one of those that are there."""
        claim, stack = self.held.pop(which % len(self.held))
        stack.close()
        return claim

    def counts(self) -> Counter[str]:
        """Requests, by host."""
        return Counter(claim.host for claim, _ in self.held)


def refusal(places: Places) -> QueueFullError:
    with (
        places.take(ticket()),
        places.take(ticket()),
        pytest.raises(QueueFullError, match="1 requests of a client may wait") as refused,
        places.take(ticket()),
    ):
        pass
    return refused.value


def test_a_place_that_is_left_in_anger_is_free() -> None:
    places = Places(1, "requests")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), places.take(ticket()):
            raise ZeroDivisionError
    refusal(places)


def test_a_refused_client_is_told_when_a_place_was_last_free() -> None:
    places = Places(1, "requests")
    assert refusal(places).retry_after_s == 0.1
    places.note_free_after(4.0)
    assert refusal(places).retry_after_s == 4.0
    places.note_free_after(0.0)
    assert refusal(places).retry_after_s == 1e-3


@given(capacity=capacities)
def test_one_alone_has_all_that_it_is_promised_and_others_find_places_beside(
    capacity: int,
) -> None:
    queue = Queue(capacity)
    queue.fill([Claim("A", "1")])
    assert len(queue.places) == capacity + 1
    assert queue.ask(Claim("A", "2"))
    assert queue.ask(Claim("B", "1"))
    # A sixteenth for connections, and of both together one for hosts.
    assert queue.places.most <= capacity + 1 + (capacity + 1) / 16 * (2 + 1 / 16) + 2


@given(capacity=capacities, steps=st.lists(st.one_of(any_claims, st.integers(0, 300))))
def test_no_more_are_held_than_may_be_and_nothing_is_kept_of_who_has_gone(
    capacity: int, steps: list[Claim | int]
) -> None:
    """A claim asks for a place, a number ends one."""
    queue = Queue(capacity)
    for step in steps:
        if isinstance(step, Claim):
            queue.ask(step)
        elif queue.held:
            queue.end(step)
        places = sum(min(3, capacity + 1) if one.size_bytes else 1 for one, _ in queue.held)
        # No one had to go for another.
        assert len(queue.places) == len(queue.held) <= places <= queue.places.most
    while queue.held:
        queue.end(0)
    assert len(queue.places) == 0
    queue.fill([Claim("A", "1")])
    assert len(queue.places) == capacity + 1
    while queue.held:
        queue.end(0)
    # Addresses are of the whole world.
    assert not queue.places._hosts
    assert not queue.places._connections


@given(capacity=capacities, greedy=st.lists(claims, min_size=1), which=st.integers(0, 300))
def test_the_next_place_is_a_new_hosts_whoever_asks_before_it(
    capacity: int, greedy: list[Claim], which: int
) -> None:
    queue = Queue(capacity)
    queue.fill(greedy)
    newcomers = (Claim(f"new {number}", "1") for number in range(1000))
    while queue.ask(next(newcomers)):  # until none is left
        pass
    assert len(queue.places) == queue.places.most
    ended = queue.end(which)
    for claim in greedy:
        # Who has none any more is a newcomer too.
        if queue.counts()[claim.host]:
            assert not queue.ask(claim)
    if ended.host in queue.counts():
        assert not queue.ask(ended)
    assert queue.ask(next(newcomers))


@given(
    capacity=capacities,
    greedy=st.lists(connections, min_size=1),
    others=st.lists(claims),
    ends=st.integers(0, 300),
)
def test_the_next_place_of_a_host_is_a_new_connections_whoever_asks_before_it(
    capacity: int, greedy: list[str], others: list[Claim], ends: int
) -> None:
    queue = Queue(capacity)
    mine = [Claim("mine", connection) for connection in greedy]
    queue.fill([*mine, *others])
    names = (f"new {number}" for number in range(1000))
    newcomer = Claim("mine", next(names))
    while queue.ask(newcomer):
        newcomer = Claim("mine", next(names))
    for _ in range(len(queue.held)):
        queue.end(ends)
        asked_before = {claim for claim, _ in queue.held if claim.host == "mine"}
        assert not any(queue.ask(claim) for claim in asked_before)
        if queue.ask(newcomer):
            return
    raise AssertionError("it never found a place")


@pytest.mark.parametrize("capacity", [1, 17, 127])
@pytest.mark.parametrize("each", [1, 3])
def test_who_came_first_has_no_more_in_the_end(capacity: int, each: int) -> None:
    first, second = ([Claim(host, str(number)) for number in range(each)] for host in "AB")
    queue = Queue(capacity)
    queue.fill(first)
    for _ in range(4 * queue.places.most):
        queue.fill([*first, *second])  # the first asks first
        queue.end(0)
    queue.fill([*first, *second])
    counts = queue.counts()
    assert abs(counts["A"] - counts["B"]) <= 16


@given(capacity=capacities, connection=connections)
def test_what_may_wait_leaves_room_for_what_is_waited_for(capacity: int, connection: str) -> None:
    queue = Queue(capacity)
    batch = Claim("A", "1", batch=True)
    queue.fill([batch])
    waiting = len(queue.places)
    assert (capacity + 1) // 2 <= waiting <= (capacity + 1) // 2 + capacity / 16 + 1
    assert queue.ask(Claim("A", connection))
    # Where others of its host have the half, it is refused; another host's batch is not.
    assert not queue.ask(batch)
    assert queue.ask(Claim("B", "1", batch=True))


def test_a_large_request_takes_several_places() -> None:
    places = Places(3, "requests")
    large = Claim("a", "1", 2 * PLACE_BYTES + 1)
    with places.take(ticket(large)):
        with places.take(ticket(Claim("a", "1"))), pytest.raises(QueueFullError):  # noqa: SIM117
            with places.take(ticket(Claim("a", "1"))):
                pass
        with pytest.raises(QueueFullError), places.take(ticket(large)):
            pass
    # One larger than all of them may come alone.
    with places.take(ticket(Claim("a", "1", 99 * PLACE_BYTES))), pytest.raises(QueueFullError):  # noqa: SIM117
        with places.take(ticket(Claim("a", "1"))):
            pass
