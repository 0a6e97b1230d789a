"""One call's way over a network and back: waits, counts and says how it ended; knows no answer."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol, cast

import grpc

from escalade.simulator.network.calls.clock import ThreadClock
from escalade.simulator.network.calls.counting import CallBytes, size_of
from escalade.simulator.network.delay_lines import DelayLine, Lines
from escalade.simulator.network.framing import (
    FRAMING_BYTES,
    GRPC_BYTES_DOWN,
    GRPC_BYTES_UP,
)
from escalade.v1.channel import PING_AFTER_S, PONG_WITHIN_S

#: gRPC's pings find a connection dead that carries nothing for so long (`escalade.v1.channel`).
LOST_AFTER_S = PING_AFTER_S + PONG_WITHIN_S


class EndedError(grpc.RpcError):
    """A call that ended here, and not at the server; says what gRPC's own errors say."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        """See `grpc.Call`, as the others."""
        return self._code

    def details(self) -> str:
        """A line."""
        return self._details

    def initial_metadata(self) -> tuple[()]:
        """None."""
        return ()

    trailing_metadata = initial_metadata


class Sent(NamedTuple):
    """A message on its way: seconds on the way's clock."""

    sent_s: float
    #: When outages let it in.
    enters_s: float
    release_s: float


class Way:
    """The lines of one channel; any thread may send."""

    def __init__(self, lines: Lines, clock: ThreadClock) -> None:
        self.clock = clock
        self._lines = lines
        self._lock = threading.Lock()

    def up(self, nbytes: int) -> Sent:
        """Send bytes to the server, now."""
        with self._lock:
            return self._sent(self._lines.up, nbytes)

    def down(self, nbytes: int) -> Sent:
        """Send bytes from the server, now."""
        with self._lock:
            return self._sent(self._lines.down, nbytes)

    def change(self, lay: Callable[[Lines], Lines]) -> None:
        """Go on over other lines, given those before."""
        with self._lock:
            self._lines = lay(self._lines)

    def _sent(self, line: DelayLine, nbytes: int) -> Sent:
        now_s = self.clock.now()
        return Sent(now_s, line.enters_s(now_s), line.release_s(now_s, nbytes))


class _Replaceable(Protocol):
    """What gRPC's own call details are besides: named tuples."""

    def _replace(self, *, timeout: float | None) -> grpc.ClientCallDetails: ...


class Crossing:
    """A call on its way."""

    def __init__(
        self,
        way: Way,
        on_call: Callable[[CallBytes], None],
        details: grpc.ClientCallDetails,
        request: object,
    ) -> None:
        """Send the request.

        Args:
            way: over which.
            on_call: told when it has ended.
            details: gRPC's; their timeout is for both ways together.
            request: the message.
        """
        self.given_up = threading.Event()
        self._clock, self._way = way.clock, way
        self._on_call, self._details = on_call, details
        self._payload_up = size_of(request)
        self._messages_down = self._payload_down = self._wire_down = 0
        self._request = way.up(self._payload_up + GRPC_BYTES_UP)
        self._until_s = (
            math.inf if details.timeout is None else self._request.sent_s + details.timeout
        )
        self._left = False

    def go_up(self) -> grpc.ClientCallDetails:
        """Wait until the request is at the server; gives the call's details from there on.

        Raises:
            EndedError: the call ended before.
        """
        self.wait(self._request)
        self._left = True
        if self._until_s == math.inf:
            return self._details
        left_s = self._until_s - self._clock.now()
        return cast("_Replaceable", self._details)._replace(timeout=left_s)

    def come(self, message: object | None) -> Sent:
        """Send a message of the server's on its way down; None is the end without one."""
        nbytes = GRPC_BYTES_DOWN if self._messages_down == 0 else 0
        if message is not None:
            size = size_of(message)
            nbytes = size + (nbytes or FRAMING_BYTES)
            self._messages_down += 1
            self._payload_down += size
        self._wire_down += nbytes
        return self._way.down(nbytes)

    def wait(self, sent: Sent) -> None:
        """Return when it is there.

        Raises:
            EndedError: the call was cancelled, its time is over, or the network carries nothing.
        """
        lost_s = sent.sent_s + LOST_AFTER_S
        if sent.enters_s <= lost_s:
            lost_s = math.inf
        ends_s = min(sent.release_s, self._until_s, lost_s)
        self._clock.wait_until(ends_s, self.given_up)
        if self.given_up.is_set():
            raise self.cancelled()
        if ends_s == sent.release_s:
            return
        if ends_s == self._until_s:
            raise EndedError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        raise EndedError(
            grpc.StatusCode.UNAVAILABLE, f"the network carried nothing for {LOST_AFTER_S:g} s"
        )

    def cancelled(self) -> EndedError:
        """How it ends where its caller gives it up."""
        return EndedError(grpc.StatusCode.CANCELLED, "cancelled by its caller")

    def time_remaining(self) -> float | None:
        """Seconds until its time is over; None where it has no end."""
        return None if self._until_s == math.inf else max(0.0, self._until_s - self._clock.now())

    def end(self, code: grpc.StatusCode) -> None:
        """Tell how it ended; once."""
        self._on_call(
            CallBytes(
                method=self._details.method,
                code=code.name,
                seconds=self._clock.now() - self._request.sent_s,
                messages_down=self._messages_down,
                payload_up=self._payload_up,
                payload_down=self._payload_down,
                wire_up=self._payload_up + GRPC_BYTES_UP if self._left else 0,
                wire_down=self._wire_down,
            )
        )
