"""How long and how often a server is asked, and what its failures say; knows no channel.

An attempt that fails in a way that may pass is repeated, after a back-off, until the deadline.
Where the second fails too the log says so, for somebody may be waiting. What then has not
answered, or cannot be trusted, becomes a `CloudError` with a stable reason.
"""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import Container
from typing import NamedTuple, cast

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Error as ProtobufError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from escalade.edge.base import Clock
from escalade.edge.errors import Cause, CloudError
from escalade.edge.wire.connection.handshake import Mistrust, mistrust_of
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.quoting import one_line
from escalade.v1.reasons import name_of_reason, reason_of_name

_LOG = logging.getLogger(__name__)

# Exponential back-off with full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 1.0
# The attempt whose failure is logged: what passes at once is not worth a line, and one is enough.
_SAID_AT = 2
_LEAST_TIMEOUT_S = 0.001  # gRPC takes 0 as an error of ours, not as a deadline that is over
_MOST_TIMEOUT_S = 1e9  # more is no number of seconds to gRPC, and over at once

# Characters of what a server says of a failure: a few lines of a terminal.
_MOST_SAID = 300
# Failures after which the same question may be answered. A call that its own caller gives up never
# comes here: CANCELLED is a server that ends, or something between that does.
_MAY_PASS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
# What gRPC says by itself of calls whose connection it gave up for what came over it: a bit that
# another was sent for is no failure of the query (seen in grpcio 1.85). Their code is UNKNOWN, as
# that of a server which says no other.
_TORN = "Stream removed"
_BUSY = name_of_reason(pb.ERROR_REASON_QUEUE_FULL)
# Who is not let in today may be tomorrow, with another token.
_NOT_LET_IN = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class Attempts:
    """The attempts of one call: what each may take, and the wait before the next."""

    def __init__(
        self,
        address: str,
        clock: Clock,
        rng: random.Random,
        deadline_s: float,
        may_pass: Container[grpc.StatusCode] = (),
    ) -> None:
        """Start the deadline.

        Args:
            address: whom they ask, for messages.
            clock: see `Clock`.
            rng: for the jitter of the back-off.
            deadline_s: for all of them.
            may_pass: more codes after which there is a next attempt.
        """
        self._address, self._clock, self._rng = address, clock, rng
        self.deadline_s = deadline_s
        self._may_pass = may_pass
        self.count = 0
        self.restart()

    def restart(self) -> None:
        """Start again after progress: whole deadline, short back-off, this attempt the first."""
        self.count = min(self.count, 1)
        #: How the last attempt failed that did not run out of time; empty where none did.
        self._failed = ""
        self._ceiling_s = _FIRST_BACKOFF_S
        self._until_s = self._clock.now_s() + self.deadline_s

    def begin(self) -> float:
        """Count an attempt; gives the seconds that it may take."""
        self.count += 1
        left_s = self._until_s - self._clock.now_s()
        return min(max(left_s, _LEAST_TIMEOUT_S), _MOST_TIMEOUT_S)

    def wait(self, error: grpc.RpcError) -> None:
        """Wait until the next attempt is due.

        Raises:
            CloudError: the failure is final, or the deadline leaves no time for another one.
        """
        # What gRPC raises is the call itself, and a frame of its traceback that names it would keep
        # it for the collector, at the latest when the interpreter ends: a thread that is gone by
        # then may hold its lock, and the process would never end.
        traceback.clear_frames(error.__traceback__)
        failed = cast(grpc.Call, error)  # what a stub raises is both, which no type says
        info = _error_info(failed)
        wait_s = max(self._rng.uniform(0, self._ceiling_s), info.retry_after_s)
        left_s = self._until_s - self._clock.now_s()
        if not self._passes(failed, info) or wait_s >= left_s:
            raise self._explain(failed, info) from error
        if self.count == _SAID_AT:
            _LOG.warning("%s; asked again for %.3g s", self._explain(failed, info), left_s)
        self._failed = f"{info.reason or failed.code().name}: {_said(failed)}"
        self._clock.sleep_s(wait_s)
        self._ceiling_s = min(2 * self._ceiling_s, _MAX_BACKOFF_S)

    def _passes(self, error: grpc.Call, info: _ErrorInfo) -> bool:
        code = error.code()
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return info.busy
        if _mistrust(error) is not None:
            return False
        return _of_link(error) or code in self._may_pass

    def _explain(self, error: grpc.Call, info: _ErrorInfo) -> CloudError:
        code = error.code()
        tries = "1 attempt" if self.count == 1 else f"{self.count} attempts"
        detail = _said(error)
        reason = info.reason or code.name
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            detail = f"no answer within {self.deadline_s:.4g} s"
            detail += f", before that {self._failed}" if self._failed else ""
        elif (mistrust := _mistrust(error)) is not None:
            reason, detail = mistrust
        return CloudError(
            reason,
            f"cloud {self._address}: {detail} ({tries})",
            cause=_cause(error, info),
        )


class _ErrorInfo(NamedTuple):
    """What a server said about a failure, besides its code."""

    #: The reason in google.rpc.ErrorInfo, one of the contract's; empty where none was sent.
    reason: str = ""
    #: google.rpc.RetryInfo: how long it wants to be left alone.
    retry_after_s: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether what is exhausted is the server's time, and not the size of a message."""
        return self.reason == _BUSY or self.retry_after_s > 0


def _said(error: grpc.Call) -> str:
    return one_line(error.details() or "", _MOST_SAID) or "no details"


def _mistrust(error: grpc.Call) -> Mistrust | None:
    return mistrust_of(error.details()) if error.code() is grpc.StatusCode.UNAVAILABLE else None


def _of_link(error: grpc.Call) -> bool:
    torn = error.code() is grpc.StatusCode.UNKNOWN and (error.details() or "").startswith(_TORN)
    return torn or error.code() in _MAY_PASS


def _cause(error: grpc.Call, info: _ErrorInfo) -> Cause:
    code = error.code()
    if _of_link(error) or code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "link"
    busy = code is grpc.StatusCode.RESOURCE_EXHAUSTED and info.busy
    return "server" if busy or code in _NOT_LET_IN else "query"


def _error_info(error: grpc.Call) -> _ErrorInfo:
    """Read google.rpc.Status; what cannot be read is not our server's, and says nothing."""
    found = _ErrorInfo()
    try:
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                if reason_of_name(info.reason) != pb.ERROR_REASON_UNSPECIFIED:
                    found = found._replace(reason=str(info.reason))
            elif detail.Unpack(retry):
                delay: duration_pb2.Duration = retry.retry_delay
                found = found._replace(retry_after_s=delay.seconds + delay.nanos / 1e9)
    except (ValueError, ProtobufError):
        return _ErrorInfo()
    return found
