"""Where a server may be, and who may read its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.cloud.backends import openai_factory
from escalade.cloud.backends.openai.server import endpoint_of
from escalade.cloud.errors import ModelError


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://localhost:8000/v1/",
        "http://[::1]:8000/v1",
        "https://api.example.com/v1",
        "https://api.example.com:8443/openai",
    ],
)
def test_a_url_is_taken(url: str) -> None:
    endpoint = endpoint_of(url, None)
    assert endpoint.url == url.rstrip("/")
    assert endpoint.on_this_machine == ("example" not in url)
    assert not endpoint.root.endswith("/v1")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://api.example.com/v1", "off loopback it must be https://"),
        ("http://127.0.0.1.example.com/v1", "off loopback it must be https://"),
        ("127.0.0.1:8000/v1", "must be https://HOST"),
        ("", "must be https://HOST"),
        ("ftp://127.0.0.1/v1", "must be https://HOST"),
        ("http:///v1", "must be https://HOST"),
        ("http://127.0.0.1:99999/v1", "must be https://HOST"),
        ("http://[::1/v1", "must be https://HOST"),
        ("https://\u00e4pi.example/v1", "in plain ASCII"),
        ("https://api.example/v1 /x", "in plain ASCII"),
        ("https://user:hunter2@api.example/v1", "a user or a password in the URL"),
        ("https://api.example/v1?key=hunter2", "a query or a fragment in the URL"),
        ("https://api.example/v1#hunter2", "a query or a fragment in the URL"),
    ],
)
def test_a_url_is_refused_in_one_line_without_its_secrets(url: str, says: str) -> None:
    with pytest.raises(ModelError) as refusal:
        openai_factory(url)
    line = str(refusal.value)
    assert line.startswith("openai:")
    assert says in line
    assert "hunter2" not in line
    assert len(line.splitlines()) == 1


def test_a_key_is_read_and_shown_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-secret\n")
    path.chmod(0o640)
    endpoint = endpoint_of("https://api.example.com/v1", path)
    assert endpoint.key == "sk-secret"
    assert "secret" not in f"{endpoint} {endpoint!r}"


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (b"sk-secret", 0o644, "everybody may read (mode 0644): chmod o-r it"),
        (b"", 0o600, "must hold a key alone"),
        (b"\n \n", 0o600, "must hold a key alone"),
        (b"sk-secret\nx-evil: 1", 0o600, "must hold a key alone"),
        (b"sk secret", 0o600, "must hold a key alone"),
        (b"\xff\xfesecret", 0o600, "must hold a key alone"),
        (b"secret" * 2000, 0o600, "must hold a key alone"),
    ],
)
def test_a_keys_file_is_refused(tmp_path: Path, content: bytes, mode: int, says: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ModelError) as refusal:
        openai_factory("https://api.example.com/v1", api_key_file=path)
    assert says in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="none: cannot be read: No such file"):
        openai_factory("https://api.example.com/v1", api_key_file=tmp_path / "none")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        openai_factory("https://api.example.com/v1", api_key_file=tmp_path)
