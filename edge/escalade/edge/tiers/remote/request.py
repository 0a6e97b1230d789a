"""What of a query travels to a tier elsewhere; knows no channel, no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from escalade.edge.errors import PromptError
from escalade.edge.runtimes import Sampling
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import Call, Draft
from escalade.v1 import cascade_pb2 as pb

PromptForm = Literal["tokens", "text"]
#: Names of the rules of `escalade.v1.AcceptanceRule`.
AcceptanceRule = Literal["chow", "diff", "token_v2", "token_v3"]
_PREFIX = "ACCEPTANCE_RULE_"

# What the fields of the wire hold; beyond, nothing changes any more.
_TEMPERATURES = 1e-30, 1e30
_MOST_TOP_K = (1 << 32) - 1
_SEEDS = 1 << 64


class Acceptance(NamedTuple):
    """When a draft's token stands that is not the large model's own choice."""

    rule: AcceptanceRule
    #: 0..1; 0 lets none stand.
    alpha: float


class Drafts(NamedTuple):
    """How the answer of the tier below goes along."""

    #: As text, for a server of another tokenizer; else with a prompt of tokens alone.
    as_text: bool = False
    acceptance: Acceptance | None = None


#: Where nothing else is said.
AS_TOKENS = Drafts()


def request_of(
    call: Call, reader: Member | None, form: PromptForm, drafts: Drafts
) -> pb.GenerateRequest:
    """What is sent.

    Args:
        call: the query, and the draft.
        reader: see `prompt_of`.
        form: see `prompt_of`.
        drafts: how the draft is sent.

    Raises:
        PromptError: see `prompt_of`.
    """
    query = call.query
    request = pb.GenerateRequest(
        request_id=query.request_id, prompt=prompt_of(call.prompts, reader, form), via=query.via
    )
    if query.max_new_tokens is not None:
        request.stopping.max_new_tokens = query.max_new_tokens
    if query.stop:
        request.stopping.stop_sequences.extend(query.stop)
    # What decides here needs the log-probabilities; else they need not travel.
    if call.gate is not None or query.logprobs:
        request.output.logprobs = True
    if query.batch:
        request.priority = pb.PRIORITY_BATCH
    if query.sampling is not None:
        request.sampling.CopyFrom(_sampling(query.sampling))
    elif call.draft is not None:  # it is no help where tokens are drawn
        _add_draft(request, call.draft, drafts)
    return request


def _add_draft(request: pb.GenerateRequest, draft: Draft, drafts: Drafts) -> None:
    """What the tier below said, as text or as ids; not at all beside a prompt of another form.

    A classifier's label is no ids of anybody.
    """
    in_ids = request.prompt.WhichOneof("content") == "tokens" and draft.tokenizer_fingerprint
    if not (drafts.as_text or in_ids):
        return
    sent = request.draft
    sent.CopyFrom(pb.Draft(score=draft.score, threshold=draft.threshold, rule=draft.rule))
    if drafts.as_text:
        sent.text = draft.text
    else:
        sent.tokens.ids.extend(draft.ids)
        sent.tokens.tokenizer_fingerprint = draft.tokenizer_fingerprint
        sent.logprobs.extend(draft.logprobs)
    if drafts.acceptance is not None:
        rule, alpha = drafts.acceptance
        sent.acceptance.CopyFrom(pb.Acceptance(rule=_PREFIX + rule.upper(), alpha=alpha))


def _sampling(sampling: Sampling) -> pb.SamplingOptions:
    coldest, hottest = _TEMPERATURES
    return pb.SamplingOptions(
        temperature=min(max(sampling.temperature, coldest), hottest),
        top_p=sampling.top_p,
        top_k=min(sampling.top_k, _MOST_TOP_K),
        seed=sampling.seed % _SEEDS,
    )


def rule_name(number: pb.AcceptanceRule) -> str:
    """What a rule is called."""
    return pb.AcceptanceRule.Name(number).removeprefix(_PREFIX).lower()


def prompt_of(prompts: Prompts, reader: Member | None, form: PromptForm) -> pb.Prompt:
    """The prompt as it travels: token ids or text.

    Args:
        prompts: the query.
        reader: whose tokenizer's ids are sent; None sends ids only where the query came as ids.
        form: which of the two.

    Raises:
        PromptError: the reader cannot take it, or it would have to travel in another form than
            it can.
    """
    query = prompts.query
    if query.messages and (reader is None or form == "text"):
        raise PromptError(
            "a conversation travels as tokens of the device's chat template: it cannot be sent as"
            " text"
        )
    if form == "text" and query.ids and not query.text:
        return pb.Prompt(text=_as_text(prompts, reader))
    if form == "tokens" and reader is not None:
        return _tokens(prompts.of(reader).ids, reader.fingerprint)
    if form == "tokens" and query.ids:
        return _tokens(query.ids, query.tokenizer_fingerprint)
    check_text(query.text)
    return pb.Prompt(text=query.text)


def check_text(text: str) -> None:
    """Check that a text can be asked.

    Raises:
        PromptError: it is empty, or no text.
    """
    if not text.strip():
        raise PromptError("the prompt is empty; at least 1 character is needed")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(f"the prompt is not valid Unicode text: {error}") from error


def _as_text(prompts: Prompts, reader: Member | None) -> str:
    """The text of token ids, where there is one whose ids they are.

    Raises:
        PromptError: there is none: a chat template or another program has put special tokens in.
    """
    if reader is None:
        raise PromptError("token ids cannot be sent as text: no tier below can read them")
    text, ids = prompts.of(reader)
    if reader.artifact.encode(text) != ids:
        raise PromptError("token ids cannot be sent as text: they hold special tokens")
    return text


def _tokens(ids: Sequence[int], fingerprint: str) -> pb.Prompt:
    return pb.Prompt(tokens=pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint))
