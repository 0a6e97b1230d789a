"""A bounded queue: who finds a place, who gives way, and when a refused client should come back."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.backends.fair_order import NOBODY, Claim
from escalade.cloud.backends.places import PLACE_BYTES, Places
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import QueueFullError


def ticket(claim: Claim = NOBODY) -> Ticket:
    return Ticket(math.inf, lambda: 0.0, claim)


def refusal(places: Places) -> QueueFullError:
    with (
        places.take(ticket()),
        places.take(ticket()),
        pytest.raises(QueueFullError, match="1 requests wait already") as refused,
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


def test_the_newest_of_who_has_most_gives_way() -> None:
    places = Places(3, "requests")
    ended: list[int] = []
    with ExitStack() as stack:
        many = [ticket(Claim("many", "1")) for _ in range(4)]
        for number, one in enumerate(many):
            one.on_revoke = lambda number=number: ended.append(number)  # type: ignore[misc]
            stack.enter_context(places.take(one))
        # Alone it has them all; of one host, the connections are weighed too.
        stack.enter_context(places.take(ticket(Claim("few", "1"))))
        assert ended == [3]
        assert isinstance(many[3].revoked, QueueFullError)
        stack.enter_context(places.take(ticket(Claim("many", "2"))))
        assert ended == [3, 2]
        # Two and two: nobody has more than a third would.
        stack.enter_context(places.take(ticket(Claim("few", "2"))))
        assert ended == [3, 2, 1]
        for claim in (Claim("few", "1"), Claim("many", "1"), Claim("many", "3")):
            with pytest.raises(QueueFullError), places.take(ticket(claim)):
                pass
    assert ended == [3, 2, 1]
    refusal(Places(1, "requests"))


def test_what_may_wait_gives_way_first() -> None:
    places = Places(3, "requests")
    ended: list[str] = []
    with ExitStack() as stack:

        def take(name: str, claim: Claim) -> None:
            one = ticket(claim)
            one.on_revoke = lambda: ended.append(name)
            stack.enter_context(places.take(one))

        take("batch 0", Claim("a", "1", batch=True))
        take("batch 1", Claim("a", "1", batch=True))
        take("now 0", Claim("a", "1"))
        take("now 1", Claim("a", "1"))
        # Another client: of who has most the newest that may wait, not the newest.
        take("other", Claim("b", "1", batch=True))
        assert ended == ["batch 1"]
        # One's own that may wait, for one that is waited for; never the other way about, and
        # never another client's, who has less.
        take("now 2", Claim("a", "2"))
        assert ended == ["batch 1", "batch 0"]
        for claim in (Claim("a", "1"), Claim("a", "1", batch=True)):
            with pytest.raises(QueueFullError), places.take(ticket(claim)):
                pass
    assert ended == ["batch 1", "batch 0"]


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


@given(
    capacity=st.integers(1, 6),
    steps=st.lists(
        st.one_of(
            st.builds(
                Claim, st.sampled_from("ABC"), st.sampled_from("12"), st.just(0), st.booleans()
            ),
            st.integers(0, 30),
        ),
        max_size=60,
    ),
)
def test_no_client_keeps_another_out(capacity: int, steps: list[Claim | int]) -> None:
    """A claim asks for a place, a number leaves one."""
    places = Places(capacity, "requests")
    held: dict[int, tuple[Ticket, ExitStack]] = {}

    def hosts() -> Counter[str]:
        return Counter(one.claim.host for one, _ in held.values())

    for number, step in enumerate(steps):
        if isinstance(step, int):
            if step in held:
                held.pop(step)[1].close()
            continue
        before = hosts()
        mine, stack = ticket(step), ExitStack()
        mine.on_revoke = lambda number=number: held.pop(number)  # type: ignore[misc]
        try:
            places.check(mine)
            room = True
        except QueueFullError:
            room = False
        assert hosts() == before
        try:
            stack.enter_context(places.take(mine))
            assert room
        except QueueFullError:
            assert not room
            # Nobody has more than this client would have.
            assert sum(before.values()) == capacity + 1
            assert max(before.values()) <= before[step.host] + 1
            assert hosts() == before
        else:
            held[number] = mine, stack
        assert len(held) <= capacity + 1
        lost = before - hosts()
        # At most one gives way, and not to somebody who then has more than it.
        assert sum(lost.values()) <= 1
        for host in lost:
            assert hosts()[host] >= hosts()[step.host] - 1
    for _, stack in list(held.values()):
        stack.close()
    assert places._free == capacity + 1
    # Of who has gone nothing is kept: addresses are of the whole world.
    loads = places._loads
    assert not loads.hosts
    assert not loads.connections
    assert not loads.batch
