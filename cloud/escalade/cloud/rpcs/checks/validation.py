"""Checks a request against what the backend can do; knows no backend, no gRPC.

How large it may be stands in `sizes.py`, and is looked at first.
"""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.backends import BackendInfo
from escalade.cloud.errors import (
    ModelMismatchError,
    OptionOutOfRangeError,
    PromptEmptyError,
    PromptTooLongError,
    TokenizerMismatchError,
    TokenOutOfRangeError,
)
from escalade.cloud.rpcs.checks.sizes import check_name
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.quoting import quoted

_PRIORITIES = frozenset(pb.Priority.values())


def check_expected_model(expected: pb.ModelIdentity, info: BackendInfo) -> None:
    """Refuse a client that expects another model, in any field it has filled.

    Raises:
        ModelMismatchError: another name or revision.
        TokenizerMismatchError: another tokenizer.
    """
    for field in ("name", "revision"):
        wanted, served = getattr(expected, field), getattr(info.model, field)
        if wanted and wanted != served:
            raise ModelMismatchError(
                f"expected_model.{field}: this server has {served!r}, not {quoted(wanted)}"
            )
    if expected.tokenizer_fingerprint:
        check_fingerprint(expected.tokenizer_fingerprint, "expected_model", info)


def check_fingerprint(
    fingerprint: str, owner: str, info: BackendInfo, advice: str = "; send text instead"
) -> None:
    """Refuse token ids of another tokenizer, and those that do not say of which.

    Args:
        fingerprint: the client's.
        owner: path of what carries it in the request.
        info: the backend's.
        advice: what the client may do, after the refusal.

    Raises:
        TokenizerMismatchError: the fingerprint is not the backend's.
    """
    served = info.model.tokenizer_fingerprint
    if fingerprint != served or not served:  # no tokenizer is known: none is the client's
        raise TokenizerMismatchError(
            f"{owner}.tokenizer_fingerprint: this server has {served!r},"
            f" not {quoted(fingerprint)}{advice}"
        )


def check_ids(ids: Sequence[int], field: str, info: BackendInfo) -> None:
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


def prompt_ids_of(prompt: pb.Prompt, info: BackendInfo) -> tuple[int, ...]:
    """The ids of a prompt; empty where it is text, which is the backend's to tokenize.

    Raises:
        PromptEmptyError: there is neither.
        PromptTooLongError: ids leave no room for a single token.
        TokenizerMismatchError: the fingerprint is not the backend's.
        TokenOutOfRangeError: an id outside the vocabulary.
    """
    if prompt.WhichOneof("content") != "tokens":
        if not prompt.text:
            raise PromptEmptyError("prompt", "must hold text or at least 1 token, got neither")
        return ()
    field = "prompt.tokens.ids"
    tokens = prompt.tokens
    ids = tuple(tokens.ids[:])  # copied in C
    info.check_prompt_length(len(ids), field)
    check_fingerprint(tokens.tokenizer_fingerprint, "prompt.tokens", info)
    check_ids(ids, field, info)
    return ids


def check_priority(priority: pb.Priority) -> None:
    """Refuse one that this version does not know.

    Raises:
        OptionOutOfRangeError: it does not.
    """
    if priority not in _PRIORITIES:
        most = max(_PRIORITIES)
        raise OptionOutOfRangeError("priority", f"must be in 0..{most}, got {priority}")


def max_new_tokens_of(stopping: pb.StoppingOptions, info: BackendInfo) -> int:
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


def stop_texts_of(stopping: pb.StoppingOptions) -> tuple[str, ...]:
    """The texts at which a response is cut.

    Raises:
        OptionOutOfRangeError: one is empty.
    """
    texts = tuple(stopping.stop_sequences[:])
    if "" in texts:
        raise OptionOutOfRangeError(
            f"stopping.stop_sequences[{texts.index('')}]", "must not be empty"
        )
    return texts


def check_score(request: pb.ScoreRequest, info: BackendInfo) -> None:
    """Refuse what cannot be scored, by what can be seen without looking at the items.

    Raises:
        ModelMismatchError: the client expects another model.
        TokenizerMismatchError: it expects another tokenizer.
        OptionOutOfRangeError: top_k or resume_from.
    """
    check_expected_model(request.expected_model, info)
    count = len(request.items)
    if request.top_k > info.max_top_k:
        raise OptionOutOfRangeError("top_k", f"must be in 0..{info.max_top_k}, got {request.top_k}")
    if request.resume_from > count:
        raise OptionOutOfRangeError(
            "resume_from", f"must be in 0..{count}, got {request.resume_from}"
        )


def check_score_items(request: pb.ScoreRequest, info: BackendInfo) -> None:
    """Refuse items that cannot be scored; those already received are checked too.

    Takes some 20 ms for as many items as there may be.

    Raises:
        TokenizerMismatchError: an item's ids are of another tokenizer.
        OptionOutOfRangeError: a response is empty, or an item's name too long.
        PromptEmptyError: an item has no prompt.
        PromptTooLongError: prompt and response do not fit the context together.
        TokenOutOfRangeError: an id outside the vocabulary.
    """
    for index, item in enumerate(request.items):
        check_name(item.item_id, f"items[{index}].item_id")
        _check_score_item(item, f"items[{index}]", info)


def _check_score_item(item: pb.ScoreItem, field: str, info: BackendInfo) -> None:
    prompt, response = len(item.prompt.ids), len(item.response.ids)
    info.check_prompt_length(prompt, f"{field}.prompt.ids")
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
