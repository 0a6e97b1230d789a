"""Greedy decoding and scoring in this process with transformers; knows no gRPC, no queue."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from escalade.checkpoint import (
    check_vocabulary,
    load_network,
    load_tokenizer,
    locate,
    read_generation,
    tokenizer_fingerprint,
)
from escalade.cloud.backends.backend import BackendInfo
from escalade.cloud.backends.decoding import Greedy, score_batch
from escalade.cloud.backends.embedded.engine import Emit, ShouldStop
from escalade.cloud.backends.embedded.response import Response
from escalade.cloud.backends.query import Answer, Query, ScoreQuery, Scores
from escalade.cloud.errors import ModelError
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.growing_text import speller
from escalade.v1.identity import weights_revision
from escalade.v1.prompt_size import longest_token_bytes

# 8 KiB of scores for each token. vLLM's --max-logprobs is 20 by default; a student that is
# distilled wants most of the teacher's mass, and all of a small vocabulary.
_MAX_TOP_K = 1024


class TransformersEngine:
    """A causal language model and its tokenizer, in memory; in float32 where `load` made it.

    Equal prompts give equal answers, bit for bit, on one machine and thread count: queries
    are computed alone, never in a batch whose shape would change the arithmetic. Scores are
    computed in batches, and may differ in the last bits from one batch to another.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        info: BackendInfo,
    ) -> None:
        #: The model itself, for whoever computes with it otherwise.
        self.network = model
        self._tokenizer = tokenizer
        self._info = info
        #: What a token spells out.
        self.spell = speller(tokenizer.backend_tokenizer)
        self._greedy = Greedy(model)

    @classmethod
    def load(
        cls, model: str, *, max_new_tokens: int | None = None, threads: int | None = None
    ) -> TransformersEngine:
        """Load a model from a folder, or of the hub: safetensors only, no remote code.

        Args:
            model: folder, or `hub:NAME`.
            max_new_tokens: default and upper bound of a response; None, or more than fits,
                is the context length less one prompt token.
            threads: torch's intra-op threads for this process; None leaves torch's default.

        Raises:
            ModelError: something is missing, or does not load, or does not fit together.
        """
        if max_new_tokens is not None and max_new_tokens < 1:
            raise ModelError(f"max_new_tokens: must be at least 1, got {max_new_tokens}")
        if threads is not None:
            if threads < 1:
                raise ModelError(f"threads: must be at least 1, got {threads}")
            torch.set_num_threads(threads)
        try:
            name, folder = locate(model)
            network = load_network(folder, dtype=torch.float32, kinds=("causal",))
            generation = read_generation(network, folder)
            vocabulary_size = int(network.config.get_text_config().vocab_size)
            tokenizer = load_tokenizer(folder)
            check_vocabulary(tokenizer, vocabulary_size, model)
            identity = pb.ModelIdentity(
                name=name,
                revision=weights_revision(folder),
                tokenizer_fingerprint=tokenizer_fingerprint(tokenizer, folder),
            )
        except (OSError, ValueError) as error:  # a CheckpointError is one
            raise ModelError(str(error)) from error
        network.requires_grad_(False)
        config = network.config.get_text_config()
        context_length = getattr(config, "max_position_embeddings", None)
        if context_length is None:
            raise ModelError(f"{model}: config.json names no max_position_embeddings")
        longest = context_length - 1
        info = BackendInfo(
            model=identity,
            engine=f"transformers {transformers.__version__}",
            parameter_count=network.num_parameters(),
            vocabulary_size=vocabulary_size,
            context_length=context_length,
            end_of_sequence_ids=generation.end_ids,
            longest_token_bytes=longest_token_bytes(tokenizer.get_vocab()),
            max_new_tokens=longest if max_new_tokens is None else min(max_new_tokens, longest),
            max_top_k=min(vocabulary_size, _MAX_TOP_K),
        )
        return cls(network, tokenizer, info)

    @property
    def info(self) -> BackendInfo:
        """Who computes; constant."""
        return self._info

    def encode(self, text: str, *, special_tokens: bool = True) -> Sequence[int]:
        """Token ids of a prompt, `(P,)`, or of a draft without special tokens, `(D,)`."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=special_tokens)["input_ids"]
        return ids

    def generate(self, query: Query, should_stop: ShouldStop, emit: Emit | None = None) -> Answer:
        """The greedy response: one forward pass over prompt and draft, then one for each token.

        Args:
            query: the prompt, `(P,)` ids, and a draft where there is one.
            should_stop: asked before each token.
            emit: see `Engine`.
        """
        response = Response(query, self._info, self.decode, self.spell, streamed=emit is not None)
        draft, lets_stand = response.read_draft() if self._greedy.takes_drafts else ((), None)
        choices = self._greedy.choices(query.prompt_ids, draft, lets_stand)
        stopped = None
        for _ in range(response.longest):
            if (stopped := should_stop()) is not None:
                break
            response.add(*next(choices))
            if response.ended:
                break
            if emit is not None and (delta := response.take()) is not None:
                emit(delta)
        return response.answer(stopped)

    def score(self, queries: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
        """The scores of each query's response; see `score_batch`."""
        return score_batch(self.network, queries, top_k)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a response's tokens, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
