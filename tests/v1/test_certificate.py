"""Certificates and keys that load, and those that do not."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
from authority import Authority, Pair, needs_openssl

from escalade.v1.certificate import load_certificate

pytestmark = needs_openssl


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Authority(tmp_path_factory.mktemp("ca")).issue("one")


@pytest.fixture(params=[ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER])
def context(request: pytest.FixtureRequest) -> ssl.SSLContext:
    return ssl.SSLContext(request.param)


def refusal(context: ssl.SSLContext, cert: Path, key: Path) -> str:
    with pytest.raises(ValueError, match=r".") as failure:
        load_certificate(context, cert, key)
    assert "\n" not in str(failure.value)
    return str(failure.value)


def test_a_pair_is_taken(context: ssl.SSLContext, pair: Pair) -> None:
    load_certificate(context, *pair)


def test_what_does_not_load_is_named(context: ssl.SSLContext, pair: Pair, tmp_path: Path) -> None:
    other, missing = Authority(tmp_path).issue("other"), tmp_path / "none.pem"
    for cert, key in ((pair.key, pair.cert), (pair.cert, other.key), (missing, pair.key)):
        said = refusal(context, cert, key)
        assert said.startswith(f"certificate {cert}, key {key}: do not load: ")


@pytest.mark.parametrize(
    "form",
    [
        ["pkcs8", "-topk8", "-v2", "aes-256-cbc"],  # BEGIN ENCRYPTED PRIVATE KEY
        ["ec", "-aes256"],  # Proc-Type: 4,ENCRYPTED
    ],
)
def test_an_encrypted_key_is_named_and_nobody_is_asked(
    context: ssl.SSLContext, pair: Pair, tmp_path: Path, form: list[str]
) -> None:
    encrypted = tmp_path / "key.pem"
    command = [*form, "-in", str(pair.key), "-out", str(encrypted), "-passout", "pass:secret"]
    subprocess.run(["openssl", *command], check=True, capture_output=True)
    assert "ENCRYPTED" in encrypted.read_text()
    assert refusal(context, pair.cert, encrypted).startswith(f"key {encrypted}: is encrypted")
