"""A profile before gRPC channels, without a socket between: what the proxy does, in process.

The messages of a call wait on the same delay lines as the proxy's bytes, each channel's a
connection of its own, by the same keys: one seed gives the same network. The bytes on the line are
those that virtual time reckons with (`counting`), a message a chunk. What a call brings besides
(the first one's handshakes, windows, pings) does not cross.

A call that an outage holds up for longer than gRPC's pings allow ends as UNAVAILABLE, which may
pass: behind the proxy the pings find the connection dead.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import grpc

from escalade.simulator.network.calls.answer import AnswerCall
from escalade.simulator.network.calls.clock import LiveThreadClock, ThreadClock
from escalade.simulator.network.calls.counting import CallBytes
from escalade.simulator.network.calls.crossing import Crossing, Way
from escalade.simulator.network.calls.stream import StreamCall
from escalade.simulator.network.delay_lines import Laying
from escalade.simulator.network.profiles import Profile

if TYPE_CHECKING:
    from grpc import _CallFuture, _CallIterator

Req = TypeVar("Req")
Res = TypeVar("Res")


class CallNetwork:
    """A network that channels are put behind.

    Example:
        >>> network = CallNetwork(get_profile("lte"), seed=1)
        >>> channel = network.before("", grpc.insecure_channel("127.0.0.1:50051"))
    """

    def __init__(
        self,
        profile: Profile,
        *,
        seed: int = 0,
        clock: ThreadClock | None = None,
        on_call: Callable[[CallBytes], None] = lambda call: None,
    ) -> None:
        """Begin the profile's cycles and traces.

        Args:
            profile: the network.
            seed: of jitter and loss.
            clock: the machine's, if None.
            on_call: told of each call that has ended, in a thread of the call's.
        """
        self._clock: ThreadClock = LiveThreadClock() if clock is None else clock
        self._laying = Laying(profile, seed, self._clock.now)
        self._on_call = on_call
        self._lock = threading.Lock()
        #: By their number, as long as their channels live.
        self._ways: weakref.WeakValueDictionary[int, Way] = weakref.WeakValueDictionary()
        self._channels = 0

    def before(self, address: str, channel: grpc.Channel) -> grpc.Channel:
        """The channel, behind this network; as `OpenOptions.through` takes it.

        Calls that send one message are delayed; those that send a stream of them go as they are.

        Args:
            address: whom it is to, which changes nothing.
            channel: it; is closed with what is given back.
        """
        with self._lock:
            self._channels += 1
            way = Way(self._laying.lay(self._channels), self._clock)
            self._ways[self._channels] = way
        return grpc.intercept_channel(channel, _Interceptor(way, self._on_call))

    def change(self, profile: Profile) -> None:
        """Be another network for what comes from now on; what is in flight keeps its times."""
        with self._lock:
            self._laying.change(profile)
            for number, way in list(self._ways.items()):
                way.change(partial(self._laying.lay, number))


class _Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Puts the calls of one channel on its way."""

    def __init__(self, way: Way, on_call: Callable[[CallBytes], None]) -> None:
        self._way = way
        self._on_call = on_call

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Req], _CallFuture[Res]],
        client_call_details: grpc.ClientCallDetails,
        request: Req,
    ) -> _CallFuture[Res]:
        """See `grpc.UnaryUnaryClientInterceptor`."""
        crossing = Crossing(self._way, self._on_call, client_call_details, request)
        call = AnswerCall(crossing, lambda details: continuation(details, request))
        # To the stubs that is a class; to gRPC whatever is both a call and a future.
        return cast("_CallFuture[Res]", call)

    def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Req], _CallIterator[Res]],
        client_call_details: grpc.ClientCallDetails,
        request: Req,
    ) -> _CallIterator[Res]:
        """See `grpc.UnaryStreamClientInterceptor`."""
        crossing = Crossing(self._way, self._on_call, client_call_details, request)
        call = StreamCall(crossing, lambda details: continuation(details, request))
        return cast("_CallIterator[Res]", call)
