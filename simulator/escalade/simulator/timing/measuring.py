"""Times every driver at every delay on this machine, now; reduces nothing.

A call is timed with the delay and without, in turn, each after a pause as long as the delay: caches
cool while a machine waits, so that a control that never waits would flatter it (the residual grows
with the pause otherwise).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

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
from escalade.simulator.timing.echo import METHOD, asking_over_kernel, echo_server, proxy_before
from escalade.simulator.timing.report import (
    ClockReport,
    DelayRow,
    Samples,
    load_average,
    reduced,
    report_of,
)

#: Round trips that are asked for: the papers' four, and those between.
ASKED_S = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# About as long a question and answer of the bundled tasks over the wire.
_PAYLOAD = bytes(3000)
# Calls at a delay: as many as fit so many seconds, in these bounds; some more before, unmeasured.
_SECONDS, _LEAST, _MOST, _WARM_UP = 8.0, 4, 300, 20
# A round is a call with the delay and two pauses.
_DELAYS_IN_A_ROUND = 3

Progress = Callable[[int, int], None]
#: Asks once, and says what that took, in seconds.
Asking = Callable[[], float]


def measure_delays(
    asked_s: Sequence[float] = ASKED_S,
    *,
    calls: Callable[[float], int] | None = None,
    progress: Progress = lambda done, total: None,
) -> ClockReport:
    """Measure; takes two minutes with the delays that are asked by default.

    Args:
        asked_s: round-trip times, seconds, each at least 0.
        calls: how many at a delay; default: as many as take some seconds.
        progress: called with (done, all) after each delay of each driver.

    Raises:
        SimulatorError: a process for it does not start.
    """
    before, rows, count = load_average(), list[DelayRow](), calls or calls_at
    lacking = kernel_lacks(probe_kernel())
    drivers = (_proxy, _calls, *(() if lacking else (_kernel,)), _wait, _virtual)
    for driver in drivers:
        for delay in asked_s:
            rows.append(driver(delay, count(delay)))
            progress(len(rows), len(drivers) * len(asked_s))
    return report_of(rows, load_before=before, kernel_lacks=lacking)


def calls_at(delay_s: float) -> int:
    """How many calls are timed at a delay."""
    fit = _SECONDS / (_DELAYS_IN_A_ROUND * delay_s) if delay_s else _MOST
    return int(min(max(fit, _LEAST), _MOST))


def _network(delay_s: float) -> Profile:
    return Profile(
        name=f"{delay_s:g}s", rtt_ms=1e3 * delay_s, down_mbps=None, up_mbps=None, source="asked for"
    )


def _proxy(delay_s: float, calls: int) -> DelayRow:
    with ExitStack() as stack:
        server = stack.enter_context(echo_server())
        channels: list[grpc.Channel] = []
        for profile in (_network(0.0), _network(delay_s)):
            port = stack.enter_context(proxy_before(server, profile))
            channels.append(stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}")))
        times = _asked(_asking(channels), delay_s, calls)
    return reduced("proxy", delay_s, times[:, 0], times[:, 1])


def _calls(delay_s: float, calls: int) -> DelayRow:
    with ExitStack() as stack:
        address = f"127.0.0.1:{stack.enter_context(echo_server())}"
        channels: list[grpc.Channel] = []
        for profile in (_network(0.0), _network(delay_s)):
            channel = stack.enter_context(grpc.insecure_channel(address))
            channels.append(CallNetwork(profile).before(address, channel))
        times = _asked(_asking(channels), delay_s, calls)
    return reduced("calls", delay_s, times[:, 0], times[:, 1])


def _kernel(delay_s: float, calls: int) -> DelayRow:
    with ExitStack() as stack:
        server = stack.enter_context(echo_server())
        asking = [
            stack.enter_context(asking_over_kernel(server, _network(asked_s), len(_PAYLOAD)))
            for asked_s in (0.0, delay_s)
        ]
        times = _asked(asking, delay_s, calls)
    return reduced("kernel", delay_s, times[:, 0], times[:, 1])


def _asking(channels: Sequence[grpc.Channel]) -> list[Asking]:
    stubs: list[grpc.UnaryUnaryMultiCallable[bytes, bytes]] = [
        channel.unary_unary(METHOD) for channel in channels
    ]
    return [lambda stub=stub: _timed(lambda: stub(_PAYLOAD)) for stub in stubs]  # type: ignore[misc]


def _asked(asking: Sequence[Asking], delay_s: float, calls: int) -> Samples:
    """What each says that its calls take, in turn: `(calls, len(asking))`."""
    for ask in asking:
        for _ in range(min(_WARM_UP, calls)):
            ask()
    times = np.empty((calls, len(asking)))
    for call in range(calls):
        for column, ask in enumerate(asking):
            time.sleep(delay_s)
            times[call, column] = ask()
    return times


def _timed(what: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    what()
    return time.perf_counter() - began_s


def _wait(delay_s: float, calls: int) -> DelayRow:
    async def main() -> Samples:
        clock, times = LiveClock(), np.empty((calls, 2))
        for call in range(calls):
            for column, asked in enumerate((0.0, delay_s)):
                began_s = time.perf_counter()
                await clock.wait_until(clock.now() + asked)
                times[call, column] = time.perf_counter() - began_s
        return times

    with asyncio.Runner(loop_factory=FineLoop) as runner:
        times = runner.run(main())
    return reduced("wait", delay_s, times[:, 0], times[:, 1])


def _virtual(delay_s: float, calls: int) -> DelayRow:
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
    return reduced("virtual", delay_s, *found)
