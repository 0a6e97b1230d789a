"""Pages read back, and opened in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

#: Of a phone in the hand, with a finger for a mouse; and of a window on a desk.
SIZES: dict[str, dict[str, Any]] = {
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 3,
        "is_mobile": True,
        "has_touch": True,
    },
    "desk": {"viewport": {"width": 1280, "height": 900}},
}

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects texts outside scripts, attributes, and whether every tag is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "data", "action"}:
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        where = self.scripts if "script" in self.open else self.texts
        where.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="session")
def read_page() -> type[Page]:
    """Reads a page's source; every tag must be closed."""
    return Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The Chromium of this machine, without a window."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, as in most containers, its sandbox does not start; pages are our own.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any) -> Callable[..., AbstractContextManager[Any]]:
    """`(path, size, **options)`: the page, from disk; it must complain of nothing, ask for nothing.

    Options are those of playwright's `new_context`.
    """

    @contextmanager
    def open_page(path: Path, size: str, **options: Any) -> Iterator[Any]:
        context = browser.new_context(**SIZES[size], **options)
        page = context.new_page()
        complaints: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        yield page
        assert complaints == []
        assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
        context.close()

    return open_page
