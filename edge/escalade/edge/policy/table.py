"""`[policy]` of a `cascade.toml`: what may leave the device; judges nothing.

    [policy]
    send = "ask"                      # "allow", "ask" first, "never"
    unmetered_only = true
    min_battery = 0.2                 # a share; while it is not charging
    stay_patterns = ['(?i)password']  # a query that holds one stays
    stay_tasks = ["diary"]
    redact = ['[a-z.]+@[a-z.]+']      # hidden before sending, put back in the answer

    [policy.daily]
    calls = 100
    bytes = 1_000_000

Expressions are RE2's.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import msgspec

from escalade.edge.base import Share

#: All queries that are due, those that the user agrees to, or none.
Send = Literal["allow", "ask", "never"]
#: What becomes of a query where a condition cannot be told: no provider knows the link, say.
WhenUnknown = Literal["stay", "send"]

#: Far more than anybody writes by hand; all of them together are bounded too (`patterns`).
MOST_PATTERNS, LONGEST_PATTERN = 64, 1000
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_PATTERN)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
# Whole numbers that a float still tells apart.
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Money = Annotated[float, msgspec.Meta(ge=0.0, le=sys.float_info.max)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table whose keys are all known."""


class DailyTable(_Table, frozen=True, kw_only=True):
    """What may be spent of a calendar day, in the device's time zone; None sets no bound."""

    #: Queries that are sent, however often each is tried.
    calls: Count | None = None
    #: That models elsewhere read and write.
    tokens: Count | None = None
    #: Of messages both ways, each attempt counted, without gRPC, TCP and IP framing.
    bytes: Count | None = None
    #: In the file's currency, at its prices.
    money: Money | None = None


class PolicyTable(_Table, frozen=True, kw_only=True):
    """The whole table; what it leaves out sets no bound."""

    send: Send = "allow"
    unmetered_only: bool = False
    #: Below it nothing is sent, unless the battery is charging; 0..1.
    min_battery: Share | None = None
    #: Of a link, a battery or a task that is not known.
    when_unknown: WhenUnknown = "stay"
    #: A query stays that holds a match of one.
    stay_patterns: Annotated[list[Pattern], msgspec.Meta(max_length=MOST_PATTERNS)] = []
    #: Queries of these stay.
    stay_tasks: Annotated[list[Text], msgspec.Meta(max_length=MOST_PATTERNS)] = []
    #: Matches are hidden before sending.
    redact: Annotated[list[Pattern], msgspec.Meta(max_length=MOST_PATTERNS)] = []
    daily: DailyTable = DailyTable()
    #: Where is kept what was spent today; None takes the user's own.
    budget_file: Text | None = None

    @property
    def has_budget(self) -> bool:
        """Whether a day has any bound."""
        return self.daily != DailyTable()
