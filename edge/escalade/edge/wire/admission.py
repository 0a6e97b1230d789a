"""The device's policy before a question, and its budget after; knows no channel and no rule."""

from __future__ import annotations

import uuid

from escalade.edge.policy import Guard, Leaving, Permit, Spending
from escalade.v1 import cascade_pb2 as pb


def admitted(
    guard: Guard | None,
    request: pb.GenerateRequest | pb.VerifyRequest,
    address: str,
    leaving: Leaving | None,
) -> Permit:
    """See `CloudClient.admit`; `address` is where the request goes."""
    request.request_id = request.request_id or uuid.uuid4().hex
    if leaving is None:
        leaving = Leaving(address, address, _texts_of(request))
    if guard is None:
        return Permit(None, leaving)
    tokens = len(request.prompt.tokens.ids) + len(request.draft.tokens.ids)
    spending = Spending(1, tokens, request.ByteSize(), tokens * leaving.prices[0] / 1e6)
    return guard.admit(leaving._replace(spending=spending))


def note_spent(permit: Permit, response: pb.GenerateResponse) -> None:
    """What a call took, for the policy's budget."""
    permit.took(
        prompt_tokens=response.usage.prompt_tokens,
        generated_tokens=response.usage.generated_tokens,
        bytes_down=response.ByteSize(),
    )


def _texts_of(request: pb.GenerateRequest | pb.VerifyRequest) -> list[str] | None:
    """What is sent, as far as it says so itself; None where it holds token ids."""
    if request.prompt.tokens.ids or request.draft.tokens.ids:
        return None
    stops = request.stopping.stop_sequences if isinstance(request, pb.GenerateRequest) else ()
    return [request.prompt.text, request.draft.text, *stops]
