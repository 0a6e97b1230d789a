"""Asks a running proxy what it does, and changes it; knows no profile."""

from __future__ import annotations

import http.client
import math
from http import HTTPStatus
from typing import Literal

import msgspec

from escalade.simulator.errors import ProxyError
from escalade.simulator.network.proxy.control import Asked, Fields, ProxyState
from escalade.v1.address import parse_address

_WITHIN_S = 10.0
_MOST_BYTES = 1 << 20


class _Refused(msgspec.Struct):
    error: str


class ControlClient:
    """The control of one proxy, `escalade proxy --control`."""

    def __init__(self, address: str) -> None:
        """Open nothing yet.

        Args:
            address: `HOST:PORT` or `:PORT` (loopback).

        Raises:
            ProxyError: it is malformed.
        """
        try:
            #: Whom it asks.
            self.to = parse_address(address, default_host="127.0.0.1")
        except ValueError as error:
            raise ProxyError(f"control address {error}") from error

    def state(self) -> ProxyState:
        """What it does now, and what went through so far.

        Raises:
            ProxyError: nobody answers there, or not a proxy's control.
        """
        return self._asked("GET", "/state")

    def set(self, profile: str | None, fields: Fields) -> ProxyState:
        """Change its network for what comes from now on; the state after that.

        Args:
            profile: a name that the proxy knows; None keeps the present one.
            fields: in place of the profile's own; None leaves one out.

        Raises:
            ProxyError: see `state`; a field is not finite; or it refused, with its words.
        """
        for name, value in fields.items():
            # JSON would write null, which leaves the field out.
            if isinstance(value, float) and not math.isfinite(value):
                raise ProxyError(f"{name} must be finite; got {value}")
        return self._asked(
            "POST", "/set", msgspec.json.encode(Asked(profile=profile, fields=fields))
        )

    def act(self, what: Literal["pause", "resume", "reset"]) -> ProxyState:
        """An outage, its end, or the end of every connection; the state after that.

        Raises:
            ProxyError: see `state`.
        """
        return self._asked("POST", f"/{what}")

    def _asked(self, method: str, path: str, body: bytes = b"") -> ProxyState:
        connection = http.client.HTTPConnection(*self.to, timeout=_WITHIN_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            said = answer.read(_MOST_BYTES)
            if answer.status != HTTPStatus.OK:
                raise ProxyError(msgspec.json.decode(said, type=_Refused).error)
            return msgspec.json.decode(said, type=ProxyState)
        except OSError as error:
            raise ProxyError(f"control {self.to}: {error.strerror or error}") from error
        except (http.client.HTTPException, msgspec.DecodeError) as error:
            raise ProxyError(
                f"control {self.to}: what answers is no `escalade proxy --control`"
            ) from error
        finally:
            connection.close()
