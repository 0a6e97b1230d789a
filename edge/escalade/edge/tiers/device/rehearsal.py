"""What members take with the drafts that they read live, while a trace is recorded; knows no vote.

A trace has what each member says and takes by itself, so that any rule, threshold or order can be
replayed. Live a member that answers after another reads that answer ahead (`Runtime.generate`), and
takes less. So it answers twice: first with the draft, as it would live, then by itself; only the
second is what it said. The first way comes first, and of all members before any answers by itself,
because a machine that has waited is slower at first, and one that has just done the same is
quicker: live it is met as it is then.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from escalade.edge.generation import Delta
from escalade.edge.tiers.device.heard import Heard, silently
from escalade.edge.tiers.prompts import Member
from escalade.edge.tiers.tier import Call

T = TypeVar("T")


def is_rehearsed(call: Call, member: Member, draft: Sequence[int]) -> bool:
    """Whether a member is to answer twice."""
    return (
        call.rehearsed is not None
        and call.whole
        and bool(draft)
        and member.draw is None
        and member.artifact.reads_drafts
    )


def rehearse(call: Call, members: Iterable[Member], speaking: Generator[Delta, None, T]) -> T:
    """Let members answer for their time alone.

    Args:
        call: which is told how long that takes.
        members: who speak; they then know no more of the prompt than before.
        speaking: with their drafts.
    """
    began_s = call.now_s()
    live = silently(speaking)
    for member in members:
        member.artifact.forget()
    if call.rehearsed is not None:
        call.rehearsed(call.now_s() - began_s)
    return live


def drafted(heard: Heard, seconds: float | None) -> Heard:
    """What a member said, with what it takes live, where that is known."""
    if seconds is None:
        return heard
    return replace(heard, answer=replace(heard.answer, drafted_s=seconds))


class Timed:
    """Members that answer one after the other, each twice where it has a draft."""

    def __init__(self, *, ends: bool) -> None:
        """Begin.

        Args:
            ends: their seconds are those in which each has ended since the first began, as of
                members side by side; else its own.
        """
        self._ends = ends
        self._ended_s = self._drafted_end_s = 0.0
        self._spared = False

    def __call__(self, heard: Heard, drafted_s: float | None, *, begins_s: float) -> Heard:
        """What the next one said, with what it takes live, where that is not the same.

        Args:
            heard: what it said, by itself.
            drafted_s: what it takes live.
            begins_s: when it was asked: between two members it is decided whether that is enough,
                live too.
        """
        if not self._ends:
            return drafted(heard, drafted_s)
        seconds = heard.answer.seconds
        own_s = seconds - begins_s if drafted_s is None else drafted_s
        self._drafted_end_s += begins_s - self._ended_s + own_s
        self._ended_s = seconds
        self._spared = self._spared or drafted_s is not None
        return drafted(heard, self._drafted_end_s if self._spared else None)
