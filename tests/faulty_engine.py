"""Is imported in an engine's process, and has it end or fall sick where a prompt says so."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator

from escalade.cloud.backends import Delta, Query, Ticket
from escalade.cloud.backends.embedded.batched import BatchedBackend

#: Of the prompt that ends the process.
FATAL = "stress: fatal"
#: Of the prompt after which it says that it is not well.
SICKENING = "stress: sickening"


def install() -> None:
    """Change the backend."""
    generate = BatchedBackend.generate

    async def fatal(
        self: BatchedBackend, query: Query, ticket: Ticket
    ) -> AsyncGenerator[Delta, None]:
        if query.prompt_text == FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        if query.prompt_text == SICKENING:
            self.health = lambda: False  # type: ignore[method-assign]
        async for delta in generate(self, query, ticket):
            yield delta

    BatchedBackend.generate = fatal  # type: ignore[method-assign]
