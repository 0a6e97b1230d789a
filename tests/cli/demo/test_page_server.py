"""What serves the browser's page: its headers, its files and nothing else; needs no node."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from escalade.cli.demo.page_server import bound, check_page, headers_of, page_app
from escalade.cli.errors import DemoError, MissingError

CLOUD = "http://127.0.0.1:50443"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page as `make web` builds it, in small."""
    folder = tmp_path / "page"
    (folder / "ort").mkdir(parents=True)
    for name in ("index.html", "main.js", "worker.js", "sw.js", "ort/ort-wasm-simd-threaded.wasm"):
        (folder / name).write_text(name)
        (folder / f"{name}.gz").write_bytes(gzip.compress(name.encode()))
    return folder


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    (tmp_path / "secret").write_text("not for pages")
    return folder


def test_files_have_their_types_and_a_policy(page: Path, artifact: Path) -> None:
    with TestClient(page_app(page, artifact, CLOUD)) as client:
        for path, kind in {
            "/": "text/html; charset=utf-8",
            "/main.js": "text/javascript; charset=utf-8",
            "/ort/ort-wasm-simd-threaded.wasm": "application/wasm",
            "/artifact/manifest.json": "application/json",
        }.items():
            response = client.get(path)
            assert response.status_code == 200, path
            assert response.headers["content-type"] == kind
            assert response.headers["cross-origin-opener-policy"] == "same-origin"
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';")
            assert f"connect-src 'self' {CLOUD};" in policy
        assert client.get("/demo.json").json() == {"artifact": "artifact/", "cloud": {"url": CLOUD}}


def test_without_a_cloud_nobody_else_may_be_asked(page: Path, artifact: Path) -> None:
    assert "connect-src 'self';" in headers_of(None)["content-security-policy"]
    with TestClient(page_app(page, artifact, None)) as client:
        assert client.get("/demo.json").json()["cloud"] is None


def test_what_was_compressed_is_sent_so_and_parts_are_of_the_file(
    page: Path, artifact: Path
) -> None:
    with TestClient(page_app(page, artifact, CLOUD)) as client:
        packed = client.get("/main.js", headers={"accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.text == "main.js"
        plain = client.get("/main.js", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        part = client.get("/main.js", headers={"range": "bytes=5-", "accept-encoding": "gzip"})
        assert (part.status_code, part.text) == (206, "js")


@pytest.mark.parametrize(
    "path", ["/nothing.js", "/artifact/../secret", "/artifact/%2e%2e%2fsecret", "/..%2fsecret"]
)
def test_nothing_else_is_served(page: Path, artifact: Path, path: str) -> None:
    with TestClient(page_app(page, artifact, CLOUD)) as client:
        response = client.get(path)
        assert response.status_code == 404
        assert "not for pages" not in response.text


def test_a_page_that_is_not_built_says_how_to_get_it(page: Path) -> None:
    check_page(page)
    (page / "sw.js").unlink()
    with pytest.raises(MissingError, match=r"sw\.js is missing\); run `make web`.*--page"):
        check_page(page)


def test_a_taken_port_is_one_line() -> None:
    with bound(0) as at, pytest.raises(DemoError, match="cannot be bound"):
        bound(at.getsockname()[1])
