"""In front of real vLLM and real `transformers serve`, with the bundled model, on the CPU.

They want another transformers than ours: `sh benchmarks/cloud/vllm_env.sh FOLDER` makes them an
environment, and `ESCALADE_VLLM=FOLDER` names it here.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from escalade.cloud.backends import Backend, Query, ScoreQuery, Ticket, openai_factory
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.v1 import cascade_pb2 as pb

ROOT = Path(__file__).parents[4]
LARGE = ROOT / "training" / "checkpoints" / "large"
STARTS_WITHIN_S = 400
TOKENS = 40
# Float32 on both sides, with sums in another order.
NEAR = 1e-3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@contextmanager
def listening(command: list[object], port: int, log: Path) -> Iterator[None]:
    """A server as a process of its own, once it answers."""
    settings = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | settings
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(map(str, command)), stdout=out, stderr=out, env=environment, cwd=log.parent
        )
    try:
        give_up = time.monotonic() + STARTS_WITHIN_S
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < give_up, log.read_text()[-2000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def environment() -> Path:
    named = os.environ.get("ESCALADE_VLLM")
    if not named:
        pytest.skip("ESCALADE_VLLM names no environment (benchmarks/cloud/vllm_env.sh makes one)")
    return Path(named) / "bin"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def vllm(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command: list[object] = [environment / "python", "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", LARGE, "--served-model-name", "large", "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", port, "--enforce-eager"]
    with listening(command, port, tmp_path_factory.mktemp("vllm") / "log"):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="module")
def transformers_serve(
    environment: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    port = free_port()
    command: list[object] = [environment / "transformers", "serve", LARGE, "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", port]
    with listening(command, port, tmp_path_factory.mktemp("serve") / "log"):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="module")
def large() -> TransformersEngine:
    return TransformersEngine.load(str(LARGE), threads=1)


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    """Of the bundled tasks, of words that the model was not trained on."""
    from escalade.training.data.tasks import load_pronunciations, make_records

    records = [record.prompt for record in make_records("test", load_pronunciations())]
    return records[:: len(records) // 60][:60]


@asynccontextmanager
async def behind_us(url: str, **options: Any) -> AsyncIterator[Backend]:
    backend = openai_factory(url, **options)(queue_capacity=256, clock=time.monotonic)
    try:
        await backend.load()
        yield backend
    finally:
        backend.close()


def forever() -> Ticket:
    return Ticket(math.inf, time.monotonic)


async def answer_of(backend: Backend, query: Query) -> Any:
    *_, last = [delta async for delta in backend.generate(query, forever())]
    return last.answer


def test_vllm_answers_as_the_model(
    vllm: str, large: TransformersEngine, prompts: list[str]
) -> None:
    async def main() -> None:
        async with behind_us(vllm, tokenizer=str(LARGE)) as backend:
            info = backend.info
            assert set(info.capabilities) == {
                pb.CAPABILITY_GENERATE,
                pb.CAPABILITY_GENERATE_STREAM,
                pb.CAPABILITY_SCORE,
                pb.CAPABILITY_VERIFY,
            }
            assert info.engine.startswith("vllm 0.")
            assert (info.max_top_k, info.context_length) == (20, large.info.context_length - 1)
            assert info.parameter_count == large.info.parameter_count
            encoded = [tuple(large.encode(text)) for text in prompts]
            wanted = [large.generate(Query(ids, TOKENS), lambda: None) for ids in encoded]
            for streamed in (False, True):
                said = await asyncio.gather(
                    *(
                        answer_of(backend, Query(ids, TOKENS, logprobs=True, streamed=streamed))
                        for ids in encoded
                    )
                )
                for mine, true in zip(said, wanted, strict=True):
                    assert list(mine.chosen_ids) == list(true.chosen_ids)
                    assert (mine.text, mine.stop_reason) == (true.text, true.stop_reason)
                    assert mine.logprobs == pytest.approx(true.logprobs, abs=NEAR)
                    assert mine.margins == pytest.approx(true.margins, abs=NEAR)

    asyncio.run(main())


def test_vllm_reads_drafts_and_scores(
    vllm: str, large: TransformersEngine, prompts: list[str]
) -> None:
    draw = random.Random(5)

    async def main() -> None:
        async with behind_us(vllm, tokenizer=str(LARGE)) as backend:
            for text in prompts:
                prompt = tuple(large.encode(text))
                true = large.generate(Query(prompt, TOKENS), lambda: None)
                own = list(true.chosen_ids)
                ids = own[: draw.randint(1, len(own))]
                if draw.random() < 0.5:
                    ids[draw.randrange(len(ids))] = draw.randrange(4, 84)
                agrees = [one == other for one, other in zip(ids, own, strict=False)]
                accepted = agrees.index(False) if False in agrees else len(ids)
                draft = pb.Draft(tokens=pb.TokenSequence(ids=ids))
                verdict = await backend.verify(Query(prompt, 1, draft=draft), forever())
                assert verdict.accepted == accepted
                if accepted < len(own):
                    assert verdict.correction_id == own[accepted]
                    assert verdict.margin == pytest.approx(true.margins[accepted], abs=NEAR)
                said = await answer_of(backend, Query(prompt, TOKENS, draft=draft))
                assert list(said.chosen_ids) == own
                query = ScoreQuery(prompt, tuple(ids))
                [scores] = [
                    one
                    async for batch in backend.score([query], 20, forever())
                    for one in batch.scores
                ]
                [wanted] = large.score([query], 20)
                assert scores.argmax.tolist() == wanted.argmax.tolist()
                assert scores.response_logprobs == pytest.approx(wanted.response_logprobs, abs=NEAR)
                assert scores.top_logprobs == pytest.approx(wanted.top_logprobs, abs=NEAR)

    asyncio.run(main())


@pytest.mark.parametrize("server", ["vllm", "transformers_serve"])
def test_in_text_alone(
    server: str,
    request: pytest.FixtureRequest,
    large: TransformersEngine,
    prompts: list[str],
) -> None:
    url = request.getfixturevalue(server)
    told = {"model": str(LARGE), "context_length": 96} if server == "transformers_serve" else {}

    async def main() -> None:
        async with behind_us(url, parameters=1, **told) as backend:
            assert set(backend.info.capabilities) == {
                pb.CAPABILITY_GENERATE,
                pb.CAPABILITY_GENERATE_STREAM,
            }
            for text in prompts[:8]:
                true = large.generate(Query(tuple(large.encode(text)), TOKENS), lambda: None)
                for streamed in (False, True):
                    query = Query((), TOKENS, prompt_text=text, streamed=streamed)
                    said = await answer_of(backend, query)
                    # A server that decodes a token at a time begins with the blank before it.
                    assert said.text.strip() == true.text
                    assert said.stop_reason == true.stop_reason
                cut = Query((), TOKENS, prompt_text=text, stop_texts=(true.text[-1],))
                said = await answer_of(backend, cut)
                assert said.text.strip() == true.text[: true.text.index(true.text[-1])].strip()
                assert said.stop_reason == pb.STOP_REASON_STOP_SEQUENCE

    asyncio.run(main())
