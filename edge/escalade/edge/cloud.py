"""Asks the large model over one gRPC channel; knows no artifact, no rule.

One channel lives as long as the client. An attempt that fails in a way that may pass is
repeated with the same request id (the server answers a repeated id once) until the
deadline; what then has not answered becomes a `CloudError` with a stable reason.
"""

from __future__ import annotations

import ipaddress
import random
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from escalade.edge.errors import CloudError
from escalade.edge.trace import ModelInfo
from escalade.v1 import cascade_pb2, cascade_pb2_grpc

# Exponential back-off with full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".
_FIRST_BACKOFF_S, _MAX_BACKOFF_S, _MAX_ATTEMPTS = 0.1, 1.0, 4
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
        # The retry below counts its attempts; the library's own would hide them.
        options = [("grpc.enable_retries", 0)]
        if _is_loopback(host) if plaintext is None else plaintext:
            self._channel = grpc.insecure_channel(address, options=options)
        else:
            roots = ca_cert.read_bytes() if ca_cert else None
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            self._channel = grpc.secure_channel(address, credentials, options=options)
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
        *,
        max_new_tokens: int | None = None,
    ) -> CloudAnswer:
        """Ask the large model one query.

        Raises:
            CloudError: it refused, or did not answer within the deadline.
        """
        request = cascade_pb2.GenerateRequest(
            request_id=uuid.uuid4().hex,
            prompt=prompt,
            draft=draft,
            stopping=cascade_pb2.StoppingOptions(max_new_tokens=max_new_tokens),
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
        for count in range(1, _MAX_ATTEMPTS + 1):
            try:
                return attempt(max(deadline - self._clock.now_s(), 0.001)), count
            except grpc.RpcError as error:
                failed = cast(grpc.Call, error)  # what a stub raises is both, which no type says
                ceiling = min(_FIRST_BACKOFF_S * 2 ** (count - 1), _MAX_BACKOFF_S)
                wait_s = self._rng.uniform(0, ceiling)
                left_s = deadline - self._clock.now_s()
                if failed.code() not in _MAY_PASS or count == _MAX_ATTEMPTS or wait_s >= left_s:
                    raise self._explain(failed, count) from error
                self._clock.sleep_s(wait_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _explain(self, error: grpc.Call, attempts: int) -> CloudError:
        code = error.code()
        reason = _reason_of(error) or code.name
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        details = (error.details() or "").splitlines()
        detail = details[0] if details else "no details"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            detail = f"no answer within {self._deadline_s:g} s"
        return CloudError(reason, f"cloud {self.address}: {detail} ({tries})")


def _reason_of(error: grpc.Call) -> str | None:
    """The reason in google.rpc.ErrorInfo, where the server sent one."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # the trailers contradict the code: not our server
        return None
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return None


def _host_of(address: str) -> str:
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or not 1 <= int(port) <= 65535:  # noqa: PLR2004
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
