"""The rules of what may leave the device, one after the other; knows no file, no tier, no network.

Each looks at what is about to leave and at how things stand, and says why it stays, or nothing.
The first that speaks decides. What only a person can say is asked last, never in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from escalade.edge.policy.patterns import Patterns, UnreadableError
from escalade.edge.policy.table import DailyTable, PolicyTable

#: What a link costs; of one that nobody knows, "unknown".
LinkState = Literal["metered", "unmetered", "unknown"]
#: The user's word; None: there is nobody to ask.
Consented = bool | None

NEVER, TASK, PATTERN = "POLICY_NEVER", "POLICY_TASK", "POLICY_PATTERN"
REDACTION, LINK, BATTERY = "POLICY_REDACTION", "POLICY_LINK", "POLICY_BATTERY"
BUDGET, CONSENT = "POLICY_BUDGET", "POLICY_CONSENT"
#: Those that the next query would meet too.
OF_DEVICE = (NEVER, LINK, BATTERY)
#: Every reason that a policy gives.
REASONS = (NEVER, TASK, PATTERN, REDACTION, LINK, BATTERY, BUDGET, CONSENT)


def is_of_policy(reason: str | None) -> bool:
    """Whether an answer's or a record's reason is that a policy kept the query on its device."""
    return reason is not None and reason.partition(":")[0] in REASONS


class Battery(NamedTuple):
    """How a device is fed."""

    #: 0..1; None of one without a battery, or whose level is not known.
    level: float | None
    #: On mains, or being charged.
    charging: bool


class Spending(NamedTuple):
    """What calls took, or are about to take."""

    calls: int = 0
    tokens: int = 0
    bytes: int = 0
    #: In the cascade's currency.
    money: float = 0.0

    def plus(self, other: Spending) -> Spending:
        """Both together."""
        return Spending(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.bytes + other.bytes,
            self.money + other.money,
        )

    def minus(self, other: Spending) -> Spending:
        """The difference, which may be below 0."""
        return Spending(
            self.calls - other.calls,
            self.tokens - other.tokens,
            self.bytes - other.bytes,
            self.money - other.money,
        )


class Leaving(NamedTuple):
    """A query that is about to leave the device."""

    #: Where to, as messages and questions call it.
    tier: str
    address: str
    #: Every text that is sent, as it is sent; None where it cannot be read here.
    texts: Sequence[str] | None
    #: Empty where nobody said.
    task: str = ""
    #: What is known of it before.
    spending: Spending = Spending(calls=1)
    #: Money for a million tokens, read and written, that the tier asks.
    prices: tuple[float, float] = (0.0, 0.0)
    #: Under which it is sent; empty: none of the caller's.
    request_id: str = ""
    #: The same for all that one query sends to one tier, which is asked about once.
    query: object = None
    #: Asked while a person is waited for: nobody wants the answer any more.
    cancelled: Callable[[], bool] | None = None


class Situation(Protocol):
    """How things stand; what no rule looks at is not found out."""

    @property
    def link(self) -> LinkState:
        """What is sent would go over."""
        ...

    @property
    def battery(self) -> Battery | None:
        """None where it is not known."""
        ...

    @property
    def spent(self) -> Spending:
        """Of today's budget."""
        ...

    @property
    def consent(self) -> Consented:
        """Asks, where nobody has yet."""
        ...


class Block(NamedTuple):
    """Why a query stays."""

    #: One of `REASONS`.
    reason: str
    #: In words, of one line.
    said: str
    #: Whether the same query may leave later: a link, a battery, a budget, a person change.
    may_pass: bool = False


class Policy(NamedTuple):
    """A policy, its expressions compiled."""

    table: PolicyTable
    stay: Patterns


def policy_of(table: PolicyTable) -> Policy:
    """Compile what is to be looked for.

    Raises:
        CascadeError: see `Patterns`.
        ModuleNotFoundError: see there.
    """
    return Policy(table, Patterns(table.stay_patterns, "policy.stay_patterns"))


def judge(policy: Policy, leaving: Leaving, now: Situation) -> Block | None:
    """Why a query stays; None where it may leave."""
    return (
        judge_content(policy, leaving.texts, leaving.task)
        or judge_device(policy.table, now)
        or _budget(policy.table.daily, leaving.spending, now)
        or _consent(policy.table, now)
    )


def judge_content(policy: Policy, texts: Sequence[str] | None, task: str) -> Block | None:
    """The part that the query alone decides, always in the same way: what calibration knows."""
    return _never(policy.table) or _task(policy.table, task) or _pattern(policy, texts)


def judge_device(table: PolicyTable, now: Situation) -> Block | None:
    """The part that the device alone decides: for a question that holds no query, too."""
    return _never(table) or _link(table, now) or _battery(table, now)


def _never(table: PolicyTable) -> Block | None:
    return Block(NEVER, 'send = "never"') if table.send == "never" else None


def _task(table: PolicyTable, task: str) -> Block | None:
    if task in table.stay_tasks:
        return Block(TASK, f"task {task!r} is one of stay_tasks")
    if table.stay_tasks and not task and table.when_unknown == "stay":
        return Block(TASK, 'its task is not known, and when_unknown = "stay"')
    return None


def _pattern(policy: Policy, texts: Sequence[str] | None) -> Block | None:
    if not policy.stay:
        return None
    if texts is None:
        return Block(PATTERN, "what is sent cannot be read here: token ids of another tokenizer")
    try:
        found = policy.stay.first_in(texts)
    except UnreadableError as error:
        return Block(PATTERN, f"what is sent cannot be looked through: {error}")
    return None if found is None else Block(PATTERN, f"it matches stay_patterns[{found}]")


def _link(table: PolicyTable, now: Situation) -> Block | None:
    if not table.unmetered_only or now.link == "unmetered":
        return None
    if now.link == "metered":
        return Block(LINK, "the link is metered, and unmetered_only = true", may_pass=True)
    if table.when_unknown == "send":
        return None
    return Block(
        LINK, 'whether the link is metered is not known, and when_unknown = "stay"', may_pass=True
    )


def _battery(table: PolicyTable, now: Situation) -> Block | None:
    if table.min_battery is None:
        return None
    battery = now.battery
    if battery is not None and (battery.charging or (battery.level or 0.0) >= table.min_battery):
        return None
    if battery is None or battery.level is None:
        if table.when_unknown == "send":
            return None
        return Block(
            BATTERY, 'the battery\'s level is not known, and when_unknown = "stay"', may_pass=True
        )
    return Block(
        BATTERY,
        f"the battery is at {battery.level:.0%}, below min_battery = {table.min_battery:g}",
        may_pass=True,
    )


def _budget(daily: DailyTable, spending: Spending, now: Situation) -> Block | None:
    if daily == DailyTable():
        return None
    return over_budget(daily, now.spent, spending)


def over_budget(daily: DailyTable, spent: Spending, spending: Spending) -> Block | None:
    """Whether a call would pass a day's budget by what is known of it, or finds it used up.

    What is known before is the call itself, the bytes it sends, the tokens of ids that it sends,
    and their price. What the answer adds is told when it comes, so that the last call of a day may
    pass the budget by its answer. A second attempt is no call of its own.
    """
    for name, had, more in zip(Spending._fields, spent, spending, strict=True):
        most = getattr(daily, name)
        if most is not None and (had + more > most or (spending.calls and had >= most)):
            return Block(
                BUDGET, f"today's {name} are used up: {had:g} of {most:g} spent", may_pass=True
            )
    return None


def _consent(table: PolicyTable, now: Situation) -> Block | None:
    if table.send != "ask":
        return None
    consent = now.consent
    if consent is None:
        return Block(CONSENT, 'send = "ask", and there is nobody to ask', may_pass=True)
    return None if consent else Block(CONSENT, "the user did not agree")
