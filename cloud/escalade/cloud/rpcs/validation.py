"""Checks a request against what the engine can do; knows no engine, no gRPC."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.backends import EngineInfo
from escalade.cloud.errors import (
    ModelMismatchError,
    OptionOutOfRangeError,
    PromptEmptyError,
    PromptTooLongError,
    TokenizerMismatchError,
    TokenOutOfRangeError,
)
from escalade.v1 import cascade_pb2 as pb

# The OpenAI API takes 4, vLLM any number; each is searched for after every token.
MAX_STOP_SEQUENCES = 16

# Keeps the check of one request to some 20 ms; a client with more sends another request.
MAX_SCORE_ITEMS = 4096


def check_expected_model(expected: pb.ModelIdentity, info: EngineInfo) -> None:
    """Refuse a client that expects another model, in any field it has filled.

    Raises:
        ModelMismatchError: another name or revision.
        TokenizerMismatchError: another tokenizer.
    """
    for field in ("name", "revision"):
        wanted, served = getattr(expected, field), getattr(info, field)
        if wanted and wanted != served:
            raise ModelMismatchError(
                f"expected_model.{field}: this server has {served!r}, not {wanted!r}"
            )
    if expected.tokenizer_fingerprint:
        check_fingerprint(expected.tokenizer_fingerprint, "expected_model", info)


def check_fingerprint(
    fingerprint: str, owner: str, info: EngineInfo, advice: str = "; send text instead"
) -> None:
    """Refuse token ids of another tokenizer, and those that do not say of which.

    Args:
        fingerprint: the client's.
        owner: path of what carries it in the request.
        info: the engine's.
        advice: what the client may do, after the refusal.

    Raises:
        TokenizerMismatchError: the fingerprint is not the engine's.
    """
    if fingerprint != info.tokenizer_fingerprint:
        raise TokenizerMismatchError(
            f"{owner}.tokenizer_fingerprint: this server has {info.tokenizer_fingerprint!r},"
            f" not {fingerprint!r}{advice}"
        )


def check_ids(ids: Sequence[int], field: str, info: EngineInfo) -> None:
    """Refuse token ids outside the vocabulary.

    Raises:
        TokenOutOfRangeError: names the first such id.
    """
    if not ids or max(ids) < info.vocabulary_size:
        return
    position, token = next(item for item in enumerate(ids) if item[1] >= info.vocabulary_size)
    raise TokenOutOfRangeError(
        f"{field}[{position}]", f"must be in 0..{info.vocabulary_size - 1}, got {token}"
    )


def check_prompt_length(count: int, field: str, info: EngineInfo) -> None:
    """Refuse an empty prompt and one that leaves no room for a single token.

    Raises:
        PromptEmptyError: `count` is 0.
        PromptTooLongError: `count` is not below the context length.
    """
    if count == 0:
        raise PromptEmptyError(field, "must hold at least 1 token, got 0")
    if count >= info.context_length:
        raise PromptTooLongError(
            field, f"must hold 1..{info.context_length - 1} tokens, got {count}"
        )


def check_draft(draft: pb.Draft, info: EngineInfo) -> None:
    """Refuse a draft in another tokenizer's ids; an empty draft is welcome.

    Raises:
        TokenizerMismatchError: the fingerprint is not the engine's.
        TokenOutOfRangeError: an id outside the vocabulary.
    """
    if draft.tokens.ids or draft.tokens.tokenizer_fingerprint:
        check_fingerprint(draft.tokens.tokenizer_fingerprint, "draft.tokens", info)
    check_ids(draft.tokens.ids, "draft.tokens.ids", info)


def check_greedy(sampling: pb.SamplingOptions) -> None:
    """Refuse sampling: only the greedy choice is served. A seed changes nothing and passes.

    Raises:
        OptionOutOfRangeError: names the option and the value that means greedy.
    """
    if sampling.temperature != 0:
        raise OptionOutOfRangeError(
            "sampling.temperature", f"must be 0 (greedy), got {sampling.temperature:g}"
        )
    if sampling.HasField("top_p") and sampling.top_p != 1:
        raise OptionOutOfRangeError("sampling.top_p", f"must be 1, got {sampling.top_p:g}")
    if sampling.top_k > 1:
        raise OptionOutOfRangeError("sampling.top_k", f"must be 0 or 1, got {sampling.top_k}")


def max_new_tokens_of(stopping: pb.StoppingOptions, info: EngineInfo) -> int:
    """How many tokens may be generated.

    Raises:
        OptionOutOfRangeError: not in 1..`info.max_new_tokens`.
    """
    if not stopping.HasField("max_new_tokens"):
        return info.max_new_tokens
    if not 1 <= stopping.max_new_tokens <= info.max_new_tokens:
        raise OptionOutOfRangeError(
            "stopping.max_new_tokens",
            f"must be in 1..{info.max_new_tokens}, got {stopping.max_new_tokens}",
        )
    return stopping.max_new_tokens


def stop_sequences_of(stopping: pb.StoppingOptions) -> tuple[str, ...]:
    """The texts at which a response is cut.

    Raises:
        OptionOutOfRangeError: too many, or one is empty.
    """
    sequences = tuple(stopping.stop_sequences)
    if len(sequences) > MAX_STOP_SEQUENCES:
        raise OptionOutOfRangeError(
            "stopping.stop_sequences",
            f"must be at most {MAX_STOP_SEQUENCES}, got {len(sequences)}",
        )
    if "" in sequences:
        raise OptionOutOfRangeError(
            f"stopping.stop_sequences[{sequences.index('')}]", "must not be empty"
        )
    return sequences


def check_score(request: pb.ScoreRequest, info: EngineInfo) -> None:
    """Refuse what cannot be scored; every item is checked, those already received included.

    Raises:
        ModelMismatchError: the client expects another model.
        TokenizerMismatchError: it expects another tokenizer, or an item's ids are of one.
        OptionOutOfRangeError: items, top_k or resume_from, or a response that is empty.
        PromptEmptyError: an item has no prompt.
        PromptTooLongError: prompt and response do not fit the context together.
        TokenOutOfRangeError: an id outside the vocabulary.
    """
    check_expected_model(request.expected_model, info)
    count = len(request.items)
    if not 1 <= count <= MAX_SCORE_ITEMS:
        raise OptionOutOfRangeError("items", f"must be 1..{MAX_SCORE_ITEMS} items, got {count}")
    if request.top_k > info.max_top_k:
        raise OptionOutOfRangeError("top_k", f"must be in 0..{info.max_top_k}, got {request.top_k}")
    if request.resume_from > count:
        raise OptionOutOfRangeError(
            "resume_from", f"must be in 0..{count}, got {request.resume_from}"
        )
    for index, item in enumerate(request.items):
        _check_score_item(item, f"items[{index}]", info)


def _check_score_item(item: pb.ScoreItem, field: str, info: EngineInfo) -> None:
    prompt, response = len(item.prompt.ids), len(item.response.ids)
    check_prompt_length(prompt, f"{field}.prompt.ids", info)
    if response == 0:
        raise OptionOutOfRangeError(f"{field}.response.ids", "must hold at least 1 token, got 0")
    if prompt + response > info.context_length:
        raise PromptTooLongError(
            f"{field}.response.ids",
            f"must hold 1..{info.context_length - prompt} tokens after a prompt of {prompt},"
            f" got {response}",
        )
    for name, tokens in (("prompt", item.prompt), ("response", item.response)):
        check_fingerprint(tokens.tokenizer_fingerprint, f"{field}.{name}", info, advice="")
        check_ids(tokens.ids, f"{field}.{name}.ids", info)
