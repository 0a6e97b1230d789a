"""What a call over a network says of itself, as gRPC's own do; knows no message."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import grpc

from escalade.simulator.network.calls.crossing import Crossing, EndedError

Metadata = tuple[tuple[str, str | bytes], ...]


class CrossingCall(grpc.Call):
    """A call that goes its way in a thread of its own, and ends once."""

    def __init__(self, crossing: Crossing) -> None:
        self._crossing = crossing
        #: At the server, once the request is there.
        self._inner: grpc.Call | None = None
        self._error: Exception | None = None
        self._done = threading.Event()
        self._ending = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []

    def add_callback(self, callback: Callable[[], object]) -> bool:
        """See `grpc.Call`, as the others."""
        with self._ending:
            if self._done.is_set():
                return False
            self._callbacks.append(callback)
            return True

    def cancel(self) -> bool:
        """Give up, here and at the server."""
        if self._done.is_set():
            return False
        self._crossing.given_up.set()
        if self._inner is not None:
            self._inner.cancel()
        return True

    def is_active(self) -> bool:
        """Whether it has not ended."""
        return not self._done.is_set()

    def time_remaining(self) -> float | None:  # type: ignore[override] # as gRPC
        """Seconds."""
        return self._crossing.time_remaining()

    def code(self) -> grpc.StatusCode:
        """How it ended; waits for that, as the rest."""
        self._done.wait()
        return _code_of(self._error)

    def details(self) -> str:
        """In words."""
        return str(self._told().details())

    def initial_metadata(self) -> Metadata:
        """The server's."""
        return tuple(self._told().initial_metadata() or ())

    def trailing_metadata(self) -> Metadata:
        """The server's."""
        return tuple(self._told().trailing_metadata() or ())

    def _told(self) -> grpc.Call:
        self._done.wait()
        return cast(grpc.Call, self._inner if self._error is None else self._error)

    def _begun(self, inner: grpc.Call) -> None:
        """It is at the server."""
        self._inner = inner
        if self._crossing.given_up.is_set():  # meanwhile
            inner.cancel()

    def _finish(self, error: Exception | None) -> None:
        """It has ended; None is well."""
        if isinstance(error, EndedError) and self._inner is not None:
            self._inner.cancel()
        with self._ending:
            if self._done.is_set():
                return
            self._error = error
            self._done.set()
        self._crossing.end(_code_of(error))
        for callback in self._callbacks:
            callback()


def _code_of(error: Exception | None) -> grpc.StatusCode:
    if error is None:
        return grpc.StatusCode.OK
    # What gRPC raises is the call itself, which no type says.
    known = isinstance(error, grpc.RpcError)
    return cast(grpc.Call, error).code() if known else grpc.StatusCode.UNKNOWN
