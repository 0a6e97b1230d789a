"""The fields of a request: what is served, what changes no answer, what is refused; reads none.

What OpenAI's API names and a device cannot give is refused by its name, unless it has the value
that asks for nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

#: How streaming and deferral go together, see `escalade.edge.endpoint`.
StreamMode = Literal["hold", "replace", "early"]

# As in OpenAI's API.
_MOST_CHOICES, _MOST_TOP, _HOTTEST = 128, 20, 2.0
_MOST_TOP_OF_TEXT = 5
_SEEDS = 1 << 63


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stream has beside its pieces."""

    include_usage: bool = False
    #: Against listeners who count bytes: of use to nobody here, and nothing is sent.
    include_obfuscation: bool = False


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What only this endpoint takes, under `escalade`."""

    #: None takes what the endpoint was started with.
    stream: StreamMode | None = None


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What both kinds of request have; None is as if a field were not there."""

    model: str
    n: Annotated[int, msgspec.Meta(ge=1, le=_MOST_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=_HOTTEST)] | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] | None = None
    #: Not OpenAI's; vLLM and llama.cpp take it.
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=-_SEEDS, le=_SEEDS - 1)] | None = None
    escalade: Own | None = None


class ChatBody(Body, frozen=True, kw_only=True):
    """Of `/v1/chat/completions`."""

    messages: list[dict[str, object]]
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=_MOST_TOP)] | None = None


class TextBody(Body, frozen=True, kw_only=True):
    """Of `/v1/completions`."""

    prompt: str | list[object]
    best_of: int | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=_MOST_TOP_OF_TEXT)] | None = None


class Refused(msgspec.Struct, frozen=True):
    """A field that is refused."""

    #: With these it asks for nothing, and is taken.
    neutral: tuple[object, ...]
    why: str


_TOOLS = "the models here call no tools"
_FORMAT = "answers are not held to a schema or to JSON"
_PENALTY = "tokens are drawn from the model's own distribution"

#: Of both kinds.
REFUSED: dict[str, Refused] = {
    "logit_bias": Refused(({},), _PENALTY),
    "presence_penalty": Refused((0,), _PENALTY),
    "frequency_penalty": Refused((0,), _PENALTY),
}
REFUSED_OF_CHAT: dict[str, Refused] = {
    **REFUSED,
    "tools": Refused(([],), _TOOLS),
    "tool_choice": Refused(("none", "auto"), _TOOLS),
    "functions": Refused(([],), _TOOLS),
    "function_call": Refused(("none", "auto"), _TOOLS),
    "web_search_options": Refused((), _TOOLS),
    "response_format": Refused(({"type": "text"},), _FORMAT),
    "modalities": Refused((["text"],), "answers are text"),
    "audio": Refused((), "answers are text"),
    "prediction": Refused((), "no prediction of an answer is taken"),
    "reasoning_effort": Refused(("none",), "the models here have no such setting"),
    "verbosity": Refused(("medium",), "the models here have no such setting"),
    "store": Refused((False,), "no conversation is kept"),
    "moderation": Refused((), "nothing is moderated"),
}
REFUSED_OF_TEXT: dict[str, Refused] = {
    **REFUSED,
    "echo": Refused((False,), "prompts are not given back"),
    "suffix": Refused(("",), "nothing is filled in before a suffix"),
}

#: What OpenAI's API takes and no answer depends on.
WITHOUT_EFFECT = frozenset(
    {
        *("user", "metadata", "safety_identifier", "service_tier", "parallel_tool_calls"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
    }
)
