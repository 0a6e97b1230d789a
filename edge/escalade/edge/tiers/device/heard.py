"""What one member of an ensemble said, why it did not, and what that took; knows no vote."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from escalade.edge.deferral import Voice
from escalade.edge.errors import ArtifactError, PromptError
from escalade.edge.generation import Delta, StopReason
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import classes_of
from escalade.edge.trace import MemberAnswer, is_broken, is_correct


class Heard(msgspec.Struct, frozen=True):
    """What one member said."""

    #: For a trace. Without a text where it was stopped, or failed.
    answer: MemberAnswer
    #: In the vote, see `voice_of`; None where it was stopped, and more may come of it.
    voice: Voice | None
    stop: StopReason
    ids: list[int]
    #: See `Source`.
    top: Sequence[Sequence[tuple[int, float]]] = ()

    @property
    def member(self) -> int:
        """Its place among the members."""
        return self.answer.member

    def after(self, stopped: Heard | None) -> Heard:
        """The same of one that was stopped at first: both runs have cost."""
        if stopped is None:
            return self
        first, last = stopped.answer, self.answer
        answer = replace(
            last,
            prompt_tokens=first.prompt_tokens + last.prompt_tokens,
            generated_tokens=first.generated_tokens + last.generated_tokens,
            seconds=first.seconds + last.seconds,
        )
        return replace(self, answer=answer)


def voices_among(heard: Iterable[Heard]) -> list[Voice]:
    """Of those that have ended."""
    return [one.voice for one in heard if one.voice is not None]


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
    query, began_s = prompts.query, now_s() if since_s is None else since_s
    late = None if deadline_s is None else _Deadline(now_s() + deadline_s, now_s, cancelled)
    ids = prompts.of(member).ids
    failed, generation = None, None
    try:
        generation = member.artifact.stream(
            ids,
            query.max_new_tokens,
            sampling=query.sampling if member.draw is None else member.draw.of(query.sampling, ids),
            top=query.top_logprobs,
            stop=query.stop,
            cancelled=cancelled if late is None else late.over,
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
    logprobs = [] if generation is None else generation.logprobs
    if stop == "cancelled" and late is not None and late.passed:
        failed = f"no answer after {deadline_s:g} s"
    elif failed is None and is_broken(logprobs):
        failed = "gave a log-probability that is no number"
    text, voice = None, None
    classes: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    if failed is not None:
        voice = Voice(place, None)
    elif generation is not None and stop != "cancelled":
        text, classes = generation.text, classes_of(member, generation)
        voice = Voice(place, text, logprobs, None if classes is msgspec.UNSET else classes)
    answer = MemberAnswer(
        member=place,
        text=text,
        logprobs=logprobs,
        prompt_tokens=len(ids),
        generated_tokens=len(logprobs),
        seconds=now_s() - began_s,
        correct=None if text is None else is_correct(text, query.references),
        classes=classes,
        failed=msgspec.UNSET if failed is None else failed,
    )
    return Heard(
        answer,
        voice,
        stop,
        [] if generation is None else generation.ids,
        [step.top for step in generation.steps] if generation and query.top_logprobs else (),
    )


class _Deadline:
    """By when a member has to have answered."""

    def __init__(
        self, by_s: float, now_s: Callable[[], float], cancelled: Callable[[], bool] | None
    ) -> None:
        self._by_s, self._now_s, self._cancelled = by_s, now_s, cancelled
        #: Whether it was noticed that it has not.
        self.passed = False

    def over(self) -> bool:
        self.passed = self.passed or self._now_s() >= self._by_s
        return self.passed or (self._cancelled is not None and self._cancelled())


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
