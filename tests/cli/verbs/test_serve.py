"""`escalade serve` says in one line what it does not take, before it loads anything."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

Invoke = Callable[..., tuple[int, str, str]]
URL = "openai:http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([URL, "--threads", "2"], "--threads: is an option of a folder or hub: models alone"),
        ([URL, "--deterministic"], "--deterministic: is an option of a folder"),
        ([URL, "--kv-memory", "1G"], "--kv-memory: is an option of a folder"),
        (["folder", "--model", "x"], "--model: is an option of openai: models alone"),
        ([URL, "--ray", "local"], "--ray: is an option of a folder or hub: models alone"),
        (["folder", "--replicas", "1:2"], "--replicas: is an option of --ray alone"),
        (["folder", "--ray", "local", "--deterministic"], "of models in one process alone"),
        (["folder", "--ray", "local", "--replicas", "2"], "--replicas: must be LEAST:MOST"),
        (["folder", "--at-once", "2"], "--at-once: is an option of openai: models alone"),
        ([URL, "--at-once", "0"], "--at-once': Input should be greater than or equal to 1"),
        (
            [URL, "--context-length", "1"],
            "should be greater than or equal to 2",
        ),
        ([URL, "--api-key-file", "/nowhere/key"], "/nowhere/key: cannot be read"),
        ([URL], "http://127.0.0.1:1/v1: upstream: nobody takes the connection"),
        ([URL, "--tokenizer", "/nowhere"], "/nowhere: no such folder"),
        (["openai:http://example.com/v1"], "off loopback it must be https://"),
        (["folder", "--allow-origin", "https://a.example"], "--allow-origin goes with --web"),
        (["folder", "--web", "127.0.0.1:0", "--allow-origin", "*"], "allow-origin must be a page"),
        (["folder", "--listen", "127.0.0.1:0", "--web", "here"], "web must be HOST:PORT"),
        (["openai:"], "must be https://HOST"),
        (["openai:https://me:hunter2@example.com/v1"], "a user or a password in the URL"),
    ],
)
def test_refusals(invoke: Invoke, arguments: list[str], says: str) -> None:
    code, out, err = invoke("serve", *arguments, "--listen", "127.0.0.1:0")
    assert (code, out) == (2, "")
    *notes, line = err.splitlines()
    assert says in line
    assert len(notes) <= 1
    assert "hunter2" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--listen", "{taken}"], "listen {taken}: cannot be bound"),
        (["--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"], "/nowhere.pem"),
        (["--tokens", "/nowhere.toml"], "/nowhere.toml"),
        (["--metrics", "{taken}"], "metrics {taken}: cannot be bound: Address already in use"),
        (
            ["--listen", "{free}", "--metrics", "{free}"],
            "metrics {free}: cannot be bound: the server itself listens on {free}",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["serve", "gateway"])
def test_what_fails_at_once_is_said_before_anything_is_loaded(
    invoke: Invoke, tmp_path: Path, verb: str, arguments: list[str], says: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with socket.create_server(("127.0.0.1", 0)) as other:
            free = f"127.0.0.1:{other.getsockname()[1]}"
        names = {"taken": f"127.0.0.1:{taken.getsockname()[1]}", "free": free}
        given = ["--listen", "127.0.0.1:0", *(one.format(**names) for one in arguments)]
        code, out, err = invoke(verb, str(tmp_path / "model"), *given)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert says.format(**names) in line


def test_a_key_is_refused_that_everybody_may_read(invoke: Invoke, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("hunter2")
    key.chmod(0o644)
    code, _, err = invoke("serve", URL, "--api-key-file", key)
    assert code == 2
    assert "chmod o-r" in err
    assert "hunter2" not in err
