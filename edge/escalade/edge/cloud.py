"""Asks the large model over one gRPC channel; knows no artifact, no rule.

One channel lives as long as the client. An attempt that fails in a way that may pass is
repeated with the same request id (the server computes a repeated id once) until the
deadline; what then has not answered becomes a `CloudError` with a stable reason.
"""

from __future__ import annotations

import ipaddress
import random
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, cast

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Error as ProtobufError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from escalade.edge.errors import CloudError
from escalade.edge.trace import ModelInfo
from escalade.v1 import cascade_pb2, cascade_pb2_grpc

# Exponential back-off with full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 1.0
_MOST_PORT = 65535
_LEAST_TIMEOUT_S = 0.001  # gRPC takes 0 as an error of ours, not as a deadline that is over
_CHANNEL_OPTIONS = (
    # The retry below counts its attempts; the library's own would hide them.
    ("grpc.enable_retries", 0),
    # gRPC waits a second before it dials again, and more each time: our attempts in between
    # would all meet the old failure. It must not be the slower of the two.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_MAY_PASS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


R = TypeVar("R")


class Clock(Protocol):
    """Time as the client sees it: tests pass one that can jump."""

    def now_s(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    def sleep_s(self, seconds: float) -> None:
        """Return when that many seconds have passed."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Seconds of the monotonic performance counter."""
        return time.perf_counter()

    def sleep_s(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class CloudAnswer(NamedTuple):
    """What the large model said and what the call cost."""

    text: str
    prompt_tokens: int
    generated_tokens: int
    attempts: int
    round_trip_s: float
    server_s: float
    bytes_up: int
    draft_bytes: int
    bytes_down: int


class CloudClient:
    """The cloud tier of the cascade, seen from the device."""

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = 10.0,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Open the channel; nothing is sent before the first call.

        Args:
            address: `HOST:PORT`.
            deadline_s: seconds for one query, all attempts included.
            ca_cert: root certificates (PEM) to trust; the system's own if None.
            plaintext: without TLS; if None, only where the host is a loopback address.
            clock: see `Clock`.
            rng: for the jitter of the back-off.
        """
        if deadline_s <= 0:
            raise CloudError("BAD_OPTION", f"deadline must be > 0 seconds, got {deadline_s}")
        host = _host_of(address)
        self.address = address
        self._deadline_s = deadline_s
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        if _is_loopback(host) if plaintext is None else plaintext:
            self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        else:
            roots = _read(ca_cert) if ca_cert else None
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            self._channel = grpc.secure_channel(address, credentials, options=_CHANNEL_OPTIONS)
        self._stub = cascade_pb2_grpc.CascadeServiceStub(self._channel)

    def model_info(self) -> ModelInfo:
        """Who is serving.

        Raises:
            CloudError: the cloud does not answer.
        """
        request = cascade_pb2.GetModelInfoRequest()
        response, _ = self._call(lambda timeout: self._stub.GetModelInfo(request, timeout=timeout))
        if not response.model.name or response.parameter_count < 1:
            raise CloudError("BAD_ANSWER", f"{self.address}: GetModelInfo names no model")
        return ModelInfo(name=response.model.name, parameters=response.parameter_count)

    def generate(
        self,
        prompt: cascade_pb2.Prompt,
        draft: cascade_pb2.Draft | None,
    ) -> CloudAnswer:
        """Ask the large model one query.

        Raises:
            CloudError: it refused, or did not answer within the deadline.
        """
        request = cascade_pb2.GenerateRequest(
            request_id=uuid.uuid4().hex,
            prompt=prompt,
            draft=draft,
        )
        bare = cascade_pb2.GenerateRequest()
        bare.CopyFrom(request)
        bare.ClearField("draft")
        started = self._clock.now_s()
        response, attempts = self._call(
            lambda timeout: self._stub.Generate(request, timeout=timeout)
        )
        round_trip_s = self._clock.now_s() - started
        if response.request_id != request.request_id or not response.stop_reason:
            raise CloudError("BAD_ANSWER", f"{self.address}: the answer is not to this question")
        return CloudAnswer(
            text=response.text,
            prompt_tokens=response.usage.prompt_tokens,
            generated_tokens=response.usage.generated_tokens,
            attempts=attempts,
            round_trip_s=round_trip_s,
            server_s=response.timing.queue_s + response.timing.compute_s,
            bytes_up=request.ByteSize(),
            draft_bytes=request.ByteSize() - bare.ByteSize(),
            bytes_down=response.ByteSize(),
        )

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _call(self, attempt: Callable[[float], R]) -> tuple[R, int]:
        """Try until it answers, refuses, or the deadline is over; gives the attempts made."""
        deadline = self._clock.now_s() + self._deadline_s
        ceiling_s, attempts = _FIRST_BACKOFF_S, 0
        while True:
            attempts += 1
            try:
                return attempt(max(deadline - self._clock.now_s(), _LEAST_TIMEOUT_S)), attempts
            except grpc.RpcError as error:
                failed = cast(grpc.Call, error)  # what a stub raises is both, which no type says
                info = _error_info(failed)
                wait_s = max(self._rng.uniform(0, ceiling_s), info.retry_after_s)
                left_s = deadline - self._clock.now_s()
                if failed.code() not in _MAY_PASS or wait_s >= left_s:
                    raise self._explain(failed, info.reason, attempts) from error
                self._clock.sleep_s(wait_s)
                ceiling_s = min(2 * ceiling_s, _MAX_BACKOFF_S)

    def _explain(self, error: grpc.Call, reason: str, attempts: int) -> CloudError:
        code = error.code()
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        details = (error.details() or "").splitlines()
        detail = details[0] if details else "no details"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            detail = f"no answer within {self._deadline_s:g} s"
        return CloudError(reason or code.name, f"cloud {self.address}: {detail} ({tries})")


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


def _host_of(address: str) -> str:
    host, separator, port = address.rpartition(":")
    if (
        not separator
        or not host
        or not re.fullmatch("[0-9]{1,5}", port)
        or not 1 <= int(port) <= _MOST_PORT
    ):
        raise CloudError(
            "BAD_ADDRESS",
            f"cloud address must be HOST:PORT with a port in 1-65535, got {address!r}",
        )
    return host.strip("[]")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
