"""A ticket's deadline and cancellation, on a clock of our own."""

from __future__ import annotations

import math
from typing import Any

import pytest

from escalade.cloud.backends.ticket import Ticket, deadline_after
from escalade.cloud.errors import DeadlineError, DrainingError
from escalade.v1 import cascade_pb2 as pb


def test_ticket_stops_at_its_deadline_or_when_cancelled(clock: Any) -> None:
    ticket = Ticket(deadline_after(2.0, clock), clock)
    assert ticket.should_stop() is None
    ticket.check()
    clock.now_s += 2.0
    assert ticket.should_stop() == pb.STOP_REASON_DEADLINE
    with pytest.raises(DeadlineError):
        ticket.check()
    ticket.extend(deadline_after(1.0, clock))
    assert ticket.should_stop() is None
    ticket.extend(0.0)
    assert ticket.should_stop() is None
    ticket.cancel()
    assert ticket.should_stop() == pb.STOP_REASON_CANCELLED
    with pytest.raises(DrainingError):
        ticket.check()
    assert deadline_after(None, clock) == math.inf


def test_what_is_left_shrinks_to_nothing(clock: Any) -> None:
    ticket = Ticket(deadline_after(2.0, clock), clock)
    assert ticket.remaining_s() == 2.0
    clock.now_s += 1.5
    assert ticket.remaining_s() == 0.5
    clock.now_s += 1.5
    assert ticket.remaining_s() == 0.0
    assert Ticket(math.inf, clock).remaining_s() == math.inf
