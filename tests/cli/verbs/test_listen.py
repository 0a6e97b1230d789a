"""`escalade listen` as a process of its own: it answers, ends well, and refuses in one line."""

from __future__ import annotations

import json
import os
import pty
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, needs_openssl

Invoke = Callable[..., tuple[int, str, str]]
PROMPT = "g2p: cascade"


@contextmanager
def listening(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the URL that it says."""
    command = [sys.executable, "-m", "escalade.cli", "listen", *map(str, arguments)]
    process = subprocess.Popen(
        [*command, "--port", "0"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert " on http" in line, line + process.stderr.read()
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.communicate()


def ask(url: str, token: str | None = None, context: Any = None) -> Any:
    body = {"model": "small", "prompt": PROMPT, "max_tokens": 4}
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(  # noqa: S310
        f"{url}/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=60, context=context) as response:  # noqa: S310
        return json.load(response)


def test_it_answers_as_ask_does_and_ends_well(invoke: Invoke, float_artifact: Path) -> None:
    code, out, _ = invoke("ask", float_artifact, PROMPT, "--max-new-tokens", 4)
    assert code == 0
    with listening(float_artifact, "--model", "small") as (process, url):
        answer = ask(url)
        process.send_signal(signal.SIGTERM)
        said, err = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
    assert answer["choices"][0]["text"] == out.rstrip("\n")
    assert err.strip() == "drained"


def test_who_sits_at_its_terminal_is_not_asked_for_who_asks_it(
    float_artifact: Path, tmp_path: Path, scripted_cloud: Any
) -> None:
    path = tmp_path / "small.toml"
    path.write_text(
        f'[policy]\nsend = "ask"\n[[tiers]]\nmembers = ["{float_artifact}"]\n'
        f'gate = {{ threshold = -1.0 }}\n[[tiers]]\naddress = "{scripted_cloud.address}"\n'
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "escalade.cli", "listen", str(path), "--port", "0"]
    with subprocess.Popen(command, stdin=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            shown = ""
            while "/v1" not in shown:
                shown += os.read(ours, 4096).decode()
            answer = ask("http" + shown.split(" on http")[1].split()[0])
        finally:
            process.kill()
    os.close(ours)
    reason = answer["choices"][0]["escalade"]["reason"]
    assert reason.startswith("POLICY_CONSENT")
    assert "only who reads a stream is asked" in reason
    assert scripted_cloud.asked == []


@needs_openssl
def test_off_loopback_it_has_a_token_and_tls(float_artifact: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("here", ["IP:127.0.0.1"])
    token = tmp_path / "token"
    token.write_text("sesame\n")
    token.chmod(0o600)
    options = ("--token-file", token, "--tls-cert", pair.cert, "--tls-key", pair.key)
    with listening(float_artifact, "--model", "small", "--host", "0.0.0.0", *options) as (  # noqa: S104
        _,
        url,
    ):
        port = url.removesuffix("/v1").rpartition(":")[2]
        context = ssl.create_default_context(cafile=str(authority.ca))
        here = f"https://127.0.0.1:{port}/v1"
        assert ask(here, "sesame", context)["choices"][0]["text"]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(here, "wrong", context)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "0.0.0.0"), "host 0.0.0.0: without a token (--token-file) and TLS"),  # noqa: S104
        (("--token-file", "/nowhere/token"), "/nowhere/token: cannot be read"),
        (("--port", "65536"), "--port"),
        (("--stream", "sometimes"), "--stream"),
        (("--tls-cert", "/nowhere.pem"), "--tls-key: a certificate goes with its key"),
        (("--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"), "/nowhere.pem"),
        (("--queue", "0"), "--queue"),
    ],
)
def test_refusals(
    invoke: Invoke, float_artifact: Path, arguments: tuple[str, ...], says: str
) -> None:
    code, out, err = invoke("listen", float_artifact, *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert says in line
    assert line.startswith("error: ")
