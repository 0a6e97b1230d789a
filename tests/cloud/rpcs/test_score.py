"""Scores over the wire equal a direct forward pass, whatever the batch, the chunk and k."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, TrOCRConfig, TrOCRForCausalLM

from escalade.cloud.backends.decoding import teacher_forcing
from escalade.cloud.backends.decoding.teacher_forcing import score_batch
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import ScoreQuery, Scores
from escalade.v1 import cascade_pb2 as pb

VOCABULARY = 32
PAIRS = [([4, 5, 1], [6, 7, 8, 2]), ([9, 1], [2]), (list(range(3, 30)), [10] * 21), ([4], [5, 6])]


class Item(NamedTuple):
    """One item's chunks, put together."""

    item_id: str
    chunks: int
    argmax: np.ndarray
    response_logprobs: np.ndarray
    top_ids: np.ndarray | None
    top_logprobs: np.ndarray | None


def array_of(tensor: pb.Tensor) -> np.ndarray:
    kind = {pb.DATA_TYPE_INT32: "<i4", pb.DATA_TYPE_FLOAT32: "<f4"}[tensor.dtype]
    return np.frombuffer(tensor.data, kind).reshape(list(tensor.shape))


def joined(messages: list[pb.ScoreResponse]) -> tuple[dict[int, Item], pb.ScoreSummary]:
    """Items by index and the summary; the stream's form is checked on the way."""
    assert [message.sequence for message in messages] == list(range(len(messages)))
    assert [message.WhichOneof("event") for message in messages[:-1]] == ["chunk"] * (
        len(messages) - 1
    )
    parts: dict[int, list[pb.ScoreChunk]] = {}
    for message in messages[:-1]:
        chunk = message.chunk
        assert chunk.item_index >= max(parts, default=0), "items out of order"
        before = parts.setdefault(chunk.item_index, [])
        assert chunk.token_offset == sum(part.argmax.shape[0] for part in before)
        before.append(chunk)
    items = {
        index: Item(
            chunks[0].item_id,
            len(chunks),
            *(
                np.concatenate([array_of(getattr(chunk, name)) for chunk in chunks])
                if chunks[0].HasField(name)
                else None
                for name in ("argmax", "response_logprobs", "top_ids", "top_logprobs")
            ),
        )
        for index, chunks in parts.items()
    }
    return items, messages[-1].final


def scores_of(
    serving: Any, engine: Any, request: pb.ScoreRequest
) -> tuple[dict[int, Item], pb.ScoreSummary]:
    async def main() -> list[pb.ScoreResponse]:
        async with serving(engine) as running:
            return [message async for message in running.stub.Score(request)]

    return joined(asyncio.run(main()))


def logprobs_alone(model: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    """`(N, V)` by one forward pass over one unpadded sequence."""
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0]
    return logits.float().log_softmax(-1)[len(prompt) - 1 : -1]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()


@pytest.mark.parametrize("top_k", [None, 0, 1, 5, VOCABULARY])
def test_scores_equal_a_direct_forward(
    serving: Any, engine: Any, model: Any, score_request: Any, top_k: int | None
) -> None:
    items, summary = scores_of(serving, engine, score_request(PAIRS, top_k=top_k))
    assert list(items) == list(range(len(PAIRS)))
    for index, (prompt, response) in enumerate(PAIRS):
        item, expected = items[index], logprobs_alone(model, prompt, response)
        assert item.item_id == f"item {index}"
        assert item.argmax.tolist() == expected.argmax(-1).tolist()
        own = expected.gather(1, torch.tensor(response)[:, None])[:, 0]
        assert item.response_logprobs == pytest.approx(own.numpy(), abs=1e-4)
        if not top_k:
            assert item.top_ids is None
            assert item.top_logprobs is None
            continue
        best = expected.topk(top_k)
        assert item.top_ids.shape == (len(response), top_k)
        assert item.top_logprobs == pytest.approx(best.values.numpy(), abs=1e-4)
        at_its_ids = expected.gather(1, torch.from_numpy(item.top_ids.astype(np.int64)))
        assert item.top_logprobs == pytest.approx(at_its_ids.numpy(), abs=1e-4)
        assert all(len(set(row)) == top_k for row in item.top_ids.tolist())
    assert summary.model == engine.info.model
    assert summary.items == len(PAIRS)
    assert summary.usage.prompt_tokens == sum(len(x) + len(y) for x, y in PAIRS)
    assert summary.timing.compute_s > 0


ids = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None)
@given(batch=st.lists(st.tuples(ids, ids), min_size=1, max_size=6))
def test_neighbours_and_padding_change_nothing(
    engine: Any, model: Any, batch: list[tuple[list[int], list[int]]]
) -> None:
    queries = [ScoreQuery(tuple(x), tuple(y)) for x, y in batch]
    for query, scores in zip(queries, engine.score(queries, VOCABULARY), strict=True):
        alone = logprobs_alone(model, list(query.prompt_ids), list(query.response_ids)).numpy()
        in_batch = np.empty_like(alone)
        np.put_along_axis(in_batch, scores.top_ids.astype(np.int64), scores.top_logprobs, axis=-1)
        assert in_batch == pytest.approx(alone, abs=1e-4)
        # Exactly, but for logits that rounding alone tells apart.
        chosen = np.take_along_axis(alone, scores.argmax[:, None].astype(np.int64), axis=-1)
        assert chosen[:, 0] == pytest.approx(alone.max(-1), abs=1e-4)


def test_float32_rows_may_be_few(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = [ScoreQuery(tuple(x), tuple(y)) for x, y in PAIRS]
    whole = engine.score(queries, 3)
    monkeypatch.setattr(teacher_forcing, "_FLOAT32_ELEMENTS", 2 * VOCABULARY + 1)
    assert_equal(engine.score(queries, 3), whole)


def assert_equal(some: list[Scores], others: list[Scores]) -> None:
    for one, other in zip(some, others, strict=True):
        for name in Scores.__slots__:
            mine, its = getattr(one, name), getattr(other, name)
            assert mine.dtype == its.dtype
            np.testing.assert_array_equal(mine, its)


def test_a_bfloat16_model_is_scored_in_its_own_type(tiny_model: Path, engine: Any) -> None:
    network = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).eval()
    half = TransformersEngine(network, engine._tokenizer, engine.info)
    (scores,) = half.score([ScoreQuery((4, 5, 1), (6, 7, 8, 2))], VOCABULARY)
    expected = logprobs_alone(network, [4, 5, 1], [6, 7, 8, 2])
    assert scores.response_logprobs.dtype == scores.top_logprobs.dtype == np.float32
    # bfloat16 logits carry 8 bits, so kernels may differ in the second digit ...
    assert scores.top_logprobs == pytest.approx(expected.topk(VOCABULARY).values.numpy(), abs=0.1)
    # ... but what is made of them is float32: the probabilities add up to 1.
    assert np.exp(scores.top_logprobs).sum(-1) == pytest.approx(np.ones(4), abs=1e-5)


def test_a_model_that_gives_all_its_logits(model: Any) -> None:
    """A few architectures take no `logits_to_keep`."""
    torch.manual_seed(1)
    config = TrOCRConfig(
        vocab_size=VOCABULARY,
        d_model=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
        use_cache=False,
    )
    other = TrOCRForCausalLM(config).eval()
    queries = [ScoreQuery(tuple(x), tuple(y)) for x, y in PAIRS]
    for (prompt, response), scores in zip(PAIRS, score_batch(other, queries, 2), strict=True):
        expected = logprobs_alone(other, prompt, response).topk(2).values
        assert scores.top_logprobs == pytest.approx(expected.numpy(), abs=1e-4)


def test_a_long_response_comes_in_chunks(
    serving: Any, tiny_model: Path, tmp_path: Path, score_request: Any
) -> None:
    # Its positions are rotations, so the same weights serve any length.
    folder = Path(shutil.copytree(tiny_model, tmp_path / "long"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    long = TransformersEngine.load(str(folder), threads=1)
    response = [4 + n % 28 for n in range(2500)]
    pairs = [([4], [5]), ([4, 1], response), ([6], [7])]
    items, summary = scores_of(serving, long, score_request(pairs, top_k=VOCABULARY))
    # 2500 rows of 8 + 32 * 8 bytes, at most 256 KiB a message.
    assert [item.chunks for item in items.values()] == [1, 3, 1]
    assert summary.items == 3
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    expected = logprobs_alone(model, [4, 1], response)
    assert items[1].argmax.tolist() == expected.argmax(-1).tolist()
    own = expected.gather(1, torch.tensor(response)[:, None])[:, 0]
    assert items[1].response_logprobs == pytest.approx(own.numpy(), abs=1e-4)


@pytest.mark.parametrize("resume_from", [0, 1, 99, 100])
def test_resuming_scores_what_is_left(
    serving: Any, held: Any, score_request: Any, resume_from: int
) -> None:
    pairs = [([4 + n % 28], [5, 6, n % 32]) for n in range(100)]
    whole, _ = scores_of(serving, held, score_request(pairs, top_k=2))
    held.batches.clear()
    rest, summary = scores_of(serving, held, score_request(pairs, top_k=2, resume_from=resume_from))
    assert list(rest) == list(range(resume_from, 100))
    assert summary.items == 100 - resume_from == sum(map(len, held.batches))
    for index, item in rest.items():
        assert item.item_id == whole[index].item_id
        assert item.argmax.tolist() == whole[index].argmax.tolist()
        assert item.top_logprobs == pytest.approx(whole[index].top_logprobs, abs=1e-4)
