"""What a browser keeps: offline after the first load, resumed downloads, nothing altered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from web_site import Site, ask, ready, serving

pytestmark = pytest.mark.web

WEIGHTS = "/artifact/model.onnx.data"


def kept_by_worker(page: Any) -> None:
    """Wait until the service worker has the page's files."""
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.reload()
    ready(page)


def test_the_page_works_offline_after_the_first_load(opened: Any, site: Site) -> None:
    with opened(site.url, "iPhone 13") as page:
        assert "bytes fetched" in ready(page)
        kept_by_worker(page)
        page.context.set_offline(True)
        page.reload()
        assert "kept from the last visit" in ready(page)
        assert "Answered by this device" in ask(page, "cascade")
        assert page.evaluate("crossOriginIsolated"), "threads, offline too"


def test_an_artifact_is_fetched_once(opened: Any, site: Site) -> None:
    with opened(site.url) as page:
        ready(page)
        page.reload()
        assert "kept from the last visit" in ready(page)
        assert site.asked.count(WEIGHTS) == 1


def test_a_tab_that_was_killed_goes_on_where_it_ended(opened: Any, engine: Any, site: Site) -> None:
    _, browser = engine
    context = browser.new_context()
    site.held[WEIGHTS] = 100_000
    first = context.new_page()
    first.goto(site.url)
    # The bar is full for each smaller file before.
    first.locator("#progress").evaluate(
        "async element => { while (element.value < 0.4 || element.value > 0.5)"
        " await new Promise(requestAnimationFrame); }"
    )
    first.close()
    site.held.clear()
    second = context.new_page()
    second.goto(site.url)
    said = ready(second)
    context.close()
    assert "parameters" in said
    ranges = [one for one in site.asked if one.startswith(f"{WEIGHTS} bytes=")]
    assert len(ranges) == 1
    assert 0 < int(ranges[0].split("=")[1].rstrip("-")) <= 100_000


def test_a_tampered_artifact_is_refused(opened: Any, site: Site) -> None:
    path = site.artifact / "model.onnx.data"
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)
    with opened(site.url) as page:
        said = ready(page)
        assert "cannot be opened" in said
        assert "model.onnx.data: altered: sha256" in said
        assert page.is_disabled("#ask")


def test_a_program_that_answers_something_else_is_refused(opened: Any, site: Site) -> None:
    path = site.artifact / "manifest.json"
    manifest = json.loads(path.read_text())
    for golden in manifest["golden"]:
        golden["token_ids"] = [*golden["token_ids"][:-2], 3, golden["token_ids"][-1]]
    path.write_text(json.dumps(manifest))
    with opened(site.url) as page:
        assert "the manifest says" in ready(page)


@pytest.mark.parametrize("altered", [False, True])
def test_where_kernels_round_otherwise_given_tokens_are_held(
    opened: Any, int8_artifact: Path, tmp_path: Path, altered: bool
) -> None:
    artifact = tmp_path / "int8"
    shutil.copytree(int8_artifact, artifact)
    path = artifact / "manifest.json"
    manifest = json.loads(path.read_text())
    for golden in manifest["golden"] if altered else ():
        golden["token_ids"] = [one + 1 for one in golden["token_ids"]]
    path.write_text(json.dumps(manifest))
    with serving(artifact) as one, opened(one.url) as page:
        said = ready(page)
        assert ("parameters" in said) is not altered
        assert ("gave NLL" in said) is altered


def test_a_manifest_that_is_not_the_pinned_one_is_refused(opened: Any, site: Site) -> None:
    with opened(f"{site.url}/harness/") as page:
        said = page.evaluate(
            "openDevice({artifact: 'artifact/', runtime: 'ort/', manifestSha256: 'ab'.repeat(32)})"
            ".then(() => 'opened', error => `${error.name}: ${error.message}`)"
        )
        assert said.startswith("ArtifactError")
        assert "sha256" in said


def test_a_storage_that_was_cleared_is_filled_again(opened: Any, site: Site) -> None:
    with opened(site.url) as page:
        ready(page)
        devtools = page.context.new_cdp_session(page)
        devtools.send("Storage.clearDataForOrigin", {"origin": site.url, "storageTypes": "all"})
        assert "Answered by this device" in ask(page, "cascade"), "what is open stays open"
        page.reload()
        assert "bytes fetched" in ready(page)
        assert site.asked.count(WEIGHTS) == 2


def test_a_full_storage_is_said_and_the_model_answers(opened: Any, site: Site) -> None:
    with opened(f"{site.url}/demo.json") as page:
        devtools = page.context.new_cdp_session(page)
        devtools.send("Storage.overrideQuotaForOrigin", {"origin": site.url, "quotaSize": 50_000})
        page.goto(site.url)
        assert "parameters" in ready(page)
        assert "Not kept for the next visit" in page.inner_text("#about")
        assert "Answered by this device" in ask(page, "cascade")
