"""A tier whose models several threads ask, each model one query at a time; knows no cascade."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import Call, Said, Saying, Tier
from escalade.edge.tiers.turns import Turns
from escalade.edge.trace import MemberInfo, Place


class SharedTier:
    """A tier that several threads ask; its models take one query at a time."""

    def __init__(self, tier: Tier, turns: Callable[[], Turns]) -> None:
        """Share a tier.

        Args:
            tier: whose models are asked through this alone from now on.
            turns: makes a lock: one for its models, one for its tokenizers.
        """
        self._tier = tier
        self._model = turns() if tier.opened else None
        # A text takes several hundred times its size while it is tokenized: one at a time.
        self._reading = turns()
        # Queries that its models were asked, so far.
        self._asked = 0

    @property
    def name(self) -> str:
        """See `Tier`."""
        return self._tier.name

    @property
    def place(self) -> Place:
        """See `Tier`."""
        return self._tier.place

    @property
    def side_by_side(self) -> bool:
        """See `Tier`."""
        return self._tier.side_by_side

    @property
    def deadline_s(self) -> float:
        """See `Tier`."""
        return self._tier.deadline_s

    @property
    def opened(self) -> Sequence[Member]:
        """See `Tier`."""
        return self._tier.opened

    @property
    def waiting(self) -> int:
        """Queries that wait for its models."""
        return 0 if self._model is None else len(self._model)

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        """See `Tier`."""
        return self._tier.members(hold=hold)

    def most_top(self) -> int:
        """See `Tier`."""
        return self._tier.most_top()

    def check(self, prompts: Prompts) -> None:
        """See `Tier`."""
        self._reading.acquire()
        try:
            self._tier.check(prompts)
        finally:
            self._reading.release()

    def ask(self, call: Call) -> Saying:
        """See `Tier`."""
        if self._model is None:
            return (yield from self._tier.ask(call))
        if not self._model.acquire(call.cancelled):
            return None
        try:
            self._asked += 1
            turn = self._asked
            said = yield from self._tier.ask(call)
        finally:
            self._model.release()
        if said is None or said.resume is None:
            return said
        resume = said.resume
        return said._replace(resume=lambda: self._resume(call, said, resume, turn))

    def _resume(self, call: Call, said: Said, resume: Callable[[], Saying], turn: int) -> Saying:
        assert self._model is not None  # noqa: S101 - or nothing could be resumed
        if not self._model.acquire(call.cancelled):
            return None
        try:
            if self._asked == turn or said.stop != "stopped_early":
                return (yield from resume())
            # The model has read another query since: it says the same once more, and goes on.
            self._asked += 1
            again = self._tier.ask(call._replace(can_defer=False))
            whole = yield from _after(len(said.source.logprobs), again)
        finally:
            self._model.release()
        return None if whole is None else _with_cost(whole, said)

    def close(self) -> None:
        """See `Tier`."""
        self._tier.close()


def _after(count: int, saying: Saying) -> Saying:
    """The same without its first deltas."""
    while True:
        try:
            delta = next(saying)
        except StopIteration as end:
            said: Said | None = end.value
            return said
        if count:
            count -= 1
        else:
            yield delta


def _with_cost(said: Said, before: Said) -> Said:
    """What one model said, with what its first run has cost."""
    last, first = said.answer.members[0], before.answer.members[0]
    member = replace(
        last,
        prompt_tokens=first.prompt_tokens + last.prompt_tokens,
        generated_tokens=first.generated_tokens + last.generated_tokens,
        seconds=first.seconds + last.seconds,
    )
    seconds = before.answer.seconds + said.answer.seconds
    return said._replace(answer=replace(said.answer, members=[member], seconds=seconds))
