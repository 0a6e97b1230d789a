"""A Verify request checked, and how far a draft holds as a message; knows no backend."""

from __future__ import annotations

from escalade.cloud.backends import BackendInfo, Verdict
from escalade.cloud.errors import OptionOutOfRangeError, PromptTooLongError
from escalade.cloud.rpcs.checks import check_expected_model, check_generate_size, prompt_ids_of
from escalade.cloud.rpcs.draft import check_draft
from escalade.v1 import cascade_pb2 as pb


def check_verify(request: pb.VerifyRequest, info: BackendInfo) -> None:
    """Refuse what cannot be verified; of a prompt in text, its length is the backend's to judge.

    Raises:
        ModelMismatchError: the client expects another model.
        PromptEmptyError, PromptTooLongError: the prompt, or prompt and draft together.
        TokenizerMismatchError: ids of another tokenizer.
        TokenOutOfRangeError: an id outside the vocabulary.
        OptionOutOfRangeError: there is no draft, or it does not begin the answer.
    """
    asked = pb.GenerateRequest(
        request_id=request.request_id, prompt=request.prompt, draft=request.draft
    )
    check_generate_size(asked, info)
    check_expected_model(request.expected_model, info)
    prompt = prompt_ids_of(request.prompt, info)
    check_draft(request.draft, info)
    draft = len(request.draft.tokens.ids)
    if not draft:
        raise OptionOutOfRangeError("draft.tokens.ids", "must hold at least 1 token, got 0")
    if request.draft.start:
        raise OptionOutOfRangeError("draft.start", f"must be 0, got {request.draft.start}")
    if len(prompt) + draft >= info.context_length:
        raise PromptTooLongError(
            "draft.tokens.ids",
            f"must hold 1..{info.context_length - 1 - len(prompt)} tokens after a prompt of"
            f" {len(prompt)}, got {draft}",
        )


def verdict_response(
    request: pb.VerifyRequest, verdict: Verdict, info: BackendInfo
) -> pb.VerifyResponse:
    """How far the draft holds."""
    outcome = pb.DraftOutcome(
        accepted_count=verdict.accepted,
        margin=verdict.margin,
        draft_count=len(request.draft.tokens.ids),
    )
    if verdict.lenient is not None:
        outcome.acceptance.CopyFrom(request.draft.acceptance)
        outcome.lenient_count = verdict.lenient
    if verdict.correction_id is not None:
        outcome.correction_id = verdict.correction_id
    return pb.VerifyResponse(
        request_id=request.request_id,
        model=info.model,
        outcome=outcome,
        logprobs=verdict.logprobs,
        usage=pb.Usage(
            prompt_tokens=verdict.prompt_tokens,
            cached_prompt_tokens=verdict.cached_prompt_tokens,
            accepted_draft_tokens=verdict.accepted - outcome.lenient_count,
        ),
        timing=pb.Timing(queue_s=verdict.queue_s, compute_s=verdict.compute_s),
    )
