"""The server cuts a response where the device would: the same cases, with a real model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from escalade.cloud.backends.backend import BackendInfo
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Delta, Query
from escalade.cloud.backends.ticket import Ticket
from escalade.v1 import cascade_pb2 as pb


def chain(following: dict[int, int], size: int) -> LlamaForCausalLM:
    """A Llama that says what follows, whatever came before: one-hot states, no attention."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size,
            hidden_size=size,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=64,
            tie_word_embeddings=False,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    weights = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    weights["model.embed_tokens.weight"] = torch.eye(size)
    for name in weights:
        if name.endswith("norm.weight"):
            weights[name] += 1.0
    for token, after in following.items():
        weights["lm_head.weight"][after, token] = 1.0
    model.load_state_dict(weights)
    return model.eval()


def engine_that_says(ids: Sequence[int], tokenizer: Any) -> tuple[TransformersEngine, int]:
    """An engine, and the prompt to which its greedy response is `ids`."""
    size = tokenizer.get_vocab_size() + 1
    size += size % 2
    prompt = size - 1
    following = dict(zip([prompt, *ids], ids, strict=False))
    info = BackendInfo(
        model=pb.ModelIdentity(name="chain"),
        engine="transformers",
        parameter_count=1,
        vocabulary_size=size,
        context_length=64,
        end_of_sequence_ids=(),
        longest_token_bytes=8,
        max_new_tokens=63,
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)
    return TransformersEngine(chain(following, size), fast, info), prompt


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_ends_where_a_device_would_end_it(
    stop_case: Any, clock: Any, streamed: bool
) -> None:
    ids = stop_case.ids()
    engine, prompt = engine_that_says(ids, stop_case.tokenizer())
    query = Query((prompt,), len(ids), stop_case.stops, streamed=streamed)

    async def main() -> list[Delta]:
        backend = EmbeddedBackend(lambda: engine, queue_capacity=1, clock=clock)
        await backend.load()
        deltas = [delta async for delta in backend.generate(query, Ticket(math.inf, clock))]
        backend.close()
        return deltas

    *pieces, last = asyncio.run(main())
    answer = last.answer
    assert answer.text == stop_case.text
    assert answer.token_ids == ids[: stop_case.kept]
    assert len(answer.logprobs) == len(answer.margins) == stop_case.kept
    assert answer.stop_reason == (
        pb.STOP_REASON_STOP_SEQUENCE if stop_case.stopped else pb.STOP_REASON_MAX_TOKENS
    )
    # Nothing was given that was cut off later.
    given = [token for piece in pieces for token in piece.token_ids]
    assert given == answer.token_ids[: len(given)]
    assert answer.text.startswith("".join(piece.text for piece in pieces))
    assert streamed or not pieces
