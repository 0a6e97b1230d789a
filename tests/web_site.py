"""The built page behind a real server, which a test may have cut, hold or alter what it sends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from escalade.cli.demo.page_server import PAGE, bound, page_app

#: The library alone, within reach of a test.
HARNESS = PAGE.parents[1] / "build" / "harness"


class Site:
    """A page, an artifact and perhaps a cloud.

    Attributes:
        asked: method, path and Range of each request.
        held: of a path, after how many bytes of its body nothing more is sent.
    """

    def __init__(self, artifact: Path) -> None:
        self.artifact = artifact
        self.asked: list[str] = []
        self.held: dict[str, int] = {}
        self.url = ""
        self.app: Starlette | None = None

    def offer(self, cloud: str | None) -> None:
        """Say which cloud the page is told of from now on."""
        self.app = Starlette(
            routes=[
                Mount("/harness", page_app(HARNESS, self.artifact, cloud)),
                Mount("/", page_app(PAGE, self.artifact, cloud)),
            ]
        )

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        assert self.app is not None
        path = scope["path"]
        ranges = dict(scope["headers"]).get(b"range", b"").decode()
        self.asked.append(f"{path} {ranges}".strip())
        left = self.held.get(path)

        async def cut(message: MutableMapping[str, Any]) -> None:
            nonlocal left
            if left is not None and message["type"] == "http.response.body":
                body = message["body"][:left]
                left -= len(body)
                await send({**message, "body": body, "more_body": True})
                if left <= 0:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    raise asyncio.CancelledError
                return
            await send(message)

        await self.app(scope, receive, cut)


@contextmanager
def serving(artifact: Path) -> Iterator[Site]:
    """A site on a free port of loopback, in a thread of its own."""
    site = Site(artifact)
    at = bound(0)
    site.url = f"http://127.0.0.1:{at.getsockname()[1]}"
    site.offer(None)
    config = uvicorn.Config(
        site,  # type: ignore[arg-type] # as ASGI has it
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([at],), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.should_exit = True
        thread.join(20)
        at.close()


def ready(page: Any) -> str:
    """Wait until the model is open, or cannot be; what is said of it."""
    page.locator("#ask:enabled, #state.error").first.wait_for(timeout=60_000)
    return str(page.inner_text("#state"))


def ask(page: Any, word: str) -> str:
    """Ask as a finger does; who answered, and why."""
    page.fill("#prompt", word)
    page.locator("#who").evaluate("element => { element.textContent = ''; }")
    page.tap("#ask")
    page.locator("#who:not(:empty)").wait_for(timeout=60_000)
    return str(page.inner_text("#who"))
