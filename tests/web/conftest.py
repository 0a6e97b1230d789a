"""A Chromium of this machine as phones are, the built page, and a real cloud."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from web_site import PAGE, Site, serving

REPO = Path(__file__).resolve().parents[2]
CHECKPOINTS = REPO / "training" / "checkpoints"

#: What Chromium says of a page that was refused something on purpose.
EXPECTED = ("net::ERR_", "Failed to load resource")


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """Playwright with the Chromium that is there."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("no Chromium on this machine (Debian: apt install chromium)")
    if not (PAGE / "index.html").is_file():
        pytest.fail(f"{PAGE}: not built; run `make web`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, as in most containers, its sandbox does not start; pages are our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield playwright, browser
        browser.close()


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled small model as the demo exports and calibrates it. Copy it before changing it."""
    from rich.console import Console

    from escalade.cli.demo.web import prepared

    out = tmp_path_factory.mktemp("demo")
    return prepared(CHECKPOINTS / "small-cat-xent", out, 0.4, Console(quiet=True))


@pytest.fixture
def site(bundled: Path, tmp_path: Path) -> Iterator[Site]:
    """The page with an artifact of its own, and no cloud until one is offered."""
    artifact = tmp_path / "artifact"
    shutil.copytree(bundled, artifact)
    with serving(artifact) as one:
        yield one


@pytest.fixture(scope="module")
def clouded(bundled: Path) -> Iterator[Site]:
    """The page with the bundled large model above it: `escalade serve --web`, a process."""
    from escalade.cli.demo.processes import running

    with serving(bundled) as one:
        serve = ("serve", str(CHECKPOINTS / "large"), "--listen", "127.0.0.1:0", "--threads", "1")
        web = ("--web", "127.0.0.1:0", "--allow-origin", one.url)
        with running("the cloud server", *serve, *web) as cloud:
            one.offer(cloud)
            yield one


Opened = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def opened(engine: Any) -> Opened:
    """`(url, device, **options)`: a page on a phone; it must complain of nothing."""
    playwright, browser = engine

    @contextmanager
    def open_page(
        url: str, device: str = "Pixel 7", *, complains: bool = False, **options: Any
    ) -> Iterator[Any]:
        settings = {**playwright.devices[device], **options}
        settings.pop("default_browser_type")
        context = browser.new_context(**settings)
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url)
        yield page
        context.close()
        if not complains:
            assert [one for one in said if not any(word in one for word in EXPECTED)] == []

    return open_page
