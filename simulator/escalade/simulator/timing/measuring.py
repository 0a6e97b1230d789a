"""Times every driver at every delay on this machine, now; reduces nothing.

A call is timed with the delay and without, in turn, each after a pause as long as the delay: caches
cool while a machine waits, so that a control that never waits would flatter it (the residual grows
with the pause otherwise).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import grpc
import numpy as np

from escalade.simulator.network import (
    DelayLine,
    FineLoop,
    LiveClock,
    Profile,
    kernel_lacks,
    probe_kernel,
)
from escalade.simulator.network.calls import CallNetwork
from escalade.simulator.timing.echo import (
    METHOD,
    asking_over_kernel,
    changed_proxy_before,
    channel_to,
    echo_server,
    proxy_before,
)
from escalade.simulator.timing.report import (
    ClockReport,
    DelayRow,
    Driver,
    Samples,
    load_average,
    reduced,
    report_of,
)

#: Round trips that are asked for: the papers' four, and those between.
ASKED_S = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Those of a live report, beside its own: where a delay begins to stand out from what a call takes.
SMALL_S = (1e-6, 1e-4, 1e-3, 1e-2)
# About as long a question and answer of the bundled tasks over the wire.
_PAYLOAD = bytes(3000)
# Calls at a delay: as many as fit so many seconds, in these bounds; some more before, unmeasured.
_SECONDS, _LEAST, _MOST, _WARM_UP = 8.0, 4, 300, 20
# In a live report, which is not to take half a minute longer.
_SECONDS_BESIDE, _MOST_BESIDE = 1.0, 75
# A round is a call with the delay and two pauses.
_DELAYS_IN_A_ROUND = 3

Progress = Callable[[int, int], None]
#: Waits so many seconds.
Pause = Callable[[float], None]
#: Asks once, and says what that took, in seconds.
Asking = Callable[[], float]
#: Times a delay so many times: `(calls, 2)` seconds, without it and with it.
Timing = Callable[[float, int], Samples]


def measure_delays(
    asked_s: Sequence[float] = ASKED_S,
    *,
    drivers: Sequence[Driver] = ("proxy", "calls", "kernel", "wait", "virtual"),
    calls: Callable[[float], int] | None = None,
    progress: Progress = lambda done, total: None,
    pause: Pause = time.sleep,
) -> ClockReport:
    """Measure; takes two minutes with the delays and drivers that are asked by default.

    Args:
        asked_s: round-trip times, seconds, each at least 0.
        drivers: which; the kernel's is left out where the kernel has none.
        calls: how many at a delay; default: as many as take some seconds.
        progress: called with (done, all) after each delay of each driver.
        pause: between calls; what it raises ends this.

    Raises:
        SimulatorError: a process for it does not start.
    """
    before, rows, count = load_average(), list[DelayRow](), calls or calls_at
    lacking = kernel_lacks(probe_kernel()) if "kernel" in drivers else ""
    timed = [driver for driver in drivers if not (driver == "kernel" and lacking)]
    for driver in timed:
        with _opened(driver, pause) as timing:
            for delay_s in asked_s:
                times = timing(delay_s, count(delay_s))
                rows.append(reduced(driver, delay_s, times[:, 0], times[:, 1]))
                progress(len(rows), len(timed) * len(asked_s))
    return report_of(rows, load_before=before, kernel_lacks=lacking)


def calls_at(delay_s: float) -> int:
    """How many calls are timed at a delay."""
    return _fit(delay_s, _SECONDS, _MOST)


def few_calls_at(delay_s: float) -> int:
    """How many calls are timed at a delay for a live report: a second's, or four."""
    return _fit(delay_s, _SECONDS_BESIDE, _MOST_BESIDE)


def _fit(delay_s: float, seconds: float, most: int) -> int:
    fit = seconds / (_DELAYS_IN_A_ROUND * delay_s) if delay_s else most
    return int(min(max(fit, _LEAST), most))


def _network(delay_s: float) -> Profile:
    return Profile(
        name=f"{delay_s:g}s", rtt_ms=1e3 * delay_s, down_mbps=None, up_mbps=None, source="asked for"
    )


def _opened(driver: Driver, pause: Pause) -> AbstractContextManager[Timing]:
    """What times a driver; what it starts for that ends with the block."""
    match driver:
        case "proxy":
            return _proxy(pause)
        case "calls":
            return _calls(pause)
        case "kernel":
            return _kernel(pause)
        case "wait":
            return nullcontext(_waiting(_until))
        case "sleep":
            return nullcontext(_waiting(asyncio.sleep))
        case "virtual":
            return nullcontext(_virtual)


@contextmanager
def _proxy(pause: Pause) -> Iterator[Timing]:
    with ExitStack() as stack:
        server = stack.enter_context(echo_server())
        port, change = stack.enter_context(changed_proxy_before(server))
        ports = (stack.enter_context(proxy_before(server, _network(0.0))), port)
        channels = [stack.enter_context(channel_to(f"127.0.0.1:{one}")) for one in ports]
        asking = _asking(channels)
        for ask in asking:  # open the connections before they are delayed
            ask()

        def timing(delay_s: float, calls: int) -> Samples:
            change(delay_s)
            return _asked(asking, delay_s, calls, pause)

        yield timing


@contextmanager
def _calls(pause: Pause) -> Iterator[Timing]:
    with echo_server() as server:
        address = f"127.0.0.1:{server}"

        def timing(delay_s: float, calls: int) -> Samples:
            with ExitStack() as stack:
                channels: list[grpc.Channel] = []
                for profile in (_network(0.0), _network(delay_s)):
                    channel = stack.enter_context(channel_to(address))
                    channels.append(CallNetwork(profile).before(address, channel))
                return _asked(_asking(channels), delay_s, calls, pause)

        yield timing


@contextmanager
def _kernel(pause: Pause) -> Iterator[Timing]:
    with echo_server() as server:

        def timing(delay_s: float, calls: int) -> Samples:
            with ExitStack() as stack:
                asking = [
                    stack.enter_context(asking_over_kernel(server, _network(one), len(_PAYLOAD)))
                    for one in (0.0, delay_s)
                ]
                return _asked(asking, delay_s, calls, pause)

        yield timing


def _asking(channels: Sequence[grpc.Channel]) -> list[Asking]:
    stubs: list[grpc.UnaryUnaryMultiCallable[bytes, bytes]] = [
        channel.unary_unary(METHOD) for channel in channels
    ]
    return [lambda stub=stub: _timed(lambda: stub(_PAYLOAD)) for stub in stubs]  # type: ignore[misc]


def _asked(asking: Sequence[Asking], delay_s: float, calls: int, pause: Pause) -> Samples:
    """What each says that its calls take, in turn: `(calls, len(asking))`."""
    for ask in asking:
        for _ in range(min(_WARM_UP, calls)):
            pause(0.0)
            ask()
    times = np.empty((calls, len(asking)))
    for call in range(calls):
        for column, ask in enumerate(asking):
            pause(delay_s)
            times[call, column] = ask()
    return times


def _timed(what: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    what()
    return time.perf_counter() - began_s


def _waiting(wait: Callable[[float], Awaitable[None]]) -> Timing:
    """Times a way to wait on the loop that the proxy has, and `escalade load`."""

    async def main(delay_s: float, calls: int) -> Samples:
        times = np.empty((calls, 2))
        for call in range(calls):
            for column, asked in enumerate((0.0, delay_s)):
                began_s = time.perf_counter()
                await wait(asked)
                times[call, column] = time.perf_counter() - began_s
        return times

    def timing(delay_s: float, calls: int) -> Samples:
        with asyncio.Runner(loop_factory=FineLoop) as runner:
            return runner.run(main(delay_s, calls))

    return timing


async def _until(delay_s: float) -> None:
    clock = LiveClock()
    await clock.wait_until(clock.now() + delay_s)


def _virtual(delay_s: float, calls: int) -> Samples:
    found = []
    for profile in (_network(0.0), _network(delay_s)):
        up, down = (DelayLine(profile, way, random.Random(0)) for way in ("up", "down"))  # noqa: S311
        sent_s = 2.0 * delay_s * np.arange(calls)
        found.append(
            np.array(
                [down.release_s(up.release_s(at, len(_PAYLOAD)), len(_PAYLOAD)) for at in sent_s]
            )
            - sent_s
        )
    return np.stack(found, axis=1)
