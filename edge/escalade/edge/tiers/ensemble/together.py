"""Members of a tier that answer at the same time; knows no rule by which their vote is decided.

The first streams where it was asked. The others begin in threads as far as so many may run, or
where it was asked too once the first has ended; those that cannot change the vote are stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from msgspec.structs import replace

from escalade.edge.deferral import Voice
from escalade.edge.generation import Delta
from escalade.edge.tiers.device import (
    Heard,
    Speaking,
    noticed,
    silently,
    voices_among,
)
from escalade.edge.tiers.ensemble.beside import Calls, Threads
from escalade.edge.tiers.prompts import Prompts
from escalade.edge.tiers.tier import Call


class Speak(Protocol):
    """Lets a member answer."""

    def __call__(
        self,
        index: int,
        prompts: Prompts,
        now_s: Callable[[], float],
        cancelled: Callable[[], bool] | None,
        *,
        since_s: float | None = None,
        draft: Sequence[int] = (),
    ) -> Speaking:
        """See `speak`."""
        ...


class Together:
    """One query, put to several members at the same time."""

    def __init__(
        self,
        call: Call,
        speak: Speak,
        decided: Callable[[Sequence[Voice]], bool],
        threads: Threads,
        draft: Callable[[int, Sequence[Heard]], Sequence[int]],
        *,
        count: int,
        at_once: int,
    ) -> None:
        """Begin none yet.

        Args:
            call: the query.
            speak: by a member's place among all.
            decided: whether voices that were heard decide it, so that no other is waited for.
            threads: at least one fewer than run at once: who asks answers for one.
            draft: what a member may say, from those that were heard; read where it was asked.
            count: of the members.
            at_once: so many of them at most.
        """
        self._call, self._speak, self._decided = call, speak, decided
        self._draft = draft
        self._at_once, self._waiting = at_once, deque(range(1, count))
        self._query = _Asked(call, speak)
        self._calls = Calls(self._query.hear, threads)
        self._heard: list[Heard] = []

    def ask(self) -> Generator[Delta, None, list[Heard] | None]:
        """Deltas of the first; then what all have said, None where it was cancelled."""
        call, calls, query, heard = self._call, self._calls, self._query, self._heard
        try:
            self._begin(1)
            draft = self._draft(0, ())
            lead = self._speak(0, call.prompts, call.elapsed_s, query.cancelled, draft=draft)
            heard.append((yield from noticed(lead, self._notice)))
            while True:
                heard += calls.take()
                if not query.over:
                    if any(one.voice is None for one in heard):
                        return None
                    if self._is_over():
                        calls.drop()
                    else:
                        self._begin(0)
                if not calls.running:
                    return sorted(heard, key=lambda one: one.member)
                heard += calls.go_on(self._here)
        finally:
            query.over = True
            calls.end()  # no member answers on when the next query comes

    def _begin(self, leading: int) -> None:
        """Let as many begin as may; `leading` of them run here."""
        most = self._at_once - leading
        while self._waiting and len(self._calls.running) < most:
            if self._may_be_enough(leading):
                return
            self._calls.begin(self._waiting.popleft())

    def _may_be_enough(self, leading: int) -> bool:
        """Whether it is decided if those that run say the same as one that was heard.

        Two that agree are enough of three, and a third beside them slows both down.
        """
        voices = voices_among(self._heard)
        one = next((one for one in voices if one.text is not None), None)
        if one is None:
            return False
        running = (*range(leading), *self._calls.running)
        said = [replace(one, member=member) for member in running]
        return bool(said) and self._decided([*voices, *said])

    def _notice(self) -> None:
        if self._waiting and self._calls.has_ended:
            self._heard += self._calls.take()
            self._begin(1)

    def _is_over(self) -> bool:
        self._query.over = self._query.over or self._decided(voices_among(self._heard))
        return self._query.over

    def _here(self, index: int) -> Heard:
        """Hear one in this thread, which looks between two tokens at what others say meanwhile."""

        def ends() -> bool:
            if self._calls.has_ended:
                self._heard += self._calls.take()
                self._is_over()
            return self._query.cancelled()

        return self._query.hear(index, ends, self._draft(index, self._heard))


class _Asked:
    """What threads know of a query.

    That is not the call, through which they would keep alive a run that its caller has let go: it
    could not be collected, which is what ends them.
    """

    def __init__(self, call: Call, speak: Speak) -> None:
        self._now_s, self._prompts, self._given_up = call.now_s, call.prompts, call.cancelled
        self._speak, self._began_s = speak, call.now_s()
        #: Whether those that still speak are to stop.
        self.over = False

    def cancelled(self) -> bool:
        return self.over or (self._given_up is not None and self._given_up())

    def hear(
        self, index: int, ends: Callable[[], bool] | None = None, draft: Sequence[int] = ()
    ) -> Heard:
        # The wait for a turn counts: the last to end is as late as the whole tier.
        return silently(
            self._speak(
                index,
                self._prompts,
                self._now_s,
                ends or self.cancelled,
                since_s=self._began_s,
                draft=draft,
            )
        )
