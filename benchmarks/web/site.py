"""The library in headless Chromium, behind a server on loopback; measures nothing."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from escalade.cli.demo.page_server import bound, page_app

_WEB = Path(__file__).parents[2] / "edge" / "web"
PAGE = _WEB / "dist" / "page"
HARNESS = _WEB / "build" / "harness"
_STOP_S = 20.0
_OPEN_MS = 120_000


@contextmanager
def driven(artifact: Path, threads: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A page of Chromium with an artifact open in its worker, and what it says of that."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("needs Chromium (Debian: apt install chromium)")
    if not (HARNESS / "index.html").is_file():
        sys.exit(f"{HARNESS}: not built; run `make web`")
    with _serving(artifact) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(_OPEN_MS)
        page.goto(url)
        opened = page.evaluate(
            "threads => openDevice({artifact: 'artifact/', runtime: 'ort/', threads})", threads
        )
        if opened["threads"] != threads:
            sys.exit(f"asked for {threads} threads, Chromium has {opened['threads']}")
        yield page, opened
        browser.close()


@contextmanager
def _serving(artifact: Path) -> Iterator[str]:
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
