"""Tokens from the command that makes them to the answer they are for; processes of their own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from escalade.cli.demo.processes import running
from escalade.cloud.access import read_tokens

ESCALADE = [sys.executable, "-m", "escalade.cli"]


def escalade(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ESCALADE, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def issue(tokens: Path, name: str, *limits: object) -> Path:
    """A client's file with a new token."""
    made = escalade("token", "new", name, "--file", tokens, *limits)
    assert made.returncode == 0, made.stderr
    path = tokens.with_name(f"{name}.token")
    path.touch(0o600)
    path.write_text(made.stdout)
    return path


class Cloud(NamedTuple):
    address: str
    tokens: Path


@pytest.fixture(scope="module")
def cloud(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    tokens = tmp_path_factory.mktemp("access") / "tokens.toml"
    issue(tokens, "first")
    served = ("serve", str(tiny_model_dir), "--listen", "127.0.0.1:0", "--tokens", str(tokens))
    with running("cloud", *served) as address:
        yield Cloud(address, tokens)


def ask(cloud: Cloud, artifact: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return escalade(
        *("ask", artifact, "g2p: cat", "--threshold", -1, "--cloud", cloud.address, *more)
    )


def test_who_has_a_token_is_answered_and_who_has_none_gets_the_devices_answer(
    cloud: Cloud, float_artifact: Path
) -> None:
    known = ask(cloud, float_artifact, "--token-file", cloud.tokens.with_name("first.token"))
    assert known.returncode == 0, known.stderr
    unknown = ask(cloud, float_artifact)
    assert unknown.returncode == 2
    assert unknown.stdout
    assert "degraded: UNAUTHENTICATED" in unknown.stderr
    assert "(1 attempt)" in unknown.stderr


def test_a_gateway_shows_its_own_token_and_not_its_clients(
    cloud: Cloud, float_artifact: Path, int8_artifact: Path, tmp_path: Path
) -> None:
    """The device's token is the gateway's alone: the cloud would not know it."""
    tokens = tmp_path / "tokens.toml"
    device = issue(tokens, "device")
    up = cloud.tokens.with_name("first.token")
    path = tmp_path / "cascade.toml"
    path.write_text(
        f"[[tiers]]\nmembers = [{json.dumps(str(int8_artifact))}]\ngate = {{ threshold = -1.0 }}\n"
        f'[[tiers]]\naddress = "{cloud.address}"\ntoken_file = {json.dumps(str(up))}\n'
    )
    served = ("gateway", str(path), "--listen", "127.0.0.1:0", "--tokens", str(tokens))
    with running("gateway", *served) as address:
        gateway = Cloud(address, tokens)
        answered = ask(gateway, float_artifact, "--token-file", device, "--json")
        assert answered.returncode == 0, answered.stderr
        assert json.loads(answered.stdout)["outcome"] == "deferred"
        assert ask(gateway, float_artifact, "--token-file", up).returncode == 2
        assert ask(cloud, float_artifact, "--token-file", device).returncode == 2


def test_who_has_used_up_his_share_gets_the_devices_answer(
    cloud: Cloud, float_artifact: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.toml"
    device = issue(tokens, "device", "--tokens-per-day", 1)
    path = tmp_path / "cascade.toml"
    path.write_text(f"[[tiers]]\nmembers = [{json.dumps(str(float_artifact))}]\n")
    served = ("gateway", str(path), "--listen", "127.0.0.1:0", "--tokens", str(tokens))
    with running("gateway", *served) as address:
        first = ask(Cloud(address, tokens), float_artifact, "--token-file", device)
        assert first.returncode == 0, first.stderr
        second = ask(Cloud(address, tokens), float_artifact, "--token-file", device)
        assert second.returncode == 2
        assert "degraded: QUOTA_EXCEEDED" in second.stderr


def test_a_file_that_others_may_read_is_refused_with_advice(
    cloud: Cloud, float_artifact: Path, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_bytes(cloud.tokens.with_name("first.token").read_bytes())
    path.chmod(0o644)
    refused = ask(cloud, float_artifact, "--token-file", path)
    assert refused.returncode == 2
    assert f"chmod o= {path}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_many_who_change_a_file_at_once_lose_nothing(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    names = [f"phone-{n}" for n in range(6)]
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda name: escalade("token", "new", name, "--file", tokens), names))
    assert [one.returncode for one in made] == [0] * 6
    assert set(read_tokens(tokens)) == set(names)
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o600
    assert len({one.stdout for one in made}) == 6
    assert not any(one.stdout.strip() in tokens.read_text() for one in made)
    assert [*tmp_path.iterdir()] == [tokens]


def test_load_shows_a_token_and_a_probe_needs_none(cloud: Cloud, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "1", "task": "g2p", "prompt": "g2p: cat", "references": ["x"]}\n')
    load = ("load", cloud.address, "--prompts", prompts, "--requests", 3, "--warm-up-s", 0)
    first = cloud.tokens.with_name("first.token")
    told = escalade(*load, "--token-file", first, "--json")
    assert told.returncode == 0, told.stderr
    nobody = escalade(*load)
    assert (nobody.returncode, "UNAUTHENTICATED" in nobody.stderr) == (2, True)
    assert escalade("health", cloud.address).stdout == "SERVING\n"


@pytest.mark.parametrize("name", ["a b", "", "x" * 65, "a\nb"])
def test_what_is_refused_leaves_no_file(tmp_path: Path, name: str) -> None:
    made = escalade("token", "new", name, "--file", tmp_path / "tokens.toml")
    assert (made.returncode, made.stderr.count("\n")) == (2, 1)
    assert [*tmp_path.iterdir()] == []


def test_a_token_is_kept_in_a_file_or_not_made(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in ("/dev/null", pipe):
        made = escalade("token", "new", "phone", "--file", place)
        assert (made.returncode, made.stdout) == (2, "")
        assert "not a regular file" in made.stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--model", "\udcff"), "--model: must be printable text"),
        (("--model", "a\nb"), "--model: must be printable text"),
        (("--deadline-s", "inf"), "less than or equal to 86400"),
    ],
)
def test_a_probe_with_what_cannot_be_is_refused(given: tuple[str, str], says: str) -> None:
    asked = escalade("health", "127.0.0.1:1", *given)
    assert (asked.returncode, asked.stderr.count("\n")) == (2, 1)
    assert says in asked.stderr
