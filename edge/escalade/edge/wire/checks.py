"""What a server says, held against what can be; one place for each message, knows no channel.

A server is another program, perhaps of another version, perhaps nobody's friend. What cannot be is
a `CloudError` of reason BAD_ANSWER: the query is degraded, not misled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from escalade.edge.base import counted
from escalade.edge.errors import CloudError
from escalade.v1 import cascade_pb2 as pb

#: A float32 log-probability of a certain token may be rounded to just above 0.
ROUNDING = 1e-5
# More is no count of parameters that a float still tells apart, nor one that a trace takes.
_MOST_PARAMETERS = 1 << 53
# Of a tier or a model: it stands in messages, in traces and in a row of a terminal.
_LONGEST_NAME = 256
_ANSWERS = frozenset(
    {
        pb.STOP_REASON_END_OF_SEQUENCE,
        pb.STOP_REASON_STOP_SEQUENCE,
        pb.STOP_REASON_MAX_TOKENS,
        pb.STOP_REASON_CONTEXT_LIMIT,
    }
)


def check_answer(
    request: pb.GenerateRequest,
    response: pb.GenerateResponse,
    address: str,
    vocabulary_sizes: Mapping[str, int],
) -> None:
    """Refuse an answer that is to another question, or none.

    Args:
        request: what was asked, with its id.
        response: what came.
        address: who said it, for the message.
        vocabulary_sizes: of the tokenizers that are known, by their fingerprint.

    Raises:
        CloudError: of reason BAD_ANSWER.
    """
    tokens, most = len(response.token_ids), request.stopping.max_new_tokens
    # Who is asked in ids, and does not say otherwise, answers in the same.
    asked_in = request.prompt.tokens.tokenizer_fingerprint
    size = vocabulary_sizes.get(response.model.tokenizer_fingerprint or asked_in)
    wrong = _wrong_names(*_names_of(response.model), *_names(response.reports))
    if response.request_id != request.request_id or response.stop_reason not in _ANSWERS:
        wrong = "the answer is not to this question"
    elif any(not value <= ROUNDING for value in response.logprobs):
        wrong = "a log-probability of the answer is above 0 or no number"
    elif response.logprobs and len(response.logprobs) not in {tokens, tokens + 1}:
        wrong = (
            f"{counted(len(response.logprobs), 'log-probability')} for {counted(tokens, 'token')}"
        )
    elif request.stopping.HasField("max_new_tokens") and tokens > most:
        wrong = f"{counted(tokens, 'token')}, at most {most} were asked for"
    elif size is not None and tokens and max(response.token_ids) >= size:
        wrong = f"token id {max(response.token_ids)}, its tokenizer has 0..{size - 1}"
    elif not all(0 <= value < math.inf for value in _seconds(response)):
        wrong = "its times are negative or no numbers"
    elif any(not math.isfinite(report.threshold) for report in response.reports):
        wrong = "a threshold of its tiers is no finite number"
    elif response.HasField("draft_outcome") and not _may_be(
        request.draft, response.draft_outcome, size
    ):
        wrong = "what it says of the draft cannot be"
    if wrong is not None:
        raise bad_answer(address, wrong)


def check_chunk(
    request: pb.GenerateRequest,
    chunk: pb.TokenChunk,
    address: str,
    vocabulary_sizes: Mapping[str, int],
) -> None:
    """Refuse a piece of an answer that cannot be one.

    Args:
        request: what was asked.
        chunk: what came.
        address: who said it, for the message.
        vocabulary_sizes: see `check_answer`.

    Raises:
        CloudError: of reason BAD_ANSWER.
    """
    tokens = len(chunk.token_ids)
    size = vocabulary_sizes.get(request.prompt.tokens.tokenizer_fingerprint)
    wrong = None
    if any(not value <= ROUNDING for value in chunk.logprobs):
        wrong = "a log-probability of the answer is above 0 or no number"
    elif len(chunk.logprobs) not in {0, tokens}:
        wrong = f"{counted(len(chunk.logprobs), 'log-probability')} for {counted(tokens, 'token')}"
    elif size is not None and tokens and max(chunk.token_ids) >= size:
        wrong = f"token id {max(chunk.token_ids)}, its tokenizer has 0..{size - 1}"
    if wrong is not None:
        raise bad_answer(address, wrong)


def check_verdict(
    request: pb.VerifyRequest,
    response: pb.VerifyResponse,
    address: str,
    vocabulary_sizes: Mapping[str, int],
) -> None:
    """Refuse what cannot be said of a draft.

    Args:
        request: what was asked, with its id.
        response: what came.
        address: who said it, for the message.
        vocabulary_sizes: see `check_answer`.

    Raises:
        CloudError: of reason BAD_ANSWER.
    """
    draft = request.draft.tokens
    size = vocabulary_sizes.get(draft.tokenizer_fingerprint)
    wrong = _wrong_names(*_names_of(response.model))
    if response.request_id != request.request_id:
        wrong = "the verdict is not on this draft"
    elif not _may_be(request.draft, response.outcome, size):
        wrong = "what it says of the draft cannot be"
    elif len(response.logprobs) != len(draft.ids):
        wrong = (
            f"{counted(len(response.logprobs), 'log-probability')} for a draft of"
            f" {counted(len(draft.ids), 'token')}"
        )
    elif any(not value <= ROUNDING for value in response.logprobs):
        wrong = "a log-probability of the draft is above 0 or no number"
    if wrong is not None:
        raise bad_answer(address, wrong)


def check_info(info: pb.GetModelInfoResponse, address: str) -> None:
    """Refuse a server that does not say who it is.

    Raises:
        CloudError: of reason BAD_ANSWER.
    """
    members = [one for tier in info.tiers for one in tier.members]
    counts = [info.parameter_count, *(one.parameter_count for one in members)]
    wrong = _wrong_names(*_names_of(info.model), *_names(info.tiers))
    if not info.model.name or info.parameter_count < 1:
        wrong = "GetModelInfo names no model"
    elif max(counts) > _MOST_PARAMETERS:
        wrong = f"{max(counts)} parameters, at most {_MOST_PARAMETERS} are believed"
    if wrong is not None:
        raise bad_answer(address, wrong)


def bad_answer(address: str, wrong: str) -> CloudError:
    """What is raised where a server says what cannot be."""
    return CloudError("BAD_ANSWER", f"{address}: {wrong}")


def _seconds(response: pb.GenerateResponse) -> Iterable[float]:
    timing = response.timing
    yield from (timing.queue_s, timing.compute_s, timing.queue_s + timing.compute_s)
    for report in response.reports:
        yield report.seconds
        yield from (one.seconds for one in report.members)


def _names(tiers: Iterable[pb.TierReport] | Iterable[pb.TierDescription]) -> Iterable[str]:
    for tier in tiers:
        yield tier.tier
        for one in tier.members:
            yield from _names_of(one.model)


def _names_of(model: pb.ModelIdentity) -> tuple[str, str, str]:
    return model.name, model.revision, model.tokenizer_fingerprint


def _wrong_names(*names: str) -> str | None:
    for name in names:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            return f"a name of at most {_LONGEST_NAME} printable characters, got {name[:40]!r}"
    return None


def _may_be(sent: pb.Draft, outcome: pb.DraftOutcome, size: int | None) -> bool:
    # A text is as many tokens as its server makes of it.
    most = outcome.draft_count if sent.text else len(sent.tokens.ids)
    asked = outcome.acceptance == sent.acceptance
    return (
        outcome.lenient_count <= outcome.accepted_count <= most
        and (asked if outcome.HasField("acceptance") else not outcome.lenient_count)
        and outcome.margin >= 0
        and (size is None or outcome.correction_id < size)
    )
