"""Runs a proxy in the main thread until a signal, and writes what went through; knows no bytes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from escalade.edge.base import atomic_write
from escalade.edge.errors import DataError
from escalade.simulator.errors import ProxyError
from escalade.simulator.network.clock import FineLoop
from escalade.simulator.network.profiles import Profile, Profiles
from escalade.simulator.network.proxy.control import Control
from escalade.simulator.network.proxy.control_port import ControlPort
from escalade.simulator.network.proxy.proxy import Counters, Proxy
from escalade.v1.address import Address, is_loopback, parse_address

_STATS_EVERY_S = 0.2


def run_proxy(
    profile: Profile,
    listen: str,
    upstream: str,
    *,
    seed: int,
    on_ready: Callable[[str, int], None],
    on_trouble: Callable[[str], None] = lambda line: None,
    stats_path: Path | None = None,
    control: str | None = None,
    known: Profiles | None = None,
    on_control: Callable[[Address], None] = lambda address: None,
) -> None:
    """Run a proxy until SIGTERM or SIGINT; for the main thread.

    Args:
        profile: the network.
        listen: `HOST:PORT` or `:PORT` (loopback); port 0 takes a free one.
        upstream: where the cloud listens.
        seed: of jitter and loss.
        on_ready: called with the real host and port once it listens.
        on_trouble: told in one line, once, what goes wrong while it goes on.
        stats_path: kept up to date with the counters as one JSON object, renamed whole:
            at the start, at most every 0.2 s on a change, and at the end. Between start and end
            one that cannot be written is left out.
        control: `HOST:PORT` or `:PORT`, loopback, where the network is changed over HTTP; None is
            nowhere.
        known: profiles that it may be changed to; None is those that come with the package.
        on_control: called after `on_ready` with where control is.

    Raises:
        ProxyError: an address is bad, or a port is in use.
        DataError: the stats cannot be written.
        OSError: there is no room for them, at the start or at the end.
    """
    proxy = Proxy(
        profile,
        _address("listen", listen, 0),
        _address("upstream", upstream, 1),
        seed=seed,
        on_trouble=on_trouble,
    )
    at = None if control is None else _control_address(control)

    def ready(there: ControlPort | None) -> None:
        on_ready(*proxy.address)
        if there is not None:
            on_control(there.address)

    with asyncio.Runner(loop_factory=FineLoop) as runner:
        runner.run(_run(proxy, ready, stats_path, at, known))


def _address(which: str, text: str, least_port: int) -> Address:
    try:
        return parse_address(text, least_port=least_port, default_host="127.0.0.1")
    except ValueError as error:
        raise ProxyError(f"{which} address {error}") from error


def _control_address(text: str) -> Address:
    address = _address("control", text, 0)
    if not is_loopback(address.host):
        raise ProxyError(
            f"control address must be loopback (localhost, 127.0.0.1, [::1]); got {text!r}"
        )
    return address


async def _run(
    proxy: Proxy,
    on_ready: Callable[[ControlPort | None], None],
    stats_path: Path | None,
    control: Address | None,
    known: Profiles | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with proxy, _controlled(proxy, control, known) as port:
        written = await _write_stats(stats_path, proxy.counters)
        on_ready(port)
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _STATS_EVERY_S if stats_path else None)
            if proxy.counters != written:
                # Without descriptors or room there is no file either; the traffic goes on.
                with suppress(DataError, OSError):
                    written = await _write_stats(stats_path, proxy.counters)
    if proxy.counters != written:
        await _write_stats(stats_path, proxy.counters)


@asynccontextmanager
async def _controlled(
    proxy: Proxy, at: Address | None, known: Profiles | None
) -> AsyncIterator[ControlPort | None]:
    if at is None:
        yield None
        return
    port = ControlPort(at, Control(proxy, known), asyncio.get_running_loop())
    try:
        yield port
    finally:
        # In a thread: a request that is under way needs the loop to end.
        await asyncio.to_thread(port.close)


async def _write_stats(path: Path | None, counters: Counters) -> Counters:
    if path is not None:
        # In a thread: a slow disk must not hold up the traffic.
        await asyncio.to_thread(_write_json, path, counters)
    return counters


def _write_json(path: Path, counters: Counters) -> None:
    with atomic_write(path) as stream:
        stream.write(msgspec.json.encode(counters) + b"\n")
