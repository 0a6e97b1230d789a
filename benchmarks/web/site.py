"""The library without a page, behind a server on loopback; measures nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from escalade.cli.demo.page_server import bound, page_app

_WEB = Path(__file__).parents[2] / "edge" / "web"
PAGE = _WEB / "dist" / "page"
HARNESS = _WEB / "build" / "harness"
_STOP_S = 20.0


@contextmanager
def serving(artifact: Path) -> Iterator[str]:
    """Its URL, until the block ends."""
    at = bound(0)
    config = uvicorn.Config(
        page_app(HARNESS, artifact, None), http="h11", ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([at],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{at.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(_STOP_S)
        at.close()
