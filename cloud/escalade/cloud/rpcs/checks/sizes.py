"""How large a request may be, in bytes, before anything is done for it; knows no backend, no gRPC.

The table of it stands in docs/architecture.md. gRPC itself takes messages of 4 MiB and headers of
16 KiB.
"""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.backends import BackendInfo
from escalade.cloud.errors import OptionOutOfRangeError, PromptTooLongError
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.prompt_size import exceeds, most_prompt_bytes
from escalade.v1.stop_text import MAX_STOP_BYTES, MAX_STOP_TEXTS

#: Names that a client gives: of a request, an item, a rule, a model, a gateway. Ours are 64.
MAX_NAME_BYTES = 256
#: Gateways that a query came through.
MAX_VIA = 32
# Keeps the check of one request to some 20 ms; a client with more sends another request.
MAX_SCORE_ITEMS = 4096

# Of a token in a prompt or draft: its id as a varint of 5 bytes at most, its log-probability as 4.
_ID_BYTES, _DRAFT_TOKEN_BYTES = 5, 9
# For all names and numbers; fields that this version does not know count too.
_REST_BYTES = 16 << 10


def check_generate_size(request: pb.GenerateRequest, info: BackendInfo) -> None:
    """Refuse a query with anything in it that is larger than it need be.

    Raises:
        PromptTooLongError: a text has more bytes than the window's tokens, or ids are more.
        OptionOutOfRangeError: names what else is too large, or too many.
    """
    stops = request.stopping.stop_sequences
    _check_count(stops, "stopping.stop_sequences", MAX_STOP_TEXTS)
    _check_count(request.via, "via", MAX_VIA)
    if request.ByteSize() <= MAX_NAME_BYTES:
        return  # nothing in it is larger; most are, and feel each check
    check_name(request.request_id, "request_id")
    most = most_prompt_bytes(info.context_length, info.longest_token_bytes)
    if exceeds(request.prompt.text, most):
        raise PromptTooLongError(
            "prompt.text",
            f"must be at most {most} bytes (the window of {info.context_length} tokens, and the"
            f" longest of {info.longest_token_bytes} bytes), got"
            f" {len(request.prompt.text.encode())}",
        )
    ids = len(request.prompt.tokens.ids)
    if ids:
        info.check_prompt_length(ids, "prompt.tokens.ids")
    for index, stop in enumerate(stops):
        check_name(stop, f"stopping.stop_sequences[{index}]", MAX_STOP_BYTES)
    for index, gateway in enumerate(request.via):
        check_name(gateway, f"via[{index}]")
    if request.HasField("draft"):
        draft = request.draft
        check_name(draft.text, "draft.text", most)
        check_name(draft.rule, "draft.rule")
        _check_count(draft.tokens.ids, "draft.tokens.ids", info.context_length)
        _check_count(draft.logprobs, "draft.logprobs", info.context_length)


def most_request_bytes(info: BackendInfo) -> int:
    """The largest query: each part at its largest. A larger one is not parsed."""
    text = most_prompt_bytes(info.context_length, info.longest_token_bytes)
    window = info.context_length * (_ID_BYTES + _DRAFT_TOKEN_BYTES)
    names = MAX_STOP_TEXTS * MAX_STOP_BYTES + MAX_VIA * MAX_NAME_BYTES
    return text + window + names + _REST_BYTES


def check_score_size(request: pb.ScoreRequest) -> None:
    """Refuse more items than are checked in time; their bytes gRPC has bounded.

    Raises:
        OptionOutOfRangeError: names what is too large, or too many.
    """
    check_name(request.request_id, "request_id")
    count = len(request.items)
    if not 1 <= count <= MAX_SCORE_ITEMS:
        raise OptionOutOfRangeError("items", f"must be 1..{MAX_SCORE_ITEMS} items, got {count}")


def check_name(text: str, field: str, most: int = MAX_NAME_BYTES) -> None:
    """Refuse a name that is too long.

    Raises:
        OptionOutOfRangeError: it has more than `most` bytes.
    """
    if exceeds(text, most):
        raise OptionOutOfRangeError(
            field, f"must be at most {most} bytes, got {len(text.encode())}"
        )


def _check_count(items: Sequence[object], field: str, most: int) -> None:
    if len(items) > most:
        raise OptionOutOfRangeError(field, f"must be at most {most}, got {len(items)}")
