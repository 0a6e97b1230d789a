"""In front of llama.cpp's own server, with a tiny model in both: equal tokens, or none."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from escalade.cloud.backends import Backend, Query, Ticket, openai_factory
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.errors import NotSupportedError
from escalade.v1 import cascade_pb2 as pb

pytest.importorskip("xllamacpp", reason="llama.cpp has no wheel here")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
TOKENS = 40
END = "<eos>"
OTHERS = 0.7
TEXTS = ("hello", "the quick", "1 2 3 4", "naïve 😀")
# Its attention rounds to 16 bits in between.
NEAR = 0.02


def make(path: Path, others: float) -> Path:
    """A Llama of random weights, whose tokens are bytes.

    Args:
        path: an empty folder.
        others: how large the logits are of bytes that are no character by themselves.
    """
    # llama.cpp loads no tokenizer that merges nothing.
    words = [END, *sorted(pre_tokenizers.ByteLevel.alphabet()), "he"]
    tokenizer = Tokenizer(
        models.BPE(vocab={word: k for k, word in enumerate(words)}, merges=[("h", "e")])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, clean_up_tokenization_spaces=False
    ).save_pretrained(path)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=0,
    )
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        for k, word in enumerate(words):
            network.lm_head.weight[k] *= 1.0 if word.isascii() else others
    network.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ascii_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Says nothing but what is a character by itself."""
    return make(tmp_path_factory.mktemp("ascii"), 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Says other bytes too, now and then."""
    return make(tmp_path_factory.mktemp("bytes"), OTHERS)


def serve(folder: Path) -> Iterator[str]:
    """The URL of a server of it, which is a process of its own."""
    from llamacpp import write_gguf

    model, log = folder / "model.gguf", folder / "log"
    write_gguf(folder, model)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, ROOT / "llamacpp.py", model, str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ})
    try:
        give_up = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < give_up, log.read_text()[-2000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    yield from serve(folder)


@pytest.fixture(scope="module")
def ascii_url(ascii_folder: Path) -> Iterator[str]:
    yield from serve(ascii_folder)


@asynccontextmanager
async def behind_us(url: str, **options: Any) -> AsyncIterator[Backend]:
    backend = openai_factory(url, **options)(queue_capacity=256, clock=time.monotonic)
    try:
        await backend.load()
        yield backend
    finally:
        backend.close()
        # It closes its connections, of which this server keeps a dozen, in a task of its own.
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})


async def answer_of(backend: Backend, query: Query) -> Any:
    ticket = Ticket(math.inf, time.monotonic)
    *_, last = [delta async for delta in backend.generate(query, ticket)]
    return last.answer


def test_it_answers_as_the_model(ascii_url: str, ascii_folder: Path) -> None:
    engine = TransformersEngine.load(str(ascii_folder), threads=1)

    async def main() -> set[int]:
        reasons = set()
        async with behind_us(ascii_url, tokenizer=str(ascii_folder)) as backend:
            assert backend.info.engine == "llamacpp"
            assert backend.info.context_length == 256
            assert set(backend.info.capabilities) == {
                pb.CAPABILITY_GENERATE,
                pb.CAPABILITY_GENERATE_STREAM,
            }
            for text in TEXTS:
                ids = tuple(engine.encode(text))
                true = engine.generate(Query(ids, TOKENS), lambda: None)
                reasons.add(true.stop_reason)
                for streamed in (False, True):
                    query = Query(ids, TOKENS, logprobs=True, streamed=streamed)
                    said = await answer_of(backend, query)
                    assert list(said.chosen_ids) == list(true.chosen_ids)
                    assert (said.text, said.stop_reason) == (true.text, true.stop_reason)
                    assert said.logprobs == pytest.approx(true.logprobs, abs=NEAR)
        return reasons

    assert asyncio.run(main()) == {pb.STOP_REASON_END_OF_SEQUENCE, pb.STOP_REASON_MAX_TOKENS}


def test_it_answers_in_text(ascii_url: str, ascii_folder: Path) -> None:
    engine = TransformersEngine.load(str(ascii_folder), threads=1)

    async def main() -> None:
        async with behind_us(ascii_url, parameters=1) as backend:
            for text in TEXTS:
                ids = tuple(engine.encode(text))
                true = engine.generate(Query(ids, TOKENS), lambda: None)
                for streamed in (False, True):
                    query = Query((), TOKENS, prompt_text=text, streamed=streamed)
                    said = await answer_of(backend, query)
                    assert (said.text, said.stop_reason) == (true.text, true.stop_reason)

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_lacks_ids_is_refused_and_breaks_nothing(
    url: str, folder: Path, streamed: bool
) -> None:
    """It leaves out the ids of a character that is not whole yet."""
    engine = TransformersEngine.load(str(folder), threads=1)
    ids = tuple(engine.encode(TEXTS[1]))
    assert "\ufffd" in engine.generate(Query(ids, TOKENS), lambda: None).text

    async def main() -> None:
        async with behind_us(url, tokenizer=str(folder)) as backend:
            for _ in range(4):
                with pytest.raises(NotSupportedError, match=r"token ids: .* says \d+ of 40; ask"):
                    await answer_of(backend, Query(ids, TOKENS, streamed=streamed))
            assert backend.health()

    asyncio.run(main())
