"""A tier of one artifact on this device; knows no network, no other tier.

Early deferral. Where the gate allows it and there is a tier above, generation ends as soon as the
score is certain (or likely) to reach tau. The score is then the bound that no continuation comes
below, and the draft is how the answer begins, without a score. Should no tier above answer,
generation goes on from where the model stands, so that the answer is whole and nothing is lost
but time. A query that was only likely to be deferred may then turn out not to need to be.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from escalade.edge.deferral import Agreement
from escalade.edge.generation import Generation
from escalade.edge.tiers.device.heard import Heard, speak
from escalade.edge.tiers.device.rehearsal import is_rehearsed, rehearse
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import Call, Draft, Said, Saying, classes_of, ids_for, source_of
from escalade.edge.trace import MemberAnswer, MemberInfo, Place, TierAnswer, is_correct


class ArtifactTier:
    """One model on this device."""

    place: Place = "device"
    deadline_s = 0.0
    side_by_side = False

    def __init__(self, member: Member, *, name: str | None = None) -> None:
        """Take an opened artifact.

        Args:
            member: the artifact.
            name: what the tier is called; None takes the model's name.
        """
        self.member = member
        self.name = member.info.name if name is None else name

    @property
    def opened(self) -> list[Member]:
        """See `Tier`."""
        return [self.member]

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        """See `Tier`; an artifact that is open stays what it is."""
        return [self.member.info]

    def most_top(self) -> int:
        """See `Tier`: all of them."""
        return self.member.artifact.manifest.model.vocabulary_size

    def check(self, prompts: Prompts) -> None:
        """See `Tier`."""
        prompts.of(self.member)

    def ask(self, call: Call) -> Saying:
        """See `Tier`."""
        began_s = call.elapsed_s()
        artifact, query, gate = self.member.artifact, call.query, call.gate
        encoded = call.prompts.of(self.member)
        longest = artifact.room_for(encoded.ids, query.max_new_tokens)
        draft = ids_for(self.member, call.draft) if call.reads_drafts else ()
        live = self._rehearse(call, draft)
        early = gate is not None and call.can_defer and not call.whole
        generation = artifact.stream(
            encoded.ids,
            query.max_new_tokens,
            sampling=query.sampling,
            top=query.top_logprobs,
            stop=query.stop,
            cancelled=call.cancelled,
            stop_when=gate.early_stop(longest) if early and gate is not None else None,
            draft=() if call.whole else draft,
        )
        yield from generation
        spent_s = call.elapsed_s() - began_s
        return self._said(call, generation, len(encoded.ids), longest, spent_s, live)

    def _rehearse(self, call: Call, draft: Sequence[int]) -> Heard | None:
        """The answer as it is live; None where that is no other."""
        if not is_rehearsed(call, self.member, draft):
            return None
        speaking = speak(
            0,
            self.member,
            call.prompts,
            now_s=call.now_s,
            deadline_s=None,
            cancelled=call.cancelled,
            streams=False,
            draft=draft,
        )
        return rehearse(call, [self.member], speaking)

    def _resume(
        self, call: Call, generation: Generation, prompt_tokens: int, longest: int, spent_s: float
    ) -> Saying:
        began_s = call.elapsed_s()
        generation.resume()
        yield from generation
        spent_s += call.elapsed_s() - began_s
        return self._said(call, generation, prompt_tokens, longest, spent_s)

    def _said(
        self,
        call: Call,
        generation: Generation,
        prompt_tokens: int,
        longest: int,
        spent_s: float,
        live: Heard | None = None,
    ) -> Said | None:
        stop = generation.stop
        assert stop is not None  # noqa: S101 - it has ended
        live_s = UNSET if live is None or live.answer.text is None else live.answer.seconds
        if stop == "cancelled":
            return None
        gate, logprobs = call.gate, list(generation.logprobs)
        unfinished = stop == "stopped_early"
        score, rule = None, None
        if gate is not None:
            rule = gate.rule
            assert not isinstance(rule, Agreement)  # noqa: S101 - it takes several members
            score = rule.bound(logprobs, longest) if unfinished else rule(logprobs)
        text = generation.text
        correct = None if unfinished else is_correct(text, call.query.references)
        answer = TierAnswer(
            text=text,
            members=[
                MemberAnswer(
                    member=0,
                    text=text,
                    logprobs=logprobs,
                    prompt_tokens=prompt_tokens,
                    generated_tokens=len(logprobs),
                    seconds=spent_s,
                    correct=correct,
                    classes=classes_of(self.member, generation),
                    drafted_s=live_s,
                )
            ],
            score=score,
            correct=correct,
            seconds=spent_s,
            stopped_early=unfinished,
        )
        ids = generation.ids
        top = [step.top for step in generation.steps] if call.query.top_logprobs else ()
        source = source_of(self.member, ids, logprobs, top)
        if gate is None or score is None or rule is None:
            return Said(answer, False, stop, source)
        defers = unfinished or gate.defers(score)
        if not call.can_defer:
            return Said(answer, defers, stop, source)
        draft = Draft(
            ids=ids,
            logprobs=logprobs[: len(ids)],
            tokenizer_fingerprint=self.member.fingerprint,
            score=None if unfinished else score,
            threshold=gate.threshold,
            rule=rule.name,
            text=text,
        )
        if not unfinished:
            return Said(answer, defers, stop, source, draft)
        return Said(
            answer,
            defers,
            stop,
            source,
            draft,
            lambda: self._resume(call, generation, prompt_tokens, longest, spent_s),
        )

    def close(self) -> None:
        """See `Tier`; the program goes with the last reference to it."""
