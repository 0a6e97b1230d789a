"""Fetching by digest, over a real socket: resumed, bounded, and only from where it is safe."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from urllib.request import Request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.artifact.signing import sign
from escalade.edge.errors import ArtifactError, SignatureError, StoreError
from escalade.edge.store.download import fetch, fetch_small
from escalade.edge.store.installation import install
from escalade.edge.store.sources import FolderSource, Source, _CheckedRedirects, source_at
from escalade.edge.store.store import Store

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class FileServer:
    """Serves a folder; breaks off, ignores ranges and redirects as a test tells it to."""

    root: Path
    address: str = ""
    ranges: bool = True
    #: Bytes of a body after which connections break, in turn; then none does.
    breaks: list[int] = field(default_factory=list)
    redirect: str = ""
    #: (path, Range header) of each request.
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent_bytes: int = 0

    def __str__(self) -> str:
        return self.address


def handler_for(files: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            files.asked.append((self.path, self.headers.get("Range", "")))
            path = files.root / self.path.partition("?")[0].lstrip("/")
            if files.redirect:
                self.send_response(302)
                self.send_header("Location", files.redirect + self.path)
                self.end_headers()
                return
            if not path.is_file():
                self.send_error(404)
                return
            content, begins = path.read_bytes(), 0
            if files.ranges and "Range" in self.headers:
                begins = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                if begins >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header(
                    "Content-Range", f"bytes {begins}-{len(content) - 1}/{len(content)}"
                )
            else:
                self.send_response(200)
            body = content[begins:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            body = body[: files.breaks.pop(0)] if files.breaks else body
            files.sent_bytes += len(body)
            self.wfile.write(body)

    return Handler


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    (tmp_path / "served").mkdir()
    served = FileServer(tmp_path / "served")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(served))
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def weights(files: FileServer) -> Path:
    path = files.root / "weights"
    path.write_bytes(CONTENT)
    return path


def get(source: Source, partial: Path, content: bytes = CONTENT) -> list[int]:
    """Fetch `weights`; what progress said, summed."""
    counts: list[int] = []
    total = 0

    def received(count: int) -> None:
        nonlocal total
        total += count
        counts.append(total)

    fetch(source, "weights", len(content), hashlib.sha256(content).hexdigest(), partial, received)
    assert partial.read_bytes() == content
    assert counts[-1] == len(content)
    return counts


def test_a_file_comes_whole_and_says_how_far_it_is(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    counts = get(source_at(str(files)), tmp_path / "partial")
    assert counts == sorted(counts)
    assert len(counts) > 2
    assert files.asked == [("/weights", "")]


def test_what_is_there_is_not_fetched_again(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    partial = tmp_path / "partial"
    partial.write_bytes(CONTENT[:700_000])
    get(source_at(str(files)), partial)
    assert files.asked == [("/weights", "bytes=700000-")]
    assert files.sent_bytes == len(CONTENT) - 700_000
    get(source_at(str(files)), partial)
    assert len(files.asked) == 1


def test_a_broken_connection_is_made_again_where_it_broke(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    files.breaks = [100_000, 300_000, 1]
    get(source_at(str(files)), tmp_path / "partial")
    assert [asked for _, asked in files.asked] == [
        "", "bytes=100000-", "bytes=400000-", "bytes=400001-",
    ]  # fmt: skip
    assert files.sent_bytes == len(CONTENT)


def test_a_server_without_ranges_starts_again(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    files.ranges = False
    files.breaks = [100_000]
    get(source_at(str(files)), tmp_path / "partial")
    assert files.sent_bytes == 100_000 + len(CONTENT)


def test_a_server_without_ranges_that_always_breaks_is_given_up(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    files.ranges = False
    files.breaks = [100_000, 100_000, 100_000, 100_000]
    with pytest.raises(StoreError, match="ended after 100000 of 1048576 bytes; run again"):
        get(source_at(str(files)), tmp_path / "partial")
    assert len(files.asked) == 2


def test_a_partial_file_that_is_wrong_is_fetched_anew(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    partial = tmp_path / "partial"
    for wrong in (b"x" * 1000, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)):
        partial.write_bytes(wrong)
        get(source_at(str(files)), partial)


def test_nothing_beyond_the_listed_size_is_kept(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    weights.write_bytes(CONTENT + b"x" * (4 << 20))
    get(source_at(str(files)), tmp_path / "partial")


def test_other_content_is_refused_and_not_kept(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    weights.write_bytes(CONTENT[::-1])
    with pytest.raises(ArtifactError, match=r"/weights: sha256 \w{12}, the manifest says \w{12}"):
        get(source_at(str(files)), tmp_path / "partial")
    assert not (tmp_path / "partial").exists()


def test_a_shorter_file_or_none_is_refused(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    for source in (source_at(str(files)), FolderSource(files.root)):
        weights.write_bytes(CONTENT[:1000])
        with pytest.raises(StoreError, match="ended after 1000 of 1048576 bytes"):
            get(source, tmp_path / "partial")
        weights.unlink()
        with pytest.raises(ArtifactError, match="weights: missing; the manifest lists it"):
            get(source, tmp_path / "partial")
        (tmp_path / "partial").unlink()


@given(content=st.binary(max_size=300), cut=st.integers(0, 400), junk=st.booleans())
def test_whatever_was_there_the_file_is_right_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int, junk: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "weights").write_bytes(content)
    (folder / "partial").write_bytes(b"?" * cut if junk else content[:cut])
    get(FolderSource(folder), folder / "partial", content)


def test_a_small_file_is_read_no_further_than_its_bound(files: FileServer, weights: Path) -> None:
    source = source_at(str(files))
    assert fetch_small(source, "weights", len(CONTENT)) == CONTENT
    with pytest.raises(ArtifactError, match="/weights: more than 1000 bytes"):
        fetch_small(source, "weights", 1000)
    with pytest.raises(FileNotFoundError):
        fetch_small(source, "nothing", 1000)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("http://example.org/a", "http://example.org/a: must be https; plain http is only for"),
        ("http://127.0.0.1.example.org/", "must be https"),
        ("http://localhost.example.org/", "must be https"),
        ("http://10.0.0.1/a", "must be https"),
        ("ftp://127.0.0.1/a", "must be a folder, or begin with https:// or file://"),
        ("data://text/plain,x", "must be a folder, or begin with https:// or file://"),
        ("https://", "must be a folder, or begin with"),
        ("https://user:secret@example.org/a", "https://example.org/a: a name and password"),
        ("https://[::1/a", "not an address"),
        ("https://host:99999/a", "not an address"),
        ("file://host/a", "must be file:///PATH, a folder of this machine"),
        ("file://artifact", "must be file:///PATH, a folder of this machine"),
    ],
)
def test_an_address_that_is_not_safe_is_refused(place: str, says: str) -> None:
    with pytest.raises(StoreError) as caught:
        source_at(place)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("place", ["http://localhost:1", "http://127.9.9.9:1", "http://[::1]:1"])
def test_plain_http_to_this_machine_is_taken(place: str) -> None:
    assert str(source_at(place)) == place


@pytest.mark.parametrize("target", ["http://example.org", "file:///etc", "ftp://127.0.0.1"])
def test_a_redirection_leads_nowhere_unsafe(files: FileServer, target: str) -> None:
    files.redirect = target
    with pytest.raises(StoreError, match="must be|not allowed"):
        fetch_small(source_at(str(files)), "weights", 1000)


@pytest.mark.parametrize("target", ["http://127.0.0.1/a", "http://localhost/a"])
def test_https_redirects_to_https_alone(target: str) -> None:
    redirects, headers = _CheckedRedirects(), HTTPMessage()
    request = Request("https://example.org/a")
    with pytest.raises(StoreError, match=f"{target}: a redirection from https must lead to"):
        redirects.redirect_request(request, BytesIO(), 302, "Found", headers, target)
    to = "https://example.net/a"
    followed = redirects.redirect_request(request, BytesIO(), 302, "Found", headers, to)
    assert followed is not None
    assert followed.full_url == to


def test_a_redirection_within_what_is_safe_is_followed_and_a_loop_ends(
    files: FileServer, weights: Path
) -> None:
    files.redirect = files.address
    with pytest.raises(StoreError, match="HTTP 302"):
        fetch_small(source_at(str(files)), "weights", 1000)


def test_a_query_goes_with_every_request_and_into_no_message(
    files: FileServer, weights: Path, tmp_path: Path
) -> None:
    source = source_at(f"{files}/?token=secret")
    get(source, tmp_path / "partial")
    assert files.asked == [("/weights?token=secret", "")]
    weights.write_bytes(b"other")
    with pytest.raises(ArtifactError) as caught:
        fetch_small(source, "weights", 1)
    assert "secret" not in str(caught.value)


def test_nobody_there_is_said_in_one_line(files: FileServer) -> None:
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9/x: cannot be fetched: .*refused"):
        fetch_small(source_at("http://127.0.0.1:9"), "x", 1)
    with pytest.raises(StoreError, match="cannot be fetched"):
        fetch_small(source_at(f"{files}/a b\n"), "x", 1)


# Whole artifacts, over the same server.


@pytest.fixture
def served(files: FileServer, float_artifact: Path) -> Path:
    shutil.copytree(float_artifact, files.root, dirs_exist_ok=True)
    return files.root


def test_an_artifact_is_installed_over_http_and_the_rest_of_it_resumed(
    files: FileServer, served: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    half = (served / "model.onnx.data").stat().st_size // 2
    # manifest.json whole; no model.sig; then files in the manifest's order.
    files.breaks = [1 << 30, 1 << 30, half, 0]
    with pytest.raises(StoreError, match=rf"model\.onnx\.data: ended after {half} of"):
        install(str(files), store)
    assert Store(store).current is None
    before = files.sent_bytes
    files.breaks = []
    done = install(str(files), store)
    assert Store(store).current == done.id
    sizes = {path.name: path.stat().st_size for path in served.iterdir()}
    rest = sizes["model.onnx.data"] - half + sizes["tokenizer.json"]
    assert done.fetched_bytes == rest
    assert files.sent_bytes - before == rest + sizes["manifest.json"]


def test_with_a_key_nothing_but_manifest_and_signature_is_fetched_before_the_check(
    files: FileServer, served: Path, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    keys = []
    for name in ("owner", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        (tmp_path / f"{name}.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        keys.append(tmp_path / f"{name}.pub")
        keys[-1].write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
    store = tmp_path / "store"
    with pytest.raises(SignatureError, match=r"not signed: it has no model\.sig"):
        install(str(files), store, trusted_key=keys[0])
    sign(served, tmp_path / "other.pem")
    with pytest.raises(SignatureError, match="Key mismatch"):
        install(str(files), store, trusted_key=keys[0])
    assert {path for path, _ in files.asked} == {"/manifest.json", "/model.sig"}
    assert not store.exists()
    sign(served, tmp_path / "owner.pem")
    assert install(str(files), store, trusted_key=keys[0]).signature_checked
    assert (store / "current" / "model.sig").is_file()
