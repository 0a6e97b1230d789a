"""What is sent to an OpenAI-compatible server for each purpose; knows no transport, no reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from escalade.cloud.backends.openai.server.upstream import CHAT, COMPLETIONS

#: Of the best two the margin is made.
BEST_TWO = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a server was found to offer."""

    #: The model's name there.
    model: str
    #: The server's name, and its version where it says one.
    engine: str
    context_length: int
    parameter_count: int
    #: Asked as a chat, for there is nothing else.
    chat: bool
    streams: bool
    #: It takes token ids and gives them, and they are those of a tokenizer that is known.
    ids: bool
    #: It says ids beside log-probabilities alone, as llama.cpp's server does.
    ids_scored: bool
    #: The most log-probabilities for each token of a prompt; 0 where there are none.
    max_top_k: int

    @property
    def path(self) -> str:
        """Where its answers are."""
        return CHAT if self.chat else COMPLETIONS

    def body(
        self,
        prompt: str | Sequence[int],
        max_tokens: int,
        *,
        scored: bool = False,
        streamed: bool = False,
        prompt_logprobs: int = 0,
    ) -> dict[str, object]:
        """Ask for the greedy answer.

        Args:
            prompt: text, or ids where it takes them.
            max_tokens: of the answer, at least 1.
            scored: whether log-probabilities are wanted; only of ids.
            streamed: whether as a stream.
            prompt_logprobs: so many for each token of the prompt; not streamed.
        """
        said: dict[str, object] = (
            {"messages": [{"role": "user", "content": prompt}]} if self.chat else {"prompt": prompt}
        )
        said |= {"model": self.model, "max_tokens": max_tokens, "temperature": 0}
        if streamed:
            said |= {"stream": True, "stream_options": {"include_usage": True}}
        if self.ids:
            # The folder's own penalty would be vLLM's default, and greedy is without.
            said |= {"return_token_ids": True, "repetition_penalty": 1}
        if scored or self.ids_scored:
            said |= {"logprobs": BEST_TWO, "return_tokens_as_token_ids": True}
        if prompt_logprobs:
            said["prompt_logprobs"] = prompt_logprobs
        return said
