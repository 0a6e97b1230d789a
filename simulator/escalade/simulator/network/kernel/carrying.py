"""Keeps a kernel's network going in a thread: relays to the server, follows what varies.

Knows namespaces by the command that enters one; makes none.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from escalade.simulator.errors import KernelError
from escalade.simulator.network.kernel.moments import Moment, Moments
from escalade.simulator.network.profiles import Profile
from escalade.simulator.network.proxy import Proxy
from escalade.v1.address import Address

#: A network that varies is looked at so often.
STEP_S = 0.01

_RELAY = Profile(name="relay", rtt_ms=0, source="no delay")


@contextmanager
def relaying(
    listening: socket.socket, upstream: Address, on_trouble: Callable[[str], None]
) -> Iterator[None]:
    """Relay what comes to a socket that listens, to the server and back."""
    proxy = Proxy(
        _RELAY, Address("", 0), upstream, on_trouble=on_trouble, listening=listening
    )  # fmt: skip

    async def relay(ready: Callable[[], None], stop: asyncio.Event) -> None:
        async with proxy:
            ready()
            await stop.wait()

    with _in_thread(relay):
        yield


@contextmanager
def following(moments: Moments, tellers: Sequence[Teller]) -> Iterator[None]:
    """Tell the ends' queues what the network has become, whenever it is another."""

    async def follow(ready: Callable[[], None], stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        begins_s, told = loop.time(), moments.at(0.0)
        ready()
        while not stop.is_set():
            await asyncio.sleep(STEP_S)
            now = moments.at(loop.time() - begins_s)
            if now != told:
                told = now
                for teller in tellers:
                    teller.tell(now)

    with _in_thread(follow):
        yield


class Teller:
    """A `tc` that stays and takes a line for each change, as a context manager."""

    def __init__(
        self, entering: Sequence[str], line: Callable[[Moment], str], env: Mapping[str, str]
    ) -> None:
        """Take what it is; nothing runs before it is entered.

        Args:
            entering: the command that enters the namespace of one end.
            line: a line of `tc -batch` that makes of the end's queue what it is at a moment.
            env: beside this process's own.
        """
        self._command = [*entering, "tc", "-batch", "-"]
        self._line = line
        self._env = {**os.environ, **env}
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Teller:
        """Start it."""
        self._process = subprocess.Popen(  # noqa: S603 - a command of ours
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=self._env
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Let it read to the end, and wait for it."""
        self._process.communicate()

    def tell(self, now: Moment) -> None:
        """Change the queue for packets to come; those under way keep their times.

        Raises:
            KernelError: tc has ended; it says why itself.
        """
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        try:
            self._process.stdin.write(f"{self._line(now)}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise KernelError("tc has ended while a network was followed") from None


@contextmanager
def _in_thread(
    run: Callable[[Callable[[], None], asyncio.Event], Coroutine[object, object, None]],
) -> Iterator[None]:
    """Run a coroutine in a thread of its own until the block ends; what it raises is raised."""
    is_ready, failed = threading.Event(), list[BaseException]()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def body() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(run(is_ready.set, stop))
        except BaseException as error:
            failed.append(error)
        finally:
            is_ready.set()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    is_ready.wait()
    try:
        if not failed:
            yield
    finally:
        with suppress(RuntimeError):  # its loop is closed: it has failed
            loop.call_soon_threadsafe(stop.set)
        thread.join()
    if failed:
        raise failed[0]
