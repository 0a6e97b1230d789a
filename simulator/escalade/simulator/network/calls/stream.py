"""A call with a stream of answers over a network, as gRPC gives it; knows no profile."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeVar, cast

import grpc

from escalade.simulator.network.calls.call import CrossingCall
from escalade.simulator.network.calls.counting import size_of
from escalade.simulator.network.calls.crossing import Crossing, EndedError, Sent

if TYPE_CHECKING:
    from grpc import _CallIterator

Res = TypeVar("Res")

#: What is held for a reader that is slow, before the server is held back: as much as the proxy's.
_MOST_HELD_BYTES = 4 << 20


class _End(NamedTuple):
    """How a stream ended."""

    #: None where it ended here.
    sent: Sent | None
    #: None where all is well.
    error: Exception | None


class StreamCall(CrossingCall, Generic[Res]):
    """Reads the server's stream in a thread of its own, which stamps each message as it comes."""

    def __init__(
        self, crossing: Crossing, ask: Callable[[grpc.ClientCallDetails], _CallIterator[Res]]
    ) -> None:
        """Begin.

        Args:
            crossing: of the request.
            ask: asks the server, given the details that are left.
        """
        super().__init__(crossing)
        self._ask = ask
        self._come: deque[tuple[Sent, Res]] = deque()
        self._held_bytes = 0
        self._end: _End | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Res:
        """The next message, when it is here."""
        if self._done.is_set():
            raise StopIteration if self._error is None else self._error
        try:
            return self._next()
        except StopIteration:
            self._finish(None)
            raise
        except Exception as error:
            self._finish(error)
            raise

    def cancel(self) -> bool:
        """See `grpc.Call`."""
        cancelled = super().cancel()
        if cancelled:
            self._finish(self._crossing.cancelled())
        return cancelled

    def _finish(self, error: Exception | None) -> None:
        super()._finish(error)
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            end = self._read()
        except EndedError as error:
            # Its frames would keep this call for the collector, see `Attempts.wait` of the edge.
            end = _End(None, error.with_traceback(None))
        except grpc.RpcError as error:
            end = _End(self._crossing.come(None), error.with_traceback(None))
        except Exception as error:  # whatever it is, the reader gets it
            end = _End(self._crossing.come(None), error)
        with self._changed:
            self._end = end
            self._changed.notify_all()

    def _read(self) -> _End:
        crossing, last = self._crossing, None
        inner = self._ask(crossing.go_up())
        self._begun(inner)
        for message in inner:
            last = crossing.come(message)
            with self._changed:
                self._come.append((last, message))
                self._held_bytes += size_of(message)
                self._changed.notify_all()
                self._changed.wait_for(self._has_room)
        # A server sends the end with its last message.
        return _End(last or crossing.come(None), None)

    def _has_room(self) -> bool:
        return self._held_bytes <= _MOST_HELD_BYTES or self._done.is_set()

    def _next(self) -> Res:
        crossing = self._crossing
        with self._changed:
            self._changed.wait_for(lambda: self._come or self._end or crossing.given_up.is_set())
            if crossing.given_up.is_set():
                raise crossing.cancelled()
            came = self._come.popleft() if self._come else None
            if came is not None:
                self._held_bytes -= size_of(came[1])
                self._changed.notify_all()
        if came is not None:
            crossing.wait(came[0])
            return came[1]
        sent, error = cast(_End, self._end)
        if sent is not None:
            crossing.wait(sent)
        raise StopIteration if error is None else error
