"""A connection to one server, dialled anew where it has died in silence; knows no question."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import grpc

from escalade.edge.base import Clock, SystemClock
from escalade.edge.errors import CloudError
from escalade.edge.wire.attempts import Attempts
from escalade.edge.wire.breaker import Breaker
from escalade.edge.wire.client_files import (
    NO_FILES,
    Bearer,
    ClientFiles,
    read_pair,
    read_token,
)
from escalade.v1 import cascade_pb2_grpc
from escalade.v1.address import is_loopback, parse_address
from escalade.v1.channel import DIAL_WITHIN_S, client_options, speaks_tls, target_of

R = TypeVar("R")


class Line:
    """One gRPC channel of a connection, and the calls on it."""

    def __init__(self, channel: grpc.Channel, dialled_s: float) -> None:
        self.stub = cascade_pb2_grpc.CascadeServiceStub(channel)
        self.dialled_s = dialled_s
        self.calls = 0
        #: Answers, and messages of streams, that have come over it.
        self.heard = 0
        self.close = channel.close


class Connection:
    """Speaks to one server; several threads may.

    gRPC mends a connection that ends, and by pings finds one that is dead (`escalade.v1.channel`).
    What a call has waited for in vain is not trusted either: the next one goes over a new line. So
    a connection that has died in silence costs one deadline at most.
    """

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
        files: ClientFiles = NO_FILES,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            address: `HOST:PORT`.
            deadline_s: seconds for one call, all attempts included.
            ca_cert: root certificates (PEM) to trust, over TLS; the system's own if None.
            plaintext: True is without TLS, False with it; if None, TLS is spoken where `ca_cert` is
                given, a certificate is shown, or the host is no loopback address.
            files: what is shown; a token over TLS alone, or to this machine itself.
            clock: see `Clock`.
            rng: for the jitter of the back-off.
            breaker: what keeps calls from a server that does not answer; None asks it always.

        Raises:
            CloudError: an argument is malformed or out of range.
        """
        if not 0 < deadline_s < math.inf:
            raise CloudError(
                "BAD_OPTION", f"deadline must be > 0 seconds and finite, got {deadline_s}"
            )
        try:
            self._to = parse_address(address)
        except ValueError as error:
            raise CloudError("BAD_ADDRESS", f"cloud address {error}") from error
        try:
            tls = speaks_tls(
                self._to.host, plaintext=plaintext, ca_cert=ca_cert or files.client_cert
            )
        except ValueError as error:
            raise CloudError("BAD_OPTION", f"cloud {address}: {error}") from error
        if files.token_file is not None and not tls and not is_loopback(self._to.host):
            raise CloudError(
                "BAD_OPTION",
                f"cloud {address}: a token is sent over TLS or to this machine itself, not in the"
                " clear",
            )
        pair = read_pair(files)
        self._bearer = None if files.token_file is None else Bearer(read_token(files.token_file))
        self._credentials = None
        if tls:
            self._credentials = grpc.ssl_channel_credentials(_roots(ca_cert), *pair)
        self.address = address
        self.deadline_s = deadline_s
        self.clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._breaker = breaker
        self._lock = threading.Lock()
        self._closed = False
        self._line = self._dial()

    def attempts(
        self, may_pass: Container[grpc.StatusCode] = (), deadline_s: float | None = None
    ) -> Attempts:
        """Begin a call that may take `deadline_s`; None takes the connection's."""
        seconds = self.deadline_s if deadline_s is None else deadline_s
        return Attempts(self.address, self.clock, self._rng, seconds, may_pass)

    def call(
        self,
        attempt: Callable[[cascade_pb2_grpc.CascadeServiceStub, float], R],
        deadline_s: float | None = None,
    ) -> tuple[R, int]:
        """Try until it answers, refuses, or the deadline is over; gives the attempts made.

        Args:
            attempt: makes the call, given a stub and its timeout in seconds.
            deadline_s: for all attempts; None takes the connection's.

        Raises:
            CloudError: it refused, did not answer within the deadline, or is not asked for a while
                because of calls before.
        """
        attempts = self.attempts(deadline_s=deadline_s)
        if self._breaker is None:
            return self._until_answered(attempts, attempt)
        with self._breaker.trial(attempts.deadline_s) as trial:
            answer, count = self._until_answered(attempts, attempt)
            trial.answered = answer is not None  # or the caller gave up
            return answer, count

    def _until_answered(
        self,
        attempts: Attempts,
        attempt: Callable[[cascade_pb2_grpc.CascadeServiceStub, float], R],
    ) -> tuple[R, int]:
        while True:
            try:
                with self.line() as line:
                    answer = attempt(line.stub, attempts.begin())
                    line.heard += answer is not None  # or the caller gave up
                    return answer, attempts.count
            except grpc.RpcError as error:
                attempts.wait(error)

    @contextmanager
    def line(self) -> Iterator[Line]:
        """The line for one attempt, which counts what it hears.

        Raises:
            CloudError: the connection is closed.
        """
        with self._lock:
            line = self._line
            line.calls += 1
        before = line.heard
        try:
            if self._closed:
                raise self._is_closed()
            yield line
        except grpc.RpcError as error:
            if self._closed:  # which ends what is under way as CANCELLED
                raise self._is_closed() from error
            if _was_silent(error) and line.heard == before:
                self._replace(line)
            raise
        except ValueError as error:  # gRPC's word for a channel that was closed meanwhile
            if self._closed:
                raise self._is_closed() from error
            raise
        finally:
            self._release(line)

    def close(self) -> None:
        """Close every line; what is under way ends with a `CloudError`."""
        with self._lock:
            self._closed = True
        self._line.close()

    def _dial(self) -> Line:
        target, options = target_of(self._to), client_options(self._to)
        if self._credentials is None:
            channel = grpc.insecure_channel(target, options=options)
        else:
            channel = grpc.secure_channel(target, self._credentials, options=options)
        if self._bearer is not None:
            channel = grpc.intercept_channel(channel, self._bearer)
        return Line(channel, self.clock.now_s())

    def _replace(self, line: Line) -> None:
        """Let later calls go over a new line; those on the old one end as they may.

        Not where the old one has never said anything and may still be dialling: over a slow link a
        short deadline would else never see a connection made.
        """
        with self._lock:
            age_s = self.clock.now_s() - line.dialled_s
            fresh = not line.heard and age_s < DIAL_WITHIN_S
            if line is self._line and not fresh and not self._closed:
                self._line = self._dial()

    def _release(self, line: Line) -> None:
        with self._lock:
            line.calls -= 1
            left = line is not self._line and line.calls == 0
        if left:
            line.close()

    def _is_closed(self) -> CloudError:
        return CloudError("CLOSED", f"cloud {self.address}: the connection was closed here")


def _was_silent(error: grpc.RpcError) -> bool:
    return cast(grpc.Call, error).code() is grpc.StatusCode.DEADLINE_EXCEEDED


def _roots(ca_cert: Path | None) -> bytes | None:
    """Root certificates: a file's, else OpenSSL's (`SSL_CERT_FILE`), else None: those gRPC brings.

    Raises:
        CloudError: they cannot be read, or are none: gRPC would say so as a host that is not there.
    """
    import ssl  # loopback needs none

    if ca_cert is None:
        file = ssl.get_default_verify_paths().cafile
        return None if file is None else Path(file).read_bytes()
    try:
        content = ca_cert.read_bytes()
    except OSError as error:
        raise CloudError("BAD_OPTION", f"{ca_cert}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise CloudError("BAD_OPTION", f"{str(ca_cert)!r}: cannot be read: {error}") from error
    try:
        # Comments between certificates may be in any language.
        data = content.decode("ascii", "ignore")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data)
    except (ssl.SSLError, ValueError) as error:
        raise CloudError("BAD_OPTION", f"{ca_cert}: holds no certificates (PEM)") from error
    return content
