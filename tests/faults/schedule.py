"""What goes wrong, and when: seeded; knows no request."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM

from faults.processes import Process
from faults.relay import Relay

# Seconds between the end of a fault and the next, and how long one that lasts does.
_QUIET_S, _LASTS_S = (0.5, 4.0), (0.2, 4.0)
_GARBAGE_BYTES, _GARBAGE_SOCKETS = 4096, 8


class JumpingClock:
    """A device's clock; it jumps when the device has slept. See `escalade.edge.base.Clock`."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def jump(self, seconds: float) -> None:
        """Let time have passed."""
        self._ahead_s += seconds

    def now_s(self) -> float:
        """Seconds, never going back."""
        return time.perf_counter() + self._ahead_s

    def sleep_s(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


@dataclass(frozen=True)
class House:
    """What may fail."""

    server: Process
    gateway: Process
    #: From devices to the gateway, from the gateway to the server, from devices to the server.
    links: Sequence[Relay]
    clock: JumpingClock


@dataclass(frozen=True)
class Happened:
    """A fault that was."""

    name: str
    began_s: float
    healed_s: float


def faults(house: House, dice: random.Random) -> dict[str, Callable[[], None]]:
    """What can go wrong, by name; each returns when it is over."""

    def restarted(process: Process, number: int) -> None:
        process.send(number)  # type: ignore[arg-type]
        process.wait()
        process.start()

    def paused(process: Process) -> None:
        process.send(SIGSTOP)
        time.sleep(dice.uniform(*_LASTS_S))
        process.send(SIGCONT)

    def engine_killed() -> None:
        house.server.send_engine(SIGKILL)
        house.server.wait_for_engine()

    def engine_paused() -> None:
        house.server.send_engine(SIGSTOP)
        time.sleep(dice.uniform(*_LASTS_S))
        house.server.send_engine(SIGCONT)

    def stalled(link: Relay) -> None:
        link.stall()
        time.sleep(dice.uniform(*_LASTS_S))
        link.resume()

    def garbage() -> None:
        for _ in range(_GARBAGE_SOCKETS):
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", house.server.port)) as one,
            ):
                one.sendall(dice.randbytes(_GARBAGE_BYTES))

    def link() -> Relay:
        return dice.choice(house.links)

    return {
        "server killed": lambda: restarted(house.server, SIGKILL),
        "server paused": lambda: paused(house.server),
        "server drained": lambda: restarted(house.server, SIGTERM),
        "engine killed": engine_killed,
        "engine paused": engine_paused,
        "gateway killed": lambda: restarted(house.gateway, SIGKILL),
        "gateway paused": lambda: paused(house.gateway),
        "gateway drained": lambda: restarted(house.gateway, SIGTERM),
        "connections reset": lambda: link().reset(),
        "connections forgotten": lambda: link().forget(),
        "link stalled": lambda: stalled(link()),
        "bytes corrupted": lambda: link().corrupt(),
        "garbage sent": garbage,
        "clock jumped": lambda: house.clock.jump(dice.uniform(1, 3600)),
    }


def disturb(house: House, seed: int, over: threading.Event) -> list[Happened]:
    """Fault after fault, each kind once before any comes again, until it is over."""
    dice = random.Random(seed)
    kinds = faults(house, dice)
    happened: list[Happened] = []
    round_of: list[str] = []
    while not over.wait(dice.uniform(*_QUIET_S)):
        if not round_of:
            round_of = dice.sample(sorted(kinds), len(kinds))
        name, began_s = round_of.pop(), time.perf_counter()
        kinds[name]()
        happened.append(Happened(name, began_s, time.perf_counter()))
    return happened
