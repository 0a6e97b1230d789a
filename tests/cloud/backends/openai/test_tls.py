"""A server behind ours that speaks TLS: whom we trust, and what is said of whom we do not."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Pair, needs_openssl
from completions import completions

from escalade.cloud.backends import Backend, Query, openai_factory
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import ModelError

pytestmark = needs_openssl

UNTRUSTED: dict[str, tuple[Callable[[Authority], Pair], str]] = {
    "of another authority": (
        lambda ca: Authority(ca.ca.parent / "other", "other").issue("server"),
        "unable to get local issuer certificate",
    ),
    "expired": (lambda ca: ca.expired("server"), "certificate has expired"),
    "of another host": (
        lambda ca: ca.issue("server", ["DNS:elsewhere.example"]),
        "IP address mismatch, certificate is not valid for '127.0.0.1'",
    ),
}


def shows(pair: Pair) -> dict[str, ssl.SSLContext]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    return {"tls": context}


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Trusted by whoever asks the system's authorities."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.ca))
    return made


async def text_of(backend: Backend, query: Query, clock: Callable[[], float]) -> str:
    *_, last = [delta async for delta in backend.generate(query, Ticket(1e9, clock))]
    assert last.answer is not None
    return last.answer.text


@pytest.mark.parametrize("streamed", [False, True])
def test_the_systems_authorities_are_trusted(
    paired: Any, engine: Any, authority: Authority, clock: Any, streamed: bool
) -> None:
    query = Query((4, 1), 5, logprobs=True, streamed=streamed)

    async def main() -> None:
        async with paired(offers=shows(authority.issue("server"))) as (backend, server):
            assert server.url.startswith("https://")
            said = await text_of(backend, query, clock)
            assert said == engine.generate(query, lambda: None).text

    asyncio.run(main())


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_who_is_not_trusted_is_asked_nothing(
    engine: Any, authority: Authority, clock: Any, tmp_path: Path, kind: str
) -> None:
    make, said = UNTRUSTED[kind]
    key = tmp_path / "key"
    key.write_text("sk-secret")
    key.chmod(0o600)

    async def main() -> str:
        async with completions(engine, **shows(make(authority))) as server:
            factory = openai_factory(server.url, parameters=7, api_key_file=key)
            backend = factory(queue_capacity=1, clock=clock)
            try:
                with pytest.raises(ModelError) as failure:
                    await backend.load()
            finally:
                backend.close()
            assert not server.headers
            return str(failure.value).removeprefix(server.url)

    assert asyncio.run(main()) == f": upstream: its certificate is not trusted here: {said}"


def test_a_server_in_the_clear_is_no_server(clock: Any) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main() -> str:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            make = openai_factory(f"https://127.0.0.1:{port}/v1", parameters=7)
            backend = make(queue_capacity=1, clock=clock)
            try:
                with pytest.raises(ModelError) as failure:
                    await backend.load()
            finally:
                backend.close()
            return str(failure.value)

    assert "upstream: no TLS with it: " in asyncio.run(main())


def test_the_command_says_so_in_a_line_and_ends(engine: Any, authority: Authority) -> None:
    async def main() -> tuple[int | None, list[str]]:
        own = Authority(authority.ca.parent / "own", "own").issue("server")
        async with completions(engine, **shows(own)) as server:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "escalade.cli", "serve", f"openai:{server.url}"),
                *("--listen", "127.0.0.1:0"),
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await process.communicate()
            return process.returncode, said.decode().splitlines()

    code, (_, line) = asyncio.run(main())  # after that it loads
    assert code == 2
    assert line.endswith(
        "its certificate is not trusted here: unable to get local issuer certificate"
    )
