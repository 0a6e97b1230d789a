"""How the answer of a tier goes along to the next, and what its server may say of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import EdgeClient
from escalade.edge.errors import CloudError
from escalade.edge.tiers import Acceptance, Drafts
from escalade.edge.trace import DraftUse, read_trace
from escalade.edge.wire.checks import check_answer
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
ALWAYS = -1.0
V3 = pb.ACCEPTANCE_RULE_TOKEN_V3
MakeClient = Callable[..., EdgeClient]


def test_a_rule_travels_and_what_it_let_stand_is_in_the_trace(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    asked = pb.Acceptance(rule=V3, alpha=0.25)
    scripted_cloud.says(
        draft_outcome=pb.DraftOutcome(accepted_count=1, lenient_count=1, acceptance=asked)
    )
    drafts = Drafts(acceptance=Acceptance("token_v3", 0.25))
    with make_client(ALWAYS, drafts=drafts, trace=tmp_path / "trace") as client:
        client.ask(PROMPT)
    [request] = scripted_cloud.asked
    assert request.draft.acceptance == asked
    assert request.draft.tokens.ids
    [record] = read_trace(tmp_path / "trace").records
    assert record.tiers[1] is not None
    assert record.tiers[1].link is not None
    assert record.tiers[1].link.draft == DraftUse(
        accepted=1, lenient=1, rule="token_v3", alpha=0.25
    )


def test_a_draft_goes_along_as_text_only_where_that_is_asked_for(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    for drafts in (Drafts(), Drafts(as_text=True)):
        with make_client(ALWAYS, prompt_form="text", drafts=drafts) as client:
            client.ask(PROMPT)
    silent, spoken = scripted_cloud.asked
    assert not silent.HasField("draft")
    assert spoken.draft.text
    assert not spoken.draft.tokens.ids
    assert not spoken.draft.logprobs


@pytest.mark.parametrize(
    ("outcome", "may_be"),
    [
        ({"accepted_count": 2}, True),
        ({"accepted_count": 3}, False),
        ({"accepted_count": 2, "lenient_count": 1}, False),  # by no rule
        ({"accepted_count": 2, "lenient_count": 1, "acceptance": (V3, 0.5)}, True),
        ({"accepted_count": 2, "lenient_count": 1, "acceptance": (V3, 0.75)}, False),
        ({"accepted_count": 1, "lenient_count": 2, "acceptance": (V3, 0.5)}, False),
    ],
)
def test_what_is_said_of_a_draft_is_held_against_what_was_asked(
    outcome: dict[str, Any], *, may_be: bool
) -> None:
    request = pb.GenerateRequest(
        request_id="r",
        draft=pb.Draft(
            tokens=pb.TokenSequence(ids=[4, 5]), acceptance=pb.Acceptance(rule=V3, alpha=0.5)
        ),
    )
    if "acceptance" in outcome:
        rule, alpha = outcome["acceptance"]
        outcome = {**outcome, "acceptance": pb.Acceptance(rule=rule, alpha=alpha)}
    response = pb.GenerateResponse(
        request_id="r",
        stop_reason=pb.STOP_REASON_MAX_TOKENS,
        draft_outcome=pb.DraftOutcome(**outcome),
    )
    if may_be:
        check_answer(request, response, "here", {})
        return
    with pytest.raises(CloudError, match="what it says of the draft cannot be"):
        check_answer(request, response, "here", {})
