"""A draft checked, and held against an answer; knows no engine, no network."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.backends import (
    ACCEPTANCE_RULES,
    RULES_OF_THE_DRAFT,
    Answer,
    BackendInfo,
    agreeing,
)
from escalade.cloud.errors import OptionOutOfRangeError
from escalade.cloud.rpcs.checks import check_fingerprint, check_ids
from escalade.v1 import cascade_pb2 as pb

# A float32 log-probability of a certain token may be rounded to just above 0.
_ROUNDING = 1e-5


def check_draft(draft: pb.Draft, info: BackendInfo) -> None:
    """Refuse a draft in another tokenizer's ids, or one that cannot be judged as it asks to be.

    An empty draft is welcome.

    Raises:
        TokenizerMismatchError: the fingerprint is not the backend's.
        TokenOutOfRangeError: an id outside the vocabulary.
        OptionOutOfRangeError: there are ids and text, or its acceptance names no rule, or asks for
            what the draft does not say.
    """
    ids = draft.tokens.ids
    if ids or draft.tokens.tokenizer_fingerprint:
        check_fingerprint(draft.tokens.tokenizer_fingerprint, "draft.tokens", info)
    check_ids(ids, "draft.tokens.ids", info)
    if ids and draft.text:
        raise OptionOutOfRangeError(
            "draft.text", f"must be empty beside draft.tokens, got {len(draft.text)} characters"
        )
    if draft.HasField("acceptance"):
        _check_acceptance(draft)


def _check_acceptance(draft: pb.Draft) -> None:
    rule, alpha = draft.acceptance.rule, draft.acceptance.alpha
    if not 0.0 <= alpha <= 1.0:
        raise OptionOutOfRangeError("draft.acceptance.alpha", f"must be in 0..1, got {alpha:g}")
    if rule not in ACCEPTANCE_RULES and (rule or alpha):
        known = f"{min(ACCEPTANCE_RULES)}..{max(ACCEPTANCE_RULES)}"
        raise OptionOutOfRangeError("draft.acceptance.rule", f"must be in {known}, got {rule}")
    if alpha and draft.start:
        raise OptionOutOfRangeError(
            "draft.start", f"must be 0 with an acceptance, got {draft.start}"
        )
    if not alpha or rule not in RULES_OF_THE_DRAFT:
        return
    count = len(draft.tokens.ids)
    if draft.text or len(draft.logprobs) != count:
        raise OptionOutOfRangeError(
            "draft.logprobs",
            f"must be one for each of {count} tokens for {pb.AcceptanceRule.Name(rule)},"
            f" got {len(draft.logprobs)}{' and text' if draft.text else ''}",
        )
    for place, value in enumerate(draft.logprobs):
        if not value <= _ROUNDING:
            raise OptionOutOfRangeError(
                f"draft.logprobs[{place}]", f"must be at most 0, got {value:g}"
            )


def compare_draft(answer: Answer, draft_ids: Sequence[int], start: int = 0) -> pb.DraftOutcome:
    """How far a draft agrees with an answer: no forward pass of its own.

    The large model's greedy choice given an agreeing prefix is the next token of its own
    greedy answer, so the comparison is exact up to the first disagreement. What an acceptance rule
    let stand is in the answer.

    Args:
        answer: the large model's whole answer.
        draft_ids: `(D,)` the small model's tokens; an end-of-sequence token may close them.
        start: position in the answer of the first draft token.
    """
    chosen = answer.chosen_ids[start:]
    accepted = agreeing(draft_ids, chosen)
    outcome = pb.DraftOutcome(accepted_count=accepted, draft_count=len(draft_ids))
    if accepted < len(chosen):
        outcome.correction_id = chosen[accepted]
        if start + accepted < len(answer.margins):
            outcome.margin = answer.margins[start + accepted]
    return outcome
