"""Asks the queries of an outbox again, and hands out what comes; knows no file of a cascade."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from escalade.edge.cascade import Cascade
from escalade.edge.errors import ArtifactError, CloudError, DataError, PromptError
from escalade.edge.outbox import Entry, Outbox
from escalade.edge.policy import OF_DEVICE
from escalade.edge.run import Run

# Beyond the deadlines of the links: for models on this device, and for who takes an answer.
_LEASE_MARGIN_S = 30.0
# Reasons that the next query would meet too.
_NOBODY = ("UNAVAILABLE", "CIRCUIT_OPEN", "BAD_CERTIFICATE", "NO_TLS", *OF_DEVICE)


class Flushed(NamedTuple):
    """What came of a flush."""

    answered: int
    refused: int
    #: Queries of the cascade that still wait.
    left: int
    #: Why one of them does; None where none was asked in vain.
    reason: str | None


class _Later(Exception):  # noqa: N818 - no error: there is no answer yet
    """There is no answer yet."""

    def __init__(self, error: CloudError) -> None:
        super().__init__(str(error))
        # What ran out of time may be a query that takes longer than others.
        self.out_of_reach = error.reason in _NOBODY


def flush(cascade: Cascade, outbox: Outbox, deliver: Callable[[Entry], None]) -> Flushed:
    """Ask each query once that waits, and hand out what is answered or refused.

    An answer is written before it is handed out, and stays until `deliver` has returned: who dies
    in between is given it again. It ends early where nobody is there to be asked.

    Args:
        cascade: the queries are sent on from the tier that did not answer.
        outbox: where they are.
        deliver: takes an entry that is settled; what it raises ends the flush.

    Raises:
        OutboxError: the outbox cannot be read or written.
    """
    holder = uuid.uuid4().hex
    names = [tier.name for tier in cascade.tiers]
    lease_s = sum(tier.deadline_s for tier in cascade.tiers) + _LEASE_MARGIN_S
    answered = refused = 0
    reason: str | None = None
    while (claimed := outbox.claim(holder, names, lease_s)) is not None:
        entry: Entry | None = claimed
        try:
            if claimed.state == "waiting":
                entry = _settled(cascade, outbox, claimed, holder, lease_s)
            if entry is None:
                continue  # it took so long that somebody else has answered it
            deliver(entry)
        except _Later as later:
            reason = str(later)
            outbox.release(claimed, holder, reason)
            if later.out_of_reach:
                break
            continue
        except BaseException:
            outbox.release(claimed, holder)
            raise
        outbox.forget(entry, holder)
        answered += entry.state == "answered"
        refused += entry.state == "refused"
    return Flushed(answered, refused, outbox.waiting(), reason)


def _settled(
    cascade: Cascade, outbox: Outbox, entry: Entry, holder: str, lease_s: float
) -> Entry | None:
    """Ask a query; None where somebody else settled it meanwhile.

    Raises:
        _Later: it goes on waiting.
    """
    first = [tier.name for tier in cascade.tiers].index(entry.tier)
    above = Cascade(tiers=cascade.tiers[first:], gates=cascade.gates[first:], clock=cascade.clock)
    try:
        work = outbox.work(entry)
        # The deadline was of somebody who waited.
        run = Run(above, replace(work.query, deadline_s=None), draft=work.draft)
        answer = run.finish()
    except CloudError as error:
        if error.cause != "query":
            raise _Later(error) from error
        return outbox.refuse(entry, str(error), holder, lease_s)
    except (PromptError, ArtifactError, DataError) as error:
        return outbox.refuse(entry, str(error), holder, lease_s)
    assert answer is not None  # noqa: S101 - nobody could cancel it
    if answer.outcome == "degraded":
        failed = run.failed[max(run.failed)] if run.failed else None
        if isinstance(failed, CloudError) and failed.cause != "query":
            raise _Later(failed)
        # Else it is a gateway's, whose own cloud is its own concern.
    return outbox.answer(entry, answer.text, answer.tier, holder, lease_s)
