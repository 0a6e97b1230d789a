"""Cut streams of a real server: over bad networks, to other servers, and what is refused."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace
from relay import relay_to

from escalade.cloud.backends.query import Answer, Query
from escalade.cloud.rpcs.once.resuming import crc32_of
from escalade.v1 import cascade_pb2 as pb

Asked = Callable[..., pb.GenerateRequest]


@pytest.fixture
def asked(engine: Any) -> Asked:
    def make(text: str, **fields: Any) -> pb.GenerateRequest:
        tokens = pb.TokenSequence(
            ids=engine.encode(text), tokenizer_fingerprint=engine.info.model.tokenizer_fingerprint
        )
        return pb.GenerateRequest(
            prompt=pb.Prompt(tokens=tokens),
            stopping=pb.StoppingOptions(max_new_tokens=20),
            **fields,
        )

    return make


def test_a_stream_that_is_cut_goes_on_and_is_computed_once(
    serving: Any, held: Any, asked: Asked
) -> None:
    async def main() -> None:
        held.stall_at = 3
        async with serving(held) as running:
            request = asked("w00", request_id="one", output=pb.OutputOptions(logprobs=True))
            request.output.top_logprobs = 2
            stream = pb.GenerateStreamRequest(request=request, keep_s=60)
            call = running.stub.GenerateStream(stream)
            ids: list[int] = []
            logprobs: list[float] = []
            text, top = "", b""

            def take(message: pb.GenerateStreamResponse) -> None:
                nonlocal text, top
                assert message.token_offset == len(ids)
                ids.extend(message.chunk.token_ids)
                logprobs.extend(message.chunk.logprobs)
                text += message.chunk.text
                top += message.chunk.top_ids.data

            while len(ids) < 3:
                take(await call.read())
            call.cancel()
            held.stall_at = None
            # What comes back says what it has.
            stream.resume_from.token_offset = len(ids)
            stream.resume_from.text_offset = len(text)
            stream.resume_from.token_crc32 = crc32_of(ids)
            messages = [message async for message in running.stub.GenerateStream(stream)]
            assert [message.sequence for message in messages] == list(range(len(messages)))
            for message in messages[:-1]:
                take(message)
            final = messages[-1].final
            assert ids == final.token_ids
            assert text == final.text
            assert logprobs == list(final.logprobs)[: len(ids)]
            assert final.top_ids.shape == [len(final.logprobs), 2]
            assert final.top_ids.data.startswith(top)
            assert len(top) == len(ids) * 2 * 4
            assert final == await running.stub.Generate(request)
        assert len(held.queries) == 1

    asyncio.run(main())


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no id to keep it by": ({"keep_s": 1.0}, "OPTION_OUT_OF_RANGE", "keep_s"),
    "no id to know it by": (
        {"resume_from": pb.ResumePoint()},
        "OPTION_OUT_OF_RANGE",
        "resume_from",
    ),
    **{
        f"keep_s {value}": ({"keep_s": value, "id": "x"}, "OPTION_OUT_OF_RANGE", "keep_s")
        for value in (-1.0, 60.5, math.inf, math.nan)
    },
    "more than there is": (
        {"resume_from": pb.ResumePoint(token_offset=99), "id": "x"},
        "STREAM_CHANGED",
        "",
    ),
    "other tokens": (
        {"resume_from": pb.ResumePoint(token_offset=1, token_crc32=1), "id": "x"},
        "STREAM_CHANGED",
        "",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_gone_on_with_is_refused(
    serving: Any, engine: Any, asked: Asked, refused: Any, name: str
) -> None:
    fields, reason, field = REFUSED[name]
    request = asked("w00", request_id=fields.get("id", ""))
    wrong = {key: value for key, value in fields.items() if key != "id"}

    async def main() -> None:
        async with serving(engine) as running:
            stream = pb.GenerateStreamRequest(request=request, **wrong)
            refusal = await refused(running.stub.GenerateStream(stream).read())
            assert (refusal.reason, refusal.field) == (reason, field)

    asyncio.run(main())


# A process of its own, as a device is.
CLIENT = """
import json, sys, uuid
from escalade.edge.errors import CloudError
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

uuid.uuid4 = lambda: uuid.UUID(int=7)
address, keep_s, request = sys.argv[1:]
stream = CloudClient(address, deadline_s=60).stream(
    pb.GenerateRequest.FromString(bytes.fromhex(request)), keep_s=float(keep_s)
)
try:
    while True:
        chunk = next(stream)
        print(json.dumps([list(chunk.token_ids), chunk.text]), flush=True)
except StopIteration as end:
    print(json.dumps([list(end.value.token_ids), end.value.text]))
except CloudError as error:
    print(json.dumps(error.reason))
"""


async def started(address: str, keep_s: float, request: pb.GenerateRequest) -> Any:
    raw = request.SerializeToString().hex()
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, address, str(keep_s), raw, stdout=asyncio.subprocess.PIPE
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "sampling", [pb.SamplingOptions(), pb.SamplingOptions(temperature=1.2, top_k=3, seed=1)]
)
def test_a_client_of_a_bad_network_gets_the_whole_stream(
    serving: Any, held: Any, asked: Asked, sampling: Any
) -> None:
    """The line is cut while the model computes, again and again; real sockets and processes."""

    async def main() -> list[Any]:
        held.stall_at = 2
        async with serving(held) as running:
            with relay_to(running.address) as relay:
                client = await started(relay.address, 60, asked("w00", sampling=sampling))
                for stall_at in (5, 9, None):
                    await until(lambda: held.stalled)
                    relay.cut()
                    held.stalled, held.stall_at = False, stall_at
                said, _ = await client.communicate()
                return [json.loads(line) for line in said.splitlines()]

    *chunks, whole = asyncio.run(main())
    assert [token for ids, _ in chunks for token in ids] == whole[0]
    assert "".join(text for _, text in chunks) == whole[1]
    assert len(held.queries) == 1


class Otherwise:
    """An engine that draws by a seed of its own."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def generate(self, query: Query, *rest: Any) -> Answer:
        assert query.sampling is not None
        other = replace(query, sampling=query.sampling._replace(seed=query.sampling.seed ^ 1))
        return self.inner.generate(other, *rest)  # type: ignore[no-any-return]


@pytest.mark.parametrize("otherwise", [False, True])
def test_another_server_goes_on_alike_or_not_at_all(
    serving: Any, engine: Any, held: Any, asked: Asked, otherwise: bool
) -> None:
    """The one that began is gone: the id of a request is the seed of what it draws."""
    other = Otherwise(engine) if otherwise else engine
    request = asked("w00", sampling=pb.SamplingOptions(temperature=2.0, top_k=4))

    async def main() -> list[Any]:
        held.stall_at = 4
        async with serving(held) as first, serving(other) as second:
            with relay_to(first.address) as relay:
                client = await started(relay.address, 0, request)
                async with asyncio.timeout(60):
                    lines = [await client.stdout.readline()]
                relay.lead_to(second.address)
                relay.cut()
                said, _ = await client.communicate()
                return [json.loads(line) for line in [*lines, *said.splitlines()]]

    *chunks, whole = asyncio.run(main())
    if otherwise:
        assert whole == "STREAM_CHANGED"
    else:
        assert [token for ids, _ in chunks for token in ids] == whole[0]
