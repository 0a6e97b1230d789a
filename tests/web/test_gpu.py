"""By WebGPU, whose adapter here is a program: the same tokens and scores, keys and values on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_answers import check_answers_as_in_python
from web_site import serving

from escalade.edge import Artifact

pytestmark = pytest.mark.web

_ARGUMENTS = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
_PROMPTS = ("g2p: cascade", "p2g: K AE T", "stress: banana", "g2p: chihuahua")
_TOKENS = 10


@pytest.fixture
def adapted(engine: Any) -> Iterator[Any]:
    """A Chromium with SwiftShader's adapter, which has no float16."""
    playwright, _ = engine
    browser = playwright.chromium.launch(
        executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
        args=["--no-sandbox", *_ARGUMENTS, "--enable-features=Vulkan"],
    )
    yield browser
    browser.close()


def opened(browser: Any, url: str, provider: str) -> tuple[Any, dict[str, Any]]:
    page = browser.new_page()
    page.goto(f"{url}/harness/")
    if not page.evaluate("navigator.gpu ? navigator.gpu.requestAdapter().then(Boolean) : false"):
        pytest.skip("this Chromium has no adapter for WebGPU")
    options = f"{{artifact: 'artifact/', runtime: 'ort/', provider: '{provider}'}}"
    return page, page.evaluate(f"openDevice({options})")


def test_a_gpu_gives_what_the_processor_gives(adapted: Any, float_artifact: Path) -> None:
    with serving(float_artifact) as site:
        page, told = opened(adapted, site.url, "webgpu")
        assert told["provider"] == "webgpu"
        check_answers_as_in_python(page, Artifact.open(float_artifact), _PROMPTS, _TOKENS)


def test_where_the_gpu_lacks_something_the_processor_runs_it(adapted: Any, bundled: Path) -> None:
    with serving(bundled) as site:
        _, told = opened(adapted, site.url, "auto")
        assert told["provider"] == "wasm", "its float16 is not for this adapter"


def test_without_a_gpu_auto_is_the_processor(engine: Any, bundled: Path) -> None:
    _, browser = engine
    with serving(bundled) as site:
        page = browser.new_page()
        page.goto(f"{site.url}/harness/")
        options = "{artifact: 'artifact/', runtime: 'ort/', provider: 'auto'}"
        assert page.evaluate(f"openDevice({options})")["provider"] == "wasm"
        page.close()
