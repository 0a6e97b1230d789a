"""One gRPC channel to a cloud, and how long and how often it is asked; knows no question.

An attempt that fails in a way that may pass is repeated, after a back-off, until the
deadline; what then has not answered becomes a `CloudError` with a stable reason.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Container
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Error as ProtobufError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from escalade.edge.base import Clock, SystemClock
from escalade.edge.errors import CloudError
from escalade.v1 import cascade_pb2_grpc
from escalade.v1.address import is_loopback, parse_address

# Exponential back-off with full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 1.0
_LEAST_TIMEOUT_S = 0.001  # gRPC takes 0 as an error of ours, not as a deadline that is over
_MOST_TIMEOUT_S = 1e9  # more is no number of seconds to gRPC, and over at once
_CHANNEL_OPTIONS = (
    # The retry below counts its attempts; the library's own would hide them.
    ("grpc.enable_retries", 0),
    # gRPC waits a second before it dials again, and more each time: our attempts in between
    # would all meet the old failure. It must not be the slower of the two.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
#: Failures after which the same question may be answered.
MAY_PASS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


R = TypeVar("R")


class Attempts:
    """The attempts of one call: what each may take, and the wait before the next."""

    def __init__(
        self,
        connection: Connection,
        may_pass: Container[grpc.StatusCode],
        deadline_s: float | None = None,
    ) -> None:
        """Start the deadline.

        Args:
            connection: whom they ask, by which clock.
            may_pass: codes after which there is a next attempt.
            deadline_s: for all of them; None takes the connection's.
        """
        self._connection = connection
        self._may_pass = may_pass
        self._deadline_s = connection.deadline_s if deadline_s is None else deadline_s
        self.count = 0
        self.restart()

    def restart(self) -> None:
        """Start again after progress: whole deadline, short back-off, this attempt the first."""
        self.count = min(self.count, 1)
        self._ceiling_s = _FIRST_BACKOFF_S
        self._until_s = self._connection.clock.now_s() + self._deadline_s

    def begin(self) -> float:
        """Count an attempt; gives the seconds that it may take."""
        self.count += 1
        left_s = self._until_s - self._connection.clock.now_s()
        return min(max(left_s, _LEAST_TIMEOUT_S), _MOST_TIMEOUT_S)

    def wait(self, error: grpc.RpcError) -> None:
        """Wait until the next attempt is due.

        Raises:
            CloudError: the failure is final, or the deadline leaves no time for another one.
        """
        failed = cast(grpc.Call, error)  # what a stub raises is both, which no type says
        info = _error_info(failed)
        clock, rng = self._connection.clock, self._connection.rng
        wait_s = max(rng.uniform(0, self._ceiling_s), info.retry_after_s)
        left_s = self._until_s - clock.now_s()
        if failed.code() not in self._may_pass or wait_s >= left_s:
            raise self._explain(failed, info.reason) from error
        clock.sleep_s(wait_s)
        self._ceiling_s = min(2 * self._ceiling_s, _MAX_BACKOFF_S)

    def _explain(self, error: grpc.Call, reason: str) -> CloudError:
        code = error.code()
        tries = "1 attempt" if self.count == 1 else f"{self.count} attempts"
        details = (error.details() or "").splitlines()
        detail = details[0] if details else "no details"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            detail = f"no answer within {self._deadline_s:.4g} s"
        address = self._connection.address
        return CloudError(reason or code.name, f"cloud {address}: {detail} ({tries})")


class Connection:
    """One channel to one server, and the patience with which it is asked."""

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Open the channel; nothing is sent before the first call.

        Args:
            address: `HOST:PORT`.
            deadline_s: seconds for one call, all attempts included.
            ca_cert: root certificates (PEM) to trust; the system's own if None.
            plaintext: without TLS; if None, only where the host is a loopback address.
            clock: see `Clock`.
            rng: for the jitter of the back-off.

        Raises:
            CloudError: an argument is malformed or out of range.
        """
        if not 0 < deadline_s < math.inf:
            raise CloudError(
                "BAD_OPTION", f"deadline must be > 0 seconds and finite, got {deadline_s}"
            )
        host = _host_of(address)
        self.address = address
        self.deadline_s = deadline_s
        self.clock = clock or SystemClock()
        self.rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        if is_loopback(host) if plaintext is None else plaintext:
            self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        else:
            roots = _read(ca_cert) if ca_cert else None
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            self._channel = grpc.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
        self.stub = cascade_pb2_grpc.CascadeServiceStub(self._channel)

    def attempts(
        self,
        may_pass: Container[grpc.StatusCode] = MAY_PASS,
        deadline_s: float | None = None,
    ) -> Attempts:
        """Begin a call that may take `deadline_s`; None takes the connection's."""
        return Attempts(self, may_pass, deadline_s)

    def call(self, attempt: Callable[[float], R], deadline_s: float | None = None) -> tuple[R, int]:
        """Try until it answers, refuses, or the deadline is over; gives the attempts made.

        Args:
            attempt: makes the call, given its timeout in seconds.
            deadline_s: for all attempts; None takes the connection's.

        Raises:
            CloudError: it refused, or did not answer within the deadline.
        """
        attempts = self.attempts(deadline_s=deadline_s)
        while True:
            try:
                return attempt(attempts.begin()), attempts.count
            except grpc.RpcError as error:
                attempts.wait(error)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class _ErrorInfo(NamedTuple):
    """What a server said about a failure, besides its code."""

    #: The reason in google.rpc.ErrorInfo; empty where none was sent.
    reason: str = ""
    #: google.rpc.RetryInfo: how long it wants to be left alone.
    retry_after_s: float = 0.0


def _error_info(error: grpc.Call) -> _ErrorInfo:
    """Read google.rpc.Status; what cannot be read is not our server's, and says nothing."""
    found = _ErrorInfo()
    try:
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                found = found._replace(reason=str(info.reason))
            elif detail.Unpack(retry):
                delay: duration_pb2.Duration = retry.retry_delay
                found = found._replace(retry_after_s=delay.seconds + delay.nanos / 1e9)
    except (ValueError, ProtobufError):
        return _ErrorInfo()
    return found


def _read(ca_cert: Path) -> bytes:
    try:
        return ca_cert.read_bytes()
    except OSError as error:
        raise CloudError("BAD_OPTION", f"{ca_cert}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise CloudError("BAD_OPTION", f"{str(ca_cert)!r}: cannot be read: {error}") from error


def _host_of(address: str) -> str:
    try:
        return parse_address(address).host
    except ValueError as error:
        raise CloudError("BAD_ADDRESS", f"cloud address {error}") from error
