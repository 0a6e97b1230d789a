"""Checks a request against what the engine can do; knows no engine, no gRPC."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.engine import EngineInfo
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


def check_fingerprint(fingerprint: str, owner: str, info: EngineInfo) -> None:
    """Refuse token ids of another tokenizer, and those that do not say of which.

    Raises:
        TokenizerMismatchError: the fingerprint is not the engine's.
    """
    if fingerprint != info.tokenizer_fingerprint:
        raise TokenizerMismatchError(
            f"{owner}.tokenizer_fingerprint: this server has {info.tokenizer_fingerprint!r},"
            f" not {fingerprint!r}; send text instead"
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
