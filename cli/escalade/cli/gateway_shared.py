"""A tier whose models several threads ask, each model one query at a time; knows no cascade."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar

from escalade.cli.gateway_turns import FairLock
from escalade.cloud.backends import NOBODY
from escalade.edge.tiers import Call, Member, Prompts, Saying, Tier
from escalade.edge.trace import MemberInfo, Place

#: Whose query it is that this thread answers.
CLAIM = ContextVar("CLAIM", default=NOBODY)


class SharedTier:
    """A tier that several threads ask; its models take one query at a time."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._model = FairLock() if tier.opened else None
        # A text takes several hundred times its size while it is tokenized: one at a time.
        self._reading = FairLock()

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

    def check(self, prompts: Prompts) -> None:
        """See `Tier`."""
        self._reading.acquire(CLAIM.get())
        try:
            self._tier.check(prompts)
        finally:
            self._reading.release()

    def ask(self, call: Call) -> Saying:
        """See `Tier`."""
        return self._alone(call, self._tier.ask(call))

    def _alone(self, call: Call, saying: Saying) -> Saying:
        if self._model is None:
            return (yield from saying)
        if not self._model.acquire(CLAIM.get(), call.cancelled):
            return None
        try:
            said = yield from saying
        finally:
            self._model.release()
        if said is None or said.resume is None:
            return said
        resume = said.resume
        return said._replace(resume=lambda: self._alone(call, resume()))

    def close(self) -> None:
        """See `Tier`."""
        self._tier.close()
