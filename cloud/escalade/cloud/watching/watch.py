"""Who watches a server, as its operator asks; knows no service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from escalade.cloud.backends import Backend, Clock
from escalade.cloud.certificates import TlsFiles
from escalade.cloud.watching.call import Observer
from escalade.cloud.watching.log import RequestLog, take_over

if TYPE_CHECKING:
    from escalade.cloud.watching.metrics import Metrics
    from escalade.cloud.watching.tracing import Tracing


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """How a server is watched; by default not at all.

    Attributes:
        metrics: `HOST:PORT` where Prometheus reads; None opens no port.
        otlp: `HOST:PORT` of an OpenTelemetry collector; None sends no spans.
        log_requests: a line for each; see `json_lines`.
        log_text: prompts and answers stand in these lines.
        say: told in a line where metrics are read.
    """

    metrics: str | None = None
    otlp: str | None = None
    log_requests: bool = False
    log_text: bool = False
    say: Callable[[str], None] = lambda line: None


class Watch:
    """What watches one server.

    Args:
        options: what an operator asks for.
        tls: of the server, known to load.
        clock: seconds, monotonic.
        beside: see `MetricsPort`.

    Raises:
        StartError: a port or an address is not to be had.
    """

    def __init__(
        self, options: WatchOptions, tls: TlsFiles | None, clock: Clock, *, beside: str
    ) -> None:
        self._options = options
        self._metrics: Metrics | None = None
        self._tracing: Tracing | None = None
        with ExitStack() as opened:
            if options.otlp is not None:
                from escalade.cloud.watching.tracing import Tracing

                self._tracing = opened.enter_context(closing(Tracing(options.otlp)))
            if options.metrics is not None:
                from escalade.cloud.watching.metrics import Metrics
                from escalade.cloud.watching.port import MetricsPort

                self._metrics = Metrics()
                port = MetricsPort(
                    options.metrics, self._metrics.registry, tls, clock, beside=beside
                )
                opened.enter_context(closing(port))
                scheme = "http" if tls is None else "https"
                options.say(f"metrics on {scheme}://{port.address}/metrics")
            #: Closes the port, and sends what spans there are.
            self.close = opened.pop_all().close

    def observers(self, backend: Backend) -> Sequence[Observer]:
        """Who is told of each call, in order; the backend has loaded."""
        watching: list[Observer] = []
        if self._tracing is not None:  # the others may name its spans
            watching.append(self._tracing)
        if self._metrics is not None:
            self._metrics.watch(backend)
            watching.append(self._metrics)
        if self._options.log_requests:
            take_over()
            name = backend.info.model.name
            watching.append(RequestLog(name, text=self._options.log_text))
        return watching
