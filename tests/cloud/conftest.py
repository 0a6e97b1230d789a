"""A tiny random model on disk, an engine that can be held, and a real server on loopback."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import torch
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from escalade.cloud.backends.backend import Backend, BackendInfo
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.engine import Emit, Engine, ShouldStop
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Answer, Query, ScoreQuery, Scores
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.server import ServeOptions, serve
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

CONTEXT_LENGTH = 48
WORDS = ["<pad>", "<sep>", "<eos>", "<unk>", *(f"w{n:02d}" for n in range(28))]

UNK = {"unk_token": "<unk>"}
SPECIAL = {"pad_token": "<pad>", "eos_token": "<eos>"}

# A hang must fail the test, never be waited for.
HELD_AT_MOST_S = 60


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `tiny`: a random 2-layer Llama and a word-level tokenizer that appends <sep>."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, **UNK)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<pad>", "<sep>", "<eos>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <sep>", special_tokens=[("<sep>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **SPECIAL,
        **UNK,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_LENGTH,
        # Wide, so that the random model says more than one token.
        initializer_range=0.6,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _with_its_tokenizer(network: PreTrainedModel, tiny_model: Path, folder: Path) -> Path:
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(4)  # so that the random model says more than one token
    network.save_pretrained(folder)
    for path in tiny_model.glob("tokenizer*"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_t5(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `t5`: a random encoder-decoder, with relative positions."""
    torch.manual_seed(7)
    config = T5Config(
        vocab_size=len(WORDS),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        n_positions=CONTEXT_LENGTH,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=0,
    )
    folder = tmp_path_factory.mktemp("models") / "t5"
    return _with_its_tokenizer(T5ForConditionalGeneration(config), tiny_model, folder)


@pytest.fixture(scope="session")
def tiny_bart(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `bart`: a random encoder-decoder, with absolute positions."""
    torch.manual_seed(7)
    config = BartConfig(
        vocab_size=len(WORDS),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=CONTEXT_LENGTH,
        init_std=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    )
    folder = tmp_path_factory.mktemp("models") / "bart"
    return _with_its_tokenizer(BartForConditionalGeneration(config), tiny_model, folder)


@pytest.fixture(scope="session")
def engine(tiny_model: Path) -> TransformersEngine:
    return TransformersEngine.load(str(tiny_model), threads=1)


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class HeldEngine:
    """A real engine that computes nothing while its gate is shut, and notes what it was asked."""

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.gate = threading.Event()
        self.gate.set()
        self.queries: list[Query] = []
        self.answers: list[Answer] = []
        self.batches: list[Sequence[ScoreQuery]] = []
        #: `generate` or `score`, for each computation that was begun.
        self.order: list[str] = []
        #: From this token on, a computation waits until it is told to stop, or this is moved.
        self.stall_at: int | None = None
        self.stalled = False
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        # What a batch wants of the engine beside: the network, and how tokens are spelt.
        return getattr(self.inner, name)

    @property
    def info(self) -> BackendInfo:
        return self.inner.info

    def encode(self, text: str, *, special_tokens: bool = True) -> Sequence[int]:
        return self.inner.encode(text, special_tokens=special_tokens)

    def generate(self, query: Query, should_stop: ShouldStop, emit: Emit | None = None) -> Answer:
        self.queries.append(query)
        self.order.append("generate")
        assert self.gate.wait(HELD_AT_MOST_S), "nobody opened the gate"
        if self.error is not None:
            raise self.error
        asked = 0

        def stalling() -> pb.StopReason | None:
            nonlocal asked
            asked += 1
            if not self._stalls(asked):
                return should_stop()
            self.stalled = True
            give_up = time.monotonic() + HELD_AT_MOST_S
            while (reason := should_stop()) is None and self._stalls(asked):
                assert time.monotonic() < give_up, "nobody stopped the computation"
                time.sleep(0.001)
            return reason

        answer = self.inner.generate(query, stalling, emit)
        self.answers.append(answer)
        return answer

    def _stalls(self, asked: int) -> bool:
        return self.stall_at is not None and asked > self.stall_at

    def score(self, queries: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
        self.batches.append(queries)
        self.order.append("score")
        assert self.gate.wait(HELD_AT_MOST_S), "nobody opened the gate"
        if self.error is not None:
            raise self.error
        return self.inner.score(queries, top_k)


@pytest.fixture
def held(engine: TransformersEngine) -> HeldEngine:
    return HeldEngine(engine)


@pytest.fixture
def score_request(engine: TransformersEngine) -> Callable[..., pb.ScoreRequest]:
    """Makes a request of (prompt ids, response ids) pairs in the tiny model's tokens."""

    fingerprint = engine.info.model.tokenizer_fingerprint

    def tokens(ids: Sequence[int]) -> pb.TokenSequence:
        return pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint)

    def make(
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]], **fields: Any
    ) -> pb.ScoreRequest:
        items = [
            pb.ScoreItem(item_id=f"item {number}", prompt=tokens(x), response=tokens(y))
            for number, (x, y) in enumerate(pairs)
        ]
        return pb.ScoreRequest(items=items, **fields)

    return make


def _refusal(error: grpc.aio.AioRpcError) -> Refusal:
    status = status_pb2.Status.FromString(
        dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    )
    assert status.message == error.details()
    assert status.code == error.code().value[0]
    refusal = Refusal(error.code(), str(error.details()))
    for detail in status.details:
        info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        if detail.Unpack(info):
            assert info.domain == "escalade.v1"
            refusal.reason = info.reason
        elif detail.Unpack(bad):
            refusal.field = bad.field_violations[0].field
        elif detail.Unpack(retry):
            refusal.retry_delay_s = retry.retry_delay.ToNanoseconds() / 1e9
    return refusal


@dataclass
class Refusal:
    """What a client reads from a failed RPC."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    field: str = ""
    retry_delay_s: float | None = None


@pytest.fixture
def refused() -> Callable[[Awaitable[object]], Awaitable[Refusal]]:
    """`await refused(call)`: the call must fail with a google.rpc.Status, which is read."""

    async def read(call: Awaitable[object]) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        return _refusal(failure.value)

    return read


@dataclass
class Running:
    """A server under test and a client of it."""

    address: str
    channel: grpc.aio.Channel
    stub: pb_grpc.CascadeServiceAsyncStub
    stop: asyncio.Event
    task: asyncio.Task[None]
    #: Queries that were given to the backend so far, refused ones included.
    queued: Callable[[], int]
    #: Where browsers are served, if they are.
    web: str


Serving = Callable[..., AbstractAsyncContextManager[Running]]


class CountingBackend(EmbeddedBackend):
    """Counts what it is given, so that a test can wait for a query to be queued."""

    queued = 0

    def check_room(self, ticket: Ticket) -> None:
        self.queued += 1
        super().check_room(ticket)


@pytest.fixture
def serving() -> Serving:
    """`async with serving(engine, queue_capacity=1) as running`: a server on a free port.

    With `backend=` it serves that one instead.
    """

    @asynccontextmanager
    async def start(
        engine: Engine | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        backend: Backend | None = None,
        **options: object,
    ) -> AsyncIterator[Running]:
        stop = asyncio.Event()
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        made: list[CountingBackend] = []
        urls = [""]

        def make(**settings: Any) -> Backend:
            if backend is not None:
                return backend
            made.append(CountingBackend(lambda: engine, **settings))
            return made[0]

        task = asyncio.create_task(
            serve(
                make,
                ServeOptions(**{"listen": "127.0.0.1:0", **options}),
                stop=stop,
                on_ready=ready.set_result,
                on_web=urls.append,
                clock=clock,
            )
        )
        await asyncio.wait({ready, task}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        address = await ready
        async with grpc.aio.insecure_channel(address) as channel:
            try:
                yield Running(
                    address=address,
                    channel=channel,
                    stub=pb_grpc.CascadeServiceStub(channel),
                    stop=stop,
                    task=task,
                    queued=lambda: made[0].queued,
                    web=urls[-1],
                )
            finally:
                stop.set()
        await task

    return start
