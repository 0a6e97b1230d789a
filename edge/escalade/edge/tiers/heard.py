"""What one member of an ensemble said, why it did not, and what that took; knows no vote."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from escalade.edge.deferral import Voice
from escalade.edge.errors import ArtifactError, PromptError
from escalade.edge.generation import Delta, StopReason
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import classes_of
from escalade.edge.trace import MemberAnswer, is_broken, is_correct


class Heard(NamedTuple):
    """What one member said."""

    member: int
    #: None where it was stopped, or failed.
    text: str | None
    #: Why it failed; None where it did not.
    failed: str | None
    stop: StopReason
    ids: list[int]
    logprobs: list[float]
    #: What it cost, a run that was stopped before this one included.
    prompt_tokens: int
    generated_tokens: int
    seconds: float
    #: See `MemberAnswer`.
    classes: dict[str, float] | msgspec.UnsetType
    #: See `Source`.
    top: Sequence[Sequence[tuple[int, float]]] = ()
    #: See `MemberAnswer`; None where it was not rehearsed.
    drafted_s: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.text is not None or self.failed is not None

    @property
    def voice(self) -> Voice:
        """In the vote: `voice_of` its answer, once it has ended."""
        if self.text is None:
            return Voice(self.member, None)
        classes = None if self.classes is msgspec.UNSET else self.classes
        return Voice(self.member, self.text, self.logprobs, classes)

    def after(self, stopped: Heard | None) -> Heard:
        """The same of one that was stopped at first: both runs have cost."""
        if stopped is None:
            return self
        return self._replace(
            prompt_tokens=stopped.prompt_tokens + self.prompt_tokens,
            generated_tokens=stopped.generated_tokens + self.generated_tokens,
            seconds=stopped.seconds + self.seconds,
        )

    def answer(self, references: Sequence[str]) -> MemberAnswer:
        """For a trace."""
        return MemberAnswer(
            member=self.member,
            text=self.text,
            logprobs=self.logprobs,
            prompt_tokens=self.prompt_tokens,
            generated_tokens=self.generated_tokens,
            seconds=self.seconds,
            correct=None if self.text is None else is_correct(self.text, references),
            classes=self.classes,
            failed=msgspec.UNSET if self.failed is None else self.failed,
            drafted_s=msgspec.UNSET if self.drafted_s is None else self.drafted_s,
        )


T = TypeVar("T")

#: Deltas as they come, then what was said.
Speaking = Generator[Delta, None, Heard]


def speak(
    place: int,
    member: Member,
    prompts: Prompts,
    *,
    now_s: Callable[[], float],
    deadline_s: float | None,
    cancelled: Callable[[], bool] | None,
    streams: bool,
    since_s: float | None = None,
    draft: Sequence[int] = (),
) -> Speaking:
    """Let a member answer; it fails alone.

    Args:
        place: its own among the members.
        member: who is asked.
        prompts: the query.
        now_s: the clock that its seconds are of.
        deadline_s: seconds after which it has failed; asked, as `cancelled` is, between tokens and
            between chunks of a prompt, so that a program that never returns is not ended by it.
        cancelled: see `Artifact.stream`.
        streams: whether it gives deltas; one that gives none takes less of the interpreter's time,
            which members side by side share.
        since_s: on that clock, from when its seconds count; None counts from now on.
        draft: what it may say, see `Artifact.stream`.
    """
    query, began_s = prompts.query, now_s()
    late = False

    def over() -> bool:
        nonlocal late
        late = late or (deadline_s is not None and now_s() - began_s >= deadline_s)
        return late or (cancelled is not None and cancelled())

    ids = prompts.of(member).ids
    failed, generation = None, None
    try:
        generation = member.artifact.stream(
            ids,
            query.max_new_tokens,
            sampling=query.sampling if member.draw is None else member.draw.of(query.sampling, ids),
            top=query.top_logprobs,
            stop=query.stop,
            cancelled=cancelled if deadline_s is None else over,
            draft=draft,
        )
        if streams:
            yield from generation
        else:
            generation.run()
    except (ArtifactError, PromptError) as error:
        failed = str(error)
    stop: StopReason = "cancelled"
    if generation is not None and generation.stop is not None:
        stop = generation.stop
    logprobs = [] if generation is None else list(generation.logprobs)
    if stop == "cancelled" and late:
        failed = f"no answer after {deadline_s:g} s"
    elif failed is None and is_broken(logprobs):
        failed = "gave a log-probability that is no number"
    spoke = generation is not None and stop != "cancelled" and failed is None
    return Heard(
        member=place,
        text=generation.text if generation is not None and spoke else None,
        failed=failed,
        stop=stop,
        ids=[one.token_id for one in generation.steps if not one.ended] if generation else [],
        logprobs=logprobs,
        prompt_tokens=len(ids),
        generated_tokens=len(logprobs),
        seconds=now_s() - (began_s if since_s is None else since_s),
        classes=classes_of(member, generation) if generation and spoke else msgspec.UNSET,
        top=[step.top for step in generation.steps] if generation and query.top_logprobs else (),
    )


def noticed(speaking: Speaking, notice: Callable[[], None]) -> Speaking:
    """The same, with a look at something else after each delta."""
    while True:
        try:
            delta = next(speaking)
        except StopIteration as end:
            heard: Heard = end.value
            return heard
        yield delta
        notice()


def silently(speaking: Generator[Delta, None, T]) -> T:
    """Let a member, or several, answer to the end, whatever they say on the way."""
    while True:
        try:
            next(speaking)
        except StopIteration as end:
            heard: T = end.value
            return heard
