"""A call with one answer over a network, as gRPC gives it; knows no profile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import grpc

from escalade.simulator.network.calls.call import CrossingCall
from escalade.simulator.network.calls.crossing import Crossing, EndedError

Res = TypeVar("Res")

if TYPE_CHECKING:
    from grpc import _CallFuture

    class _Future(grpc.Future[Res]):
        pass
else:  # it has a parameter in the stubs alone

    class _Future(Generic[Res], grpc.Future):
        pass


class AnswerCall(CrossingCall, _Future[Res]):
    """Nobody waits who does not ask for the result."""

    def __init__(
        self, crossing: Crossing, ask: Callable[[grpc.ClientCallDetails], _CallFuture[Res]]
    ) -> None:
        """Begin.

        Args:
            crossing: of the request.
            ask: asks the server, given the details that are left.
        """
        super().__init__(crossing)
        self._ask = ask
        self._response: Res | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def result(self, timeout: float | None = None) -> Res:
        """See `grpc.Future`, as the others."""
        if (error := self.exception(timeout)) is not None:
            raise error
        return cast(Res, self._response)

    def exception(self, timeout: float | None = None) -> Exception | None:
        """What `result` raises."""
        if not self._done.wait(timeout):
            raise grpc.FutureTimeoutError
        if self.cancelled():
            raise grpc.FutureCancelledError
        return self._error

    def traceback(self, timeout: float | None = None) -> object:
        """Of `exception`."""
        error = self.exception(timeout)
        return None if error is None else error.__traceback__

    def cancelled(self) -> bool:
        """Whether it was given up before it ended."""
        return isinstance(self._error, EndedError) and self._crossing.given_up.is_set()

    def running(self) -> bool:
        """Whether it has not ended."""
        return not self._done.is_set()

    def done(self) -> bool:
        """Whether it has."""
        return self._done.is_set()

    def add_done_callback(self, fn: Callable[[grpc.Future[Res]], None]) -> None:
        """Have it called with this call when it has ended."""
        if not self.add_callback(lambda: fn(self)):
            fn(self)

    def _run(self) -> None:
        try:
            self._response = self._cross()
        except grpc.RpcError as error:
            # Its frames would keep this call for the collector, see `Attempts.wait` of the edge.
            self._finish(error.with_traceback(None))
        except Exception as error:  # whatever it is, the caller gets it
            self._finish(error)
        else:
            self._finish(None)

    def _cross(self) -> Res:
        crossing = self._crossing
        inner = self._ask(crossing.go_up())
        self._begun(inner)
        try:
            response = inner.result()
        except grpc.FutureCancelledError:
            raise crossing.cancelled() from None
        except grpc.RpcError:
            crossing.wait(crossing.come(None))
            raise
        crossing.wait(crossing.come(response))
        return response
