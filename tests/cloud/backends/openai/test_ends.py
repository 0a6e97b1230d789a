"""How a request ends there: in time, early, refused, or with its server; and what is never sent."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from completions import http
from grpc_health.v1 import health_pb2, health_pb2_grpc

from escalade.cloud.backends import Query
from escalade.cloud.backends.ticket import Ticket, deadline_after
from escalade.cloud.errors import DeadlineError, EngineDeadError, QueueFullError
from escalade.v1 import cascade_pb2 as pb

QUERY = Query((4, 1), 5, logprobs=True)
STREAMED = Query((4, 1), 5, logprobs=True, streamed=True)


def forever() -> Ticket:
    return Ticket(math.inf, time.monotonic)


async def answer_of(backend: Any, query: Query = QUERY, ticket: Ticket | None = None) -> Any:
    *_, last = [delta async for delta in backend.generate(query, ticket or forever())]
    return last.answer


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("query", [QUERY, STREAMED])
def test_a_client_that_leaves_ends_the_request_there(paired: Any, query: Query) -> None:
    async def main() -> None:
        async with paired() as (backend, server):
            server.go_on.clear()
            asked = len(server.asked)
            task = asyncio.create_task(answer_of(backend, query))
            await until(lambda: len(server.asked) > asked)
            task.cancel()
            await until(lambda: server.left == 1)
            assert server.open == 0
            server.go_on.set()
            assert (await answer_of(backend)).text

    asyncio.run(main())


@pytest.mark.parametrize("query", [QUERY, STREAMED])
def test_a_deadline_ends_the_request_there(paired: Any, query: Query) -> None:
    async def main() -> None:
        async with paired() as (backend, server):
            server.go_on.clear()
            ticket = Ticket(deadline_after(0.2, time.monotonic), time.monotonic)
            with pytest.raises(DeadlineError):
                await answer_of(backend, query, ticket)
            await until(lambda: server.left == 1)
            # Late is not broken.
            assert backend.health()

    asyncio.run(main())


def test_a_deadline_may_be_put_off(paired: Any) -> None:
    async def main() -> None:
        async with paired() as (backend, server):
            server.go_on.clear()
            ticket = Ticket(deadline_after(0.1, time.monotonic), time.monotonic)
            task = asyncio.create_task(answer_of(backend, QUERY, ticket))
            await until(lambda: server.open == 1)
            ticket.extend(deadline_after(60.0, time.monotonic))
            await until(lambda: time.monotonic() > began_s + 0.3)
            server.go_on.set()
            assert (await task).text

    began_s = time.monotonic()
    asyncio.run(main())


def test_a_stop_text_ends_the_request_there(paired: Any) -> None:
    async def main() -> None:
        async with paired() as (backend, server):
            whole = await answer_of(backend)
            first = whole.text.split()[0]
            server.go_on.clear()  # it waits after the first token
            answer = await answer_of(backend, Query((4, 1), 5, stop_texts=(first,)))
            assert answer.text == ""
            assert answer.stop_reason == pb.STOP_REASON_STOP_SEQUENCE
            await until(lambda: server.left == 1)

    asyncio.run(main())


def test_so_many_requests_are_there_at_one_time(paired: Any) -> None:
    async def main() -> None:
        async with paired(at_once=2, queue_capacity=3) as (backend, server):
            server.go_on.clear()
            asked = len(server.asked)
            tickets = [forever() for _ in range(5)]
            tasks = [asyncio.create_task(answer_of(backend, QUERY, one)) for one in tickets]
            await until(lambda: server.open == 2)
            with pytest.raises(QueueFullError):
                await answer_of(backend)
            # Who leaves the queue was never there.
            tasks[4].cancel()
            await asyncio.wait([tasks[4]])
            late = Ticket(deadline_after(0.05, time.monotonic), time.monotonic)
            with pytest.raises(DeadlineError):
                await answer_of(backend, QUERY, late)
            assert (server.open, len(server.asked) - asked) == (2, 2)
            server.go_on.set()
            assert len({(await task).text for task in tasks[:4]}) == 1
            assert len(server.asked) - asked == 4

    asyncio.run(main())


@asynccontextmanager
async def port_of(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
) -> AsyncIterator[int]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]


def test_a_redirect_is_not_followed_with_the_key(paired: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-secret")
    key.chmod(0o600)
    heard = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async def main() -> None:
        async with (
            port_of(listen) as port,
            paired(offers={"key": "sk-secret"}, api_key_file=key) as (backend, server),
        ):

            async def elsewhere(writer: asyncio.StreamWriter) -> None:
                where = f"location: http://127.0.0.1:{port}/v1/completions"
                writer.write(http(b"", "307 TEMPORARY", where))

            server.misbehave = elsewhere
            for query in (QUERY, STREAMED):
                with pytest.raises(EngineDeadError, match="answered 307"):
                    await answer_of(backend, query)

    asyncio.run(main())
    assert not heard


def test_no_proxy_of_the_environment_stands_before_this_machine(
    paired: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    async def main() -> str:
        async with paired() as (backend, _):
            return str((await answer_of(backend)).text)

    assert asyncio.run(main())


def test_the_key_is_in_no_log(
    paired: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    key = tmp_path / "key"
    key.write_text("sk-secret")
    key.chmod(0o600)

    async def main() -> None:
        offers = {"key": "sk-secret"}
        async with paired(offers=offers, api_key_file=key) as (backend, server):
            assert (await answer_of(backend)).text
            assert {one["authorization"] for one in server.headers} == {"Bearer sk-secret"}
            server.misbehave = lambda writer: asyncio.sleep(0)
            with pytest.raises(EngineDeadError):
                await answer_of(backend)

    asyncio.run(main())
    assert "secret" not in caplog.text


def test_health_follows_the_server(paired: Any, serving: Any, engine: Any, refused: Any) -> None:
    """Three failures in a row and it says so; it sees by itself that the server answers again."""
    fingerprint = engine.info.model.tokenizer_fingerprint
    request = pb.GenerateRequest(
        prompt=pb.Prompt(tokens=pb.TokenSequence(ids=(4, 1), tokenizer_fingerprint=fingerprint)),
        stopping=pb.StoppingOptions(max_new_tokens=3),
    )

    async def main() -> None:
        async with paired(load=False) as (backend, server), serving(backend=backend) as running:
            stub = health_pb2_grpc.HealthStub(running.channel)
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))

            async def becomes(status: Any) -> None:
                assert (await watch.read()).status == status

            await becomes(health_pb2.HealthCheckResponse.SERVING)
            wanted = list((await running.stub.Generate(request)).token_ids)
            server.misbehave = lambda writer: asyncio.sleep(0)
            for _ in range(3):
                refusal = await refused(running.stub.Generate(request))
                assert refusal.reason == "ENGINE_DEAD"
            await becomes(health_pb2.HealthCheckResponse.NOT_SERVING)
            asked = len(server.asked)
            await until(lambda: len(server.asked) > asked)  # nobody but it itself
            server.misbehave = None
            await becomes(health_pb2.HealthCheckResponse.SERVING)
            assert list((await running.stub.Generate(request)).token_ids) == wanted
            watch.cancel()

    asyncio.run(main())
