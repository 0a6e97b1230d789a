"""What a server offers is found out before anybody is served, and told as it is."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from completions import CompletionsServer, http

from escalade.cloud.backends import BackendInfo, Query
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import ModelError
from escalade.v1 import cascade_pb2 as pb

GENERATE, STREAM = pb.CAPABILITY_GENERATE, pb.CAPABILITY_GENERATE_STREAM
SCORE, VERIFY = pb.CAPABILITY_SCORE, pb.CAPABILITY_VERIFY
WINDOW = 48


def info_of(paired: Any, **fields: Any) -> BackendInfo:
    async def main() -> BackendInfo:
        async with paired(**fields) as (backend, _):
            info: BackendInfo = backend.info
            return info

    return asyncio.run(main())


def refusal_of(paired: Any, **fields: Any) -> str:
    with pytest.raises(ModelError) as refusal:
        info_of(paired, **fields)
    line = str(refusal.value)
    assert len(line.splitlines()) == 1
    assert len(line) < 600
    return line


@pytest.mark.parametrize(
    ("offers", "capabilities", "max_top_k"),
    [
        ({}, {GENERATE, STREAM, SCORE, VERIFY}, 20),
        ({"max_logprobs": 7}, {GENERATE, STREAM, SCORE, VERIFY}, 7),
        ({"max_logprobs": 1000}, {GENERATE, STREAM, SCORE, VERIFY}, 32),  # the vocabulary
        ({"max_logprobs": 1}, {GENERATE, STREAM, SCORE}, 1),
        ({"max_logprobs": 0}, {GENERATE, STREAM}, 0),
        ({"streams": False}, {GENERATE, SCORE, VERIFY}, 20),
        ({"tokenize": True, "max_logprobs": 0}, {GENERATE, STREAM}, 0),
    ],
)
def test_what_it_offers_in_ids(
    paired: Any,
    engine: TransformersEngine,
    offers: dict[str, Any],
    capabilities: set[int],
    max_top_k: int,
) -> None:
    info = info_of(paired, offers=offers)
    assert set(info.capabilities) == capabilities
    assert info.max_top_k == max_top_k
    # A place is kept for the token after a text that is scored.
    assert info.context_length == WINDOW - bool(max_top_k)
    own = engine.info
    assert info.model.tokenizer_fingerprint == own.model.tokenizer_fingerprint
    assert info.model.name == own.model.name
    assert info.model.revision == ""
    assert info.engine == "test 1.0"
    assert info.vocabulary_size == own.vocabulary_size
    assert info.end_of_sequence_ids == own.end_of_sequence_ids


@pytest.mark.parametrize("chat", [False, True])
def test_what_it_offers_in_text(paired: Any, chat: bool) -> None:
    info = info_of(paired, in_text=True, offers={"chat": chat, "ids": False})
    assert set(info.capabilities) == {GENERATE, STREAM}
    assert info.model.tokenizer_fingerprint == ""
    assert (info.vocabulary_size, info.max_top_k) == (0, 0)
    assert info.parameter_count == 7
    assert info.context_length == WINDOW


def test_the_folder_says_how_large_the_model_is(paired: Any, engine: TransformersEngine) -> None:
    info = info_of(paired, parameters=None)
    assert info.parameter_count == engine.info.parameter_count


def test_the_server_says_how_large_the_model_is_where_it_knows(paired: Any) -> None:
    says = {"meta": {"n_params": 123, "n_ctx_train": 9000, "n_ctx": 40}}
    info = info_of(paired, in_text=True, parameters=None, offers={"says": says})
    assert (info.parameter_count, info.context_length) == (123, 40)


def test_what_nobody_says_must_be_told(paired: Any) -> None:
    line = refusal_of(paired, in_text=True, parameters=None)
    assert line.endswith("'tiny': the server does not say it: give --parameters")
    line = refusal_of(paired, in_text=True, offers={"says": {}})
    assert line.endswith("'tiny': the server does not say it: give --context-length")
    info = info_of(paired, in_text=True, offers={"says": {}}, context_length=40)
    assert info.context_length == 40
    line = refusal_of(paired, in_text=True, offers={"says": {"max_model_len": -5}})
    assert line.endswith("context-length must be in 2..2147483647, got -5")


@pytest.mark.parametrize(
    ("offers", "options", "says"),
    [
        ({"ids": False}, {}, "takes no token ids"),
        ({"chat": True}, {}, "takes no token ids"),
        ({"key": "right"}, {}, "answered 401; give --api-key-file"),
        ({"key": "right"}, {"in_text": True}, "answered 401; give --api-key-file"),
        ({}, {"model": "other"}, "(upstream: answered 404)"),
        ({}, {"in_text": True, "model": "other"}, "'other': the server does not say it"),
        (
            {},
            {"in_text": True, "model": "x", "context_length": 9},
            "answered 404; is this the API's URL",
        ),
    ],
)
def test_a_server_that_cannot_be_asked_so_is_refused(
    paired: Any, offers: dict[str, Any], options: dict[str, Any], says: str
) -> None:
    assert says in refusal_of(paired, offers=offers, **options)


def test_the_key_is_sent(paired: Any, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("right\n")
    path.chmod(0o600)
    assert info_of(paired, offers={"key": "right"}, api_key_file=path).parameter_count == 7
    path.write_text("wrong\n")
    line = refusal_of(paired, offers={"key": "right"}, api_key_file=path)
    assert "401" in line
    assert "wrong" not in line


def test_another_tokenizer_is_found_out(
    paired: Any, tiny_model: Path, tmp_path: Path, engine: TransformersEngine
) -> None:
    other = Path(shutil.copytree(tiny_model, tmp_path / "other"))
    path = other / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["w03"], vocabulary["w04"] = vocabulary["w04"], vocabulary["w03"]
    path.write_text(json.dumps(content))
    for tokenize in (False, True):
        line = refusal_of(paired, tokenizer=str(other), offers={"tokenize": tokenize})
        assert "has another tokenizer: its ids for" in line


def test_nobody_there(paired: Any) -> None:
    def gone(server: CompletionsServer) -> None:
        server.url = "http://127.0.0.1:1/v1"

    line = refusal_of(paired, before=gone)
    assert line == "http://127.0.0.1:1/v1: upstream: nobody takes the connection"


def test_several_models_must_be_told_apart(paired: Any, tmp_path: Path) -> None:
    models = {"data": [{"id": name} for name in ("tiny", "b", "c", "d", "e", "f", "g")]}

    async def main(**options: Any) -> pb.ModelIdentity:
        async def many(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http(json.dumps(models).encode()))
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(many, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]

            def elsewhere(server: CompletionsServer) -> None:
                server.url = f"http://127.0.0.1:{port}/v1"

            async with paired(before=elsewhere, in_text=True, **options) as (backend, _):
                model: pb.ModelIdentity = backend.info.model
                return model

    with pytest.raises(ModelError, match=r"give --model, one of: 'tiny', .* and 2 more"):
        asyncio.run(main())


@pytest.mark.parametrize(
    "body",
    [b"<html>hello</html>", b"", b"{}", b"[]", b'{"data": 5}', b"\xff", b"[" * 10_000],
)
def test_what_is_no_api_is_refused_in_one_line(paired: Any, body: bytes) -> None:
    async def main() -> None:
        async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(http(body))
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(odd, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]

            def elsewhere(server: CompletionsServer) -> None:
                server.url = f"http://127.0.0.1:{port}/v1"

            async with paired(before=elsewhere):
                raise AssertionError("it loaded")

    with pytest.raises(ModelError, match="/models: is no list of models; is this the API's URL"):
        asyncio.run(main())


def test_ids_beside_log_probabilities_are_ids(
    paired: Any, engine: TransformersEngine, clock: Callable[[], float]
) -> None:
    """As llama.cpp says them, without the token that ends an answer."""

    async def main() -> None:
        async with paired(offers={"tokenize": True, "max_logprobs": 0}) as (backend, _):
            for prompt, logprobs in (((4, 1), True), ((9, 8, 1), True), ((4, 1), False)):
                wanted = engine.generate(Query(prompt, 9), lambda: None)
                *_, last = [
                    delta
                    async for delta in backend.generate(
                        Query(prompt, 9, logprobs=logprobs), Ticket(float("inf"), clock)
                    )
                ]
                assert list(last.answer.token_ids) == list(wanted.token_ids)
                if logprobs:
                    assert last.answer.logprobs == pytest.approx(wanted.logprobs, abs=1e-4)
                    assert last.answer.margins == pytest.approx(wanted.margins, abs=1e-4)
                else:
                    assert not last.answer.logprobs

    asyncio.run(main())
