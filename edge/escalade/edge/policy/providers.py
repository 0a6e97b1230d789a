"""Who says how things stand: the link, the battery, the user, the day; asks nobody by itself.

All of them are passed in. What is not given is this machine's own, as `linux` reads it; of another
system link and battery are not known.
"""

from __future__ import annotations

import datetime
import sys
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from escalade.edge.base import Clock, SystemClock
from escalade.edge.policy.patterns import Span
from escalade.edge.policy.rules import Battery, LinkState, Spending

# How long a question whose query was cancelled goes unnoticed.
_NOTICE_S = 0.05


class Question(NamedTuple):
    """What a user is asked before a query leaves, once for each tier that is due."""

    tier: str
    #: `HOST:PORT`.
    address: str
    #: What is sent, as it is sent, the draft included; None where it cannot be read here.
    texts: tuple[str, ...] | None
    #: What is known of it before.
    spending: Spending
    currency: str
    #: Of the query; empty: it has none of its own.
    request_id: str = ""
    #: Nobody waits for the answer any more: who is asked may be told.
    cancelled: Callable[[], bool] = lambda: False


class NobodyToAskError(Exception):
    """Raised by a `Consent`: of this query nobody can be asked, for the reason that it says."""


#: Asked in the thread of the query, which waits; whatever it raises, nothing is sent.
Consent = Callable[[Question], bool]
#: Given a text, where in it is something to hide.
Redaction = Callable[[str], Iterable[Span]]
Link = Callable[[], LinkState]
#: None where it is not known.
BatteryReader = Callable[[], Battery | None]
Today = Callable[[], datetime.date]


def local_today() -> datetime.date:
    """The calendar day in the machine's time zone."""
    return datetime.datetime.now().astimezone().date()


def system_link() -> LinkState:
    """What this machine says of its link."""
    if sys.platform != "linux":
        return "unknown"
    from escalade.edge.policy.linux import link_state

    return link_state()


def system_battery() -> Battery | None:
    """What this machine says of its battery."""
    if sys.platform != "linux":
        return None
    from escalade.edge.policy.linux import battery_state

    return battery_state()


@dataclass(frozen=True, kw_only=True)
class Providers:
    """What a policy asks beside its file. Several threads may ask at once."""

    link: Link = system_link
    battery: BatteryReader = system_battery
    #: None: there is nobody to ask, and what needs consent stays.
    consent: Consent | None = None
    #: Beside the file's `redact`.
    redaction: Redaction | None = None
    today: Today = local_today
    clock: Clock = field(default_factory=SystemClock)


#: This machine's, and nobody to ask.
SYSTEM_PROVIDERS = Providers()


class PendingConsent:
    """Asks by an event, and waits for somebody else's word: a `Consent` for servers and windows.

    Example:
        >>> pending = PendingConsent(lambda key, question: events.put((key, question)))
        >>> options = OpenOptions(policy=Providers(consent=pending))
        >>> pending.answer(key, agreed=True)  # from any thread
    """

    def __init__(self, tell: Callable[[str, Question], None], *, wait_s: float = 60.0) -> None:
        """Nothing is asked yet.

        Args:
            tell: given each question, under a key of its own; in the thread of the query.
            wait_s: seconds, > 0, after which no word is a no.
        """
        self._tell, self._wait_s = tell, wait_s
        self._lock = threading.Lock()
        self._open: dict[str, tuple[threading.Event, list[bool]]] = {}

    def __call__(self, question: Question) -> bool:
        """See `Consent`; no after `wait_s`, and where the query is cancelled."""
        key, said = uuid.uuid4().hex, threading.Event()
        words: list[bool] = []
        with self._lock:
            self._open[key] = said, words
        try:
            self._tell(key, question)
            left = max(1, round(self._wait_s / _NOTICE_S))
            while left and not said.wait(_NOTICE_S) and not question.cancelled():
                left -= 1
            return words == [True]
        finally:
            with self._lock:
                self._open.pop(key, None)

    def answer(self, key: str, *, agreed: bool) -> bool:
        """Give a word; False where the question is not open any more, or was answered."""
        with self._lock:
            said, words = self._open.get(key, (None, []))
            if said is None or words:
                return False
            words.append(agreed)
            said.set()
        return True
