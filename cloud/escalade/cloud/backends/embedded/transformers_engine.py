"""Decoding and scoring in this process with transformers; knows no gRPC, no queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from escalade.checkpoint import (
    LONGEST_WINDOW,
    check_vocabulary,
    load_network,
    load_tokenizer,
    locate,
    read_generation,
    tokenizer_fingerprint,
)
from escalade.cloud.backends.backend import BackendInfo
from escalade.cloud.backends.decoding import Greedy, chooser_of, score_batch
from escalade.cloud.backends.embedded.engine import Emit, ShouldStop
from escalade.cloud.backends.embedded.placement import placement_of
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
# Of each token of an answer; vLLM's --max-logprobs by default.
_MAX_TOP_LOGPROBS = 20


class TransformersEngine:
    """A causal language model or an encoder-decoder, and its tokenizer, in memory.

    Equal prompts give equal answers, bit for bit, on one machine and thread count: queries
    are computed alone, never in a batch whose shape would change the arithmetic. On a GPU that
    holds where `load` was told to be deterministic. Scores are computed in batches, and may
    differ in the last bits from one batch to another.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        info: BackendInfo,
        decoder_start_id: int | None = None,
    ) -> None:
        #: The model itself, for whoever computes with it otherwise.
        self.network = model
        self._tokenizer = tokenizer
        self._info = info
        #: What a token spells out.
        self.spell = speller(tokenizer.backend_tokenizer)
        self._decoder_start_id = decoder_start_id
        self._greedy = Greedy(model, decoder_start_id)

    @classmethod
    def load(
        cls,
        model: str,
        *,
        max_new_tokens: int | None = None,
        threads: int | None = None,
        device: str = "cpu",
        dtype: str = "auto",
        deterministic: bool = False,
    ) -> TransformersEngine:
        """Load a model from a folder, or of the hub: safetensors only, no remote code.

        Args:
            model: folder, or `hub:NAME`.
            max_new_tokens: default and upper bound of a response; None, or more than fits,
                is the context length less one prompt token.
            threads: torch's intra-op threads for this process; None leaves torch's default.
            device: see `placement_of`.
            dtype: see `placement_of`.
            deterministic: see `placement_of`.

        Raises:
            ModelError: something is missing, or does not load, or does not fit together.
        """
        if max_new_tokens is not None and max_new_tokens < 1:
            raise ModelError(f"max_new_tokens: must be at least 1, got {max_new_tokens}")
        if threads is not None:
            if threads < 1:
                raise ModelError(f"threads: must be at least 1, got {threads}")
            torch.set_num_threads(threads)
        placement = placement_of(device, dtype, deterministic=deterministic)
        try:
            name, folder = locate(model)
            network = load_network(folder, dtype=placement.dtype, device=placement.device)
            generation = read_generation(network, folder)
            vocabulary_size = int(network.config.get_text_config(decoder=True).vocab_size)
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
        context_length = _window_of(network.config, model)
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
            max_top_logprobs=min(vocabulary_size, _MAX_TOP_LOGPROBS),
        )
        return cls(network, tokenizer, info, generation.decoder_start_id)

    @property
    def info(self) -> BackendInfo:
        """Who computes; constant."""
        return self._info

    def encode(self, text: str, *, special_tokens: bool = True) -> Sequence[int]:
        """Token ids of a prompt, `(P,)`, or of a draft without special tokens, `(D,)`."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=special_tokens)["input_ids"]
        return ids

    def generate(self, query: Query, should_stop: ShouldStop, emit: Emit | None = None) -> Answer:
        """The response: one forward pass over prompt and draft, then one for each token.

        Args:
            query: the prompt, `(P,)` ids, and a draft where there is one. It is no help where
                tokens are drawn, and is not read.
            should_stop: asked before each token.
            emit: see `Engine`.
        """
        response = Response(query, self._info, self.decode, self.spell, streamed=emit is not None)
        draft, lets_stand = response.read_draft() if self._greedy.takes_drafts else ((), None)
        choices = self._greedy.choices(query.prompt_ids, draft, chooser_of(query), lets_stand)
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

    def share(self, turn: Callable[[], AbstractContextManager[None]]) -> None:
        """Take turns with another user of the network: each pass of `generate` is one."""
        self._greedy.turn = turn

    def score(self, queries: Sequence[ScoreQuery], top_k: int) -> list[Scores]:
        """The scores of each query's response; see `score_batch`."""
        return score_batch(self.network, queries, top_k, self._decoder_start_id)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a response's tokens, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def _window_of(config: PreTrainedConfig, model: str) -> int:
    """Longest prompt plus response, in tokens.

    Raises:
        ModelError: the folder does not say.
    """
    text = config.get_text_config(decoder=True)
    longest: int | None = getattr(text, "max_position_embeddings", None)
    if longest is None and config.is_encoder_decoder:
        # T5 has no last position, only the length that it was trained on.
        longest = getattr(config, "n_positions", LONGEST_WINDOW)
    if longest is None:
        raise ModelError(f"{model}: config.json names no max_position_embeddings")
    return longest
