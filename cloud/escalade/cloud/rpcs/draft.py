"""Holds the small model's draft against an answer; knows no engine, no network."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.backends import Answer, agreeing
from escalade.v1 import cascade_pb2 as pb


def compare_draft(answer: Answer, draft_ids: Sequence[int], start: int = 0) -> pb.DraftOutcome:
    """How far a draft agrees with the greedy answer: no forward pass of its own.

    The large model's greedy choice given an agreeing prefix is the next token of its own
    greedy answer, so the comparison is exact up to the first disagreement.

    Args:
        answer: the large model's whole answer.
        draft_ids: `(D,)` the small model's tokens; an end-of-sequence token may close them.
        start: position in the answer of the first draft token.
    """
    chosen = answer.chosen_ids[start:]
    accepted = agreeing(draft_ids, chosen)
    outcome = pb.DraftOutcome(accepted_count=accepted)
    if accepted < len(chosen):
        outcome.correction_id = chosen[accepted]
        if answer.margins:
            outcome.margin = answer.margins[start + accepted]
    return outcome
