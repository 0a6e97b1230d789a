"""Serves in a process's main thread until a signal ends it; knows no RPC."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

from escalade.cloud.backends import BackendFactory
from escalade.cloud.rereading import read_all_now
from escalade.cloud.server.options import ServeOptions
from escalade.cloud.server.serving import OnLoading, OnReady, serve

# How long the thread that computes may keep the interpreter from the event loop, each time that the
# loop has looked for news: 5 ms by default, many times over before a refusal is out.
_SWITCH_S = 5e-4

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_server(
    make_backend: BackendFactory,
    options: ServeOptions | None = None,
    *,
    on_loading: OnLoading = lambda: None,
    on_ready: OnReady = lambda address: None,
    on_web: OnReady = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return; for a process's main thread.

    A second signal ends the process at once, and so does one that comes while the model
    still loads: nothing is lost then. On SIGHUP tokens and certificates are read again.

    Args:
        make_backend: see `serve`; e.g. `escalade.cloud.backends.transformers_factory(model)`.
        options: see `ServeOptions`; None is all defaults.
        on_loading: see `serve`.
        on_ready: told the address, with its real port, once requests are answered.
        on_web: see `serve`.

    Raises:
        StartError: the port, a certificate, the tokens or the model is not to be had.
    """
    # A bare call takes a tenth less processor time than on asyncio's own loop, a streamed message
    # a fifth (benchmarks/cloud/framework.py). Here, for Windows has neither it nor these signals.
    import uvloop

    previous = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGHUP)}
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    try:
        uvloop.run(
            _serve_until_signal(
                make_backend, options or ServeOptions(), on_loading, on_ready, on_web
            )
        )
    finally:
        sys.setswitchinterval(switch_s)
        for number, handler in previous.items():
            signal.signal(number, handler)


async def _serve_until_signal(
    make_backend: BackendFactory,
    options: ServeOptions,
    on_loading: OnLoading,
    on_ready: OnReady,
    on_web: OnReady,
) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, read_all_now)
    stop = asyncio.Event()

    def on_signal() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    def ready(address: str) -> None:
        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
        # What was loaded is for good. Each time that the collector looked through it, no answer
        # went out for 45 ms with 50,000 objects, and 155 ms with 150,000.
        gc.collect()
        gc.freeze()
        on_ready(address)

    await serve(
        make_backend, options, stop=stop, on_loading=on_loading, on_ready=ready, on_web=on_web
    )
