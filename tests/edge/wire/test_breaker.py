"""The circuit breaker: against a plain model on virtual time, and before a server that is gone."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from virtual_clock import VirtualClock

from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.edge.wire.connection.breaker import Breaker, Trial
from escalade.v1 import cascade_pb2 as pb

MOST = 3
FAULTS = {
    "link": CloudError("UNAVAILABLE", "nobody there", cause="link"),
    "server": CloudError("QUEUE_FULL", "full", cause="server"),
    "query": CloudError("PROMPT_TOO_LONG", "no"),
    "closed": CloudError("CLOSED", "here"),
}


class Middle(random.Random):
    """Whose draws are always the middle of the range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@dataclass
class Out:
    """A call that is out: how it ends is told by `end`."""

    deadline_s: float
    began_s: float
    stack: ExitStack
    trial: Trial
    probe: bool

    def end(self, how: str) -> None:
        self.trial.answered = how == "answered"
        error = FAULTS.get(how)
        with suppress(CloudError), self.stack:
            if error is not None:
                raise error


@dataclass
class Model:
    """The same, as plainly as can be: the ends of failed calls, and when calls may go out again."""

    row: list[float] = field(default_factory=list)
    until_s: float | None = None
    backoff_s: float = 1.0
    probing: bool = False

    def lets_out(self, now_s: float) -> bool:
        return self.until_s is None or (now_s >= self.until_s and not self.probing)

    def ended(self, call: Out, how: str, now_s: float) -> None:
        if how in {"answered", "server", "query"}:
            self.row, self.until_s, self.backoff_s, self.probing = [], None, 1.0, False
            return
        counts = how == "link" and call.deadline_s >= 1.0
        if self.until_s is not None:
            if call.probe and self.probing:
                self.probing = False
                if counts:
                    self.open(now_s)
        elif counts and (not self.row or call.began_s >= self.row[-1]):
            self.row.append(now_s)
            if len(self.row) == MOST:
                self.open(now_s)

    def open(self, now_s: float) -> None:
        self.until_s = now_s + self.backoff_s
        self.backoff_s = min(2 * self.backoff_s, 60.0)


class Machine(RuleBasedStateMachine):
    """Calls begin, overlap and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.breaker = Breaker("host:1", self.clock, Middle(), MOST)
        self.model = Model()
        self.out: list[Out] = []

    @rule(deadline_s=st.sampled_from([0.5, 1.0, 10.0]))
    def begin(self, deadline_s: float) -> None:
        expected, now_s = self.model.lets_out(self.clock.at_s), self.clock.at_s
        with ExitStack() as stack:
            if not expected:
                with pytest.raises(CloudError, match="CIRCUIT_OPEN") as caught:
                    stack.enter_context(self.breaker.trial(deadline_s))
                assert caught.value.cause == "link"
                return
            trial = stack.enter_context(self.breaker.trial(deadline_s))
            probe = self.model.until_s is not None
            self.model.probing = self.model.probing or probe
            self.out.append(Out(deadline_s, now_s, stack.pop_all(), trial, probe))

    @precondition(lambda self: self.out)
    @rule(which=st.integers(0, 9), how=st.sampled_from(["answered", "given up", *FAULTS, "link"]))
    def end(self, which: int, how: str) -> None:
        call = self.out.pop(which % len(self.out))
        call.end(how)
        call.probe = call.probe and call.began_s >= self.probe_since()
        self.model.ended(call, how, self.clock.at_s)

    def probe_since(self) -> float:
        """A probe of an earlier back-off is a call like others."""
        return self.model.until_s if self.model.until_s is not None else float("inf")

    @rule(quarters=st.integers(1, 300))
    def pass_time(self, quarters: int) -> None:
        self.clock.sleep_s(quarters / 4)

    @invariant()
    def at_most_one_goes_out_to_see(self) -> None:
        if self.model.until_s is not None:
            since = self.model.until_s
            assert sum(one.probe and one.began_s >= since for one in self.out) <= 1


TestBreaker = Machine.TestCase


def test_a_row_of_failures_side_by_side_is_one() -> None:
    clock = VirtualClock()
    breaker = Breaker("host:1", clock, Middle(), MOST)
    for _ in range(MOST):
        with ExitStack() as stack:
            trials = [stack.enter_context(ExitStack()) for _ in range(8)]
            for one in trials:
                one.enter_context(breaker.trial(10.0))
            clock.sleep_s(10.0)
            for one in trials:
                with suppress(CloudError), one:
                    raise FAULTS["link"]
    with pytest.raises(CloudError) as caught, breaker.trial(10.0):
        pass
    assert str(caught.value) == (
        "CIRCUIT_OPEN: cloud host:1: not asked: 3 calls in a row failed; it is tried again in 1.0 s"
    )


def ask(client: CloudClient, deadline_s: float | None = None) -> bool:
    asked = pb.GenerateRequest(prompt=pb.Prompt(text="x"))
    return client.generate(asked, deadline_s=deadline_s) is not None


def unavailable(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


@pytest.fixture
def connect(scripted_cloud: Any, jumping_clock: Any) -> Any:
    made: list[CloudClient] = []

    def make(**options: Any) -> CloudClient:
        made.append(
            CloudClient(scripted_cloud.address, clock=jumping_clock, rng=Middle(), **options)
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_server_that_is_gone_costs_three_deadlines_and_then_none(
    scripted_cloud: Any, connect: Callable[..., CloudClient], jumping_clock: Any
) -> None:
    good, scripted_cloud.replies = scripted_cloud.replies, [unavailable]
    client = connect()
    for _ in range(MOST):
        with pytest.raises(CloudError, match="UNAVAILABLE: .*: gone"):
            ask(client)
    asked, waited = len(scripted_cloud.asked), len(jumping_clock.slept)
    for _ in range(100):
        with pytest.raises(CloudError, match="CIRCUIT_OPEN"):
            ask(client)
    assert (len(scripted_cloud.asked), len(jumping_clock.slept)) == (asked, waited)
    scripted_cloud.replies = good
    jumping_clock.sleep_s(1.0)
    assert ask(client)
    assert ask(client)


def refused(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a query that cannot be")


@pytest.mark.parametrize(
    ("replies", "options", "deadline_s"),
    [
        ([refused], {}, None),
        ([unavailable], {}, 0.5),  # no time in which it could have answered
        ([unavailable], {"breaker_after": 0}, None),
        ([unavailable], {"breaker_after": 9}, None),
    ],
)
def test_other_failures_keep_nobody_from_asking(
    scripted_cloud: Any,
    connect: Callable[..., CloudClient],
    replies: Any,
    options: dict[str, Any],
    deadline_s: float | None,
) -> None:
    scripted_cloud.replies = replies
    client = connect(**options)
    for _ in range(2 * MOST):
        before = len(scripted_cloud.asked)
        with pytest.raises(CloudError, match="INVALID_ARGUMENT|UNAVAILABLE"):
            ask(client, deadline_s)
        assert len(scripted_cloud.asked) > before
