"""What the demo's proxies make of the delays that they are asked for; asks no cascade."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from escalade.cli.output import Tick
from escalade.simulator.network import get_profile, profiles_with
from escalade.simulator.timing import ClockReport, few_calls_at, joined, measure_delays


class Delays:
    """Times proxies at the round trips of networks, in the run that asks over them."""

    def __init__(self) -> None:
        """Time nothing yet."""
        self._found: list[ClockReport] = []

    def time(self, *profiles: str, progress: Tick) -> None:
        """Time these now, while nothing else runs."""
        self._found.append(_timed(profiles, progress=progress))

    @contextmanager
    def beside(self, profile: str) -> Iterator[None]:
        """Time one while the block runs: of a network whose waits dwarf what they cost."""
        ended = threading.Event()

        def pause(seconds: float) -> None:
            if ended.wait(seconds):
                raise RuntimeError("the demo has ended")

        with ThreadPoolExecutor(1) as pool:
            timed = pool.submit(_timed, (profile,), pause)
            try:
                yield
                self._found.append(timed.result())
            finally:
                ended.set()  # Ctrl-C waits for a call, not for all of them

    def report(self) -> ClockReport:
        """What was timed, at least one."""
        return joined(self._found)


def _timed(
    profiles: Sequence[str],
    pause: Callable[[float], None] = time.sleep,
    progress: Tick = lambda done, total: None,
) -> ClockReport:
    known = profiles_with(None)
    asked_s = sorted(get_profile(name, known).rtt_ms / 1e3 for name in profiles)
    return measure_delays(
        asked_s, drivers=("proxy",), calls=few_calls_at, pause=pause, progress=progress
    )
