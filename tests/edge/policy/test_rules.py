"""Every rule under every state of the device: one table, and nothing else decides."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from escalade.edge.policy import Battery, Leaving, PolicyTable, Spending
from escalade.edge.policy.rules import (
    BATTERY,
    BUDGET,
    CONSENT,
    LINK,
    NEVER,
    PATTERN,
    REASONS,
    REDACTION,
    TASK,
    Consented,
    LinkState,
    judge,
    judge_content,
    judge_device,
    policy_of,
)
from escalade.edge.policy.table import DailyTable


class Now(NamedTuple):
    link: LinkState = "unmetered"
    battery: Battery | None = Battery(1.0, charging=False)
    spent: Spending = Spending()
    consent: Consented = True


# Of each rule: what the policy says, and each state with the reason it gives by itself (None: the
# query may leave). Written out by hand; the code is held to it.
SENDS: dict[str, dict[str, tuple[Consented, str | None]]] = {
    "allow": {"nobody to ask": (None, None)},
    "ask": {"yes": (True, None), "no": (False, CONSENT), "nobody to ask": (None, CONSENT)},
    "never": {"yes": (True, NEVER)},
}
LINKS: dict[bool, dict[tuple[LinkState, str], str | None]] = {
    False: {("metered", "stay"): None, ("unknown", "stay"): None},
    True: {
        ("unmetered", "stay"): None,
        ("metered", "stay"): LINK,
        ("metered", "send"): LINK,
        ("unknown", "stay"): LINK,
        ("unknown", "send"): None,
    },
}
BATTERIES: list[tuple[float | None, Battery | None, str, str | None]] = [
    (None, Battery(0.01, charging=False), "stay", None),
    (None, None, "stay", None),
    (0.2, Battery(0.2, charging=False), "stay", None),
    (0.2, Battery(0.19, charging=False), "stay", BATTERY),
    (0.2, Battery(0.19, charging=False), "send", BATTERY),
    (0.2, Battery(0.01, charging=True), "stay", None),
    (0.2, Battery(None, charging=True), "stay", None),
    (0.2, Battery(None, charging=False), "stay", BATTERY),
    (0.2, Battery(None, charging=False), "send", None),
    (0.2, None, "stay", BATTERY),
    (0.2, None, "send", None),
    (0.0, Battery(0.0, charging=False), "stay", None),
    (1.0, Battery(0.99, charging=False), "stay", BATTERY),
]
CONTENTS: list[tuple[list[str], list[str], list[str] | None, str, str, str | None]] = [
    # patterns, tasks, texts, task, when_unknown, reason
    ([], [], None, "", "stay", None),
    (["(?i)secret"], [], ["a word"], "", "stay", None),
    (["(?i)secret"], [], ["a word", "my SECRET"], "", "stay", PATTERN),
    (["x{3}", "b$"], [], ["ab"], "", "stay", PATTERN),
    (["secret"], [], None, "", "send", PATTERN),
    ([], ["diary"], ["a word"], "diary", "send", TASK),
    ([], ["diary"], ["a word"], "g2p", "stay", None),
    ([], ["diary"], ["a word"], "", "stay", TASK),
    ([], ["diary"], ["a word"], "", "send", None),
    (["secret"], ["diary"], ["secret"], "diary", "stay", TASK),
]
BUDGETS: list[tuple[DailyTable, Spending, Spending, str | None]] = [
    (DailyTable(), Spending(9, 9, 9, 9.0), Spending(1, 9, 9, 9.0), None),
    (DailyTable(calls=2), Spending(calls=1), Spending(1), None),
    (DailyTable(calls=2), Spending(calls=2), Spending(1), BUDGET),
    (DailyTable(calls=0), Spending(), Spending(1), BUDGET),
    (DailyTable(tokens=10), Spending(tokens=4), Spending(1, 6), None),
    (DailyTable(tokens=10), Spending(tokens=4), Spending(1, 7), BUDGET),
    (DailyTable(tokens=10), Spending(tokens=10), Spending(1, 0), BUDGET),
    (DailyTable(tokens=10), Spending(tokens=10), Spending(0, 0), None),
    (DailyTable(bytes=100), Spending(bytes=50), Spending(1, 0, 50), None),
    (DailyTable(bytes=100), Spending(bytes=50), Spending(0, 0, 51), BUDGET),
    (DailyTable(bytes=0), Spending(), Spending(1, 0, 0), BUDGET),
    (DailyTable(money=1.0), Spending(money=0.5), Spending(1, 0, 0, 0.5), None),
    (DailyTable(money=1.0), Spending(money=0.5), Spending(1, 0, 0, 0.6), BUDGET),
    (DailyTable(calls=5, money=1.0), Spending(1, 0, 0, 1.0), Spending(1), BUDGET),
]
# Who speaks first where several would.
ORDER = (NEVER, TASK, PATTERN, LINK, BATTERY, BUDGET, CONSENT)


def combinations() -> Iterator[tuple[PolicyTable, Leaving, Now, str | None]]:
    """Each rule's states with each other's, where they agree on what is to be of the unknown."""
    sends = [(send, consent, why) for send, of in SENDS.items() for consent, why in of.values()]
    links = [
        (only, link, unknown, why)
        for only, of in LINKS.items()
        for (link, unknown), why in of.items()
    ]
    for send, link, battery, content, budget in itertools.product(
        sends, links, BATTERIES, CONTENTS, BUDGETS
    ):
        said, consent, _ = send
        only, state, unknown, _ = link
        least, fed, of_battery, _ = battery
        patterns, tasks, texts, task, of_content, _ = content
        daily, spent, spending, _ = budget
        if not unknown == of_battery == of_content:
            continue
        table = PolicyTable(
            send=said,  # type: ignore[arg-type]
            unmetered_only=only,
            min_battery=least,
            when_unknown=unknown,  # type: ignore[arg-type]
            stay_patterns=patterns,
            stay_tasks=tasks,
            daily=daily,
        )
        reasons = {one[-1] for one in (send, link, battery, content, budget)}
        expected = next((one for one in ORDER if one in reasons), None)
        leaving = Leaving("cloud", "host:1", texts, task, spending)
        yield table, leaving, Now(state, fed, spent, consent), expected


def test_every_combination_of_the_table() -> None:
    seen: dict[str | None, int] = {}
    compiled: dict[tuple[str, ...], object] = {}
    for table, leaving, now, expected in combinations():
        # As `policy_of` does, but each list of expressions once.
        key = tuple(table.stay_patterns)
        stay = compiled.setdefault(key, policy_of(table).stay)
        rules = policy_of(PolicyTable())._replace(table=table, stay=stay)  # type: ignore[arg-type]
        blocked = judge(rules, leaving, now)
        assert (None if blocked is None else blocked.reason) == expected, (table, leaving, now)
        seen[expected] = seen.get(expected, 0) + 1
    assert set(seen) == {None, *REASONS} - {REDACTION}
    assert sum(seen.values()) > 10_000


@pytest.mark.parametrize(
    ("table", "now", "passes"),
    [
        (PolicyTable(send="never"), Now(), False),
        (PolicyTable(unmetered_only=True), Now(link="metered"), True),
        (PolicyTable(min_battery=0.5), Now(battery=None), True),
        (PolicyTable(send="ask"), Now(consent=None), True),
        (PolicyTable(send="ask"), Now(consent=False), False),
        (PolicyTable(stay_patterns=["a"]), Now(), False),
        (PolicyTable(stay_tasks=["x"]), Now(), False),
        (PolicyTable(daily=DailyTable(calls=0)), Now(), True),
    ],
)
def test_what_may_leave_later_is_told_from_what_never_may(
    table: PolicyTable, now: Now, passes: bool
) -> None:
    blocked = judge(policy_of(table), Leaving("cloud", "host:1", ["a"], "x"), now)
    assert blocked is not None
    assert blocked.may_pass == passes


class Untouched:
    """A device that is not to be asked anything."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was asked")


def test_what_no_rule_looks_at_is_not_found_out() -> None:
    leaving = Leaving("cloud", "host:1", ["a"])
    untouched = Untouched()
    assert judge(policy_of(PolicyTable()), leaving, untouched) is None  # type: ignore[arg-type]
    kept = PolicyTable(send="ask", unmetered_only=True, min_battery=0.5, stay_patterns=["a"])
    blocked = judge(policy_of(kept), leaving, untouched)  # type: ignore[arg-type]
    assert blocked is not None
    assert blocked.reason == PATTERN


def test_nobody_is_asked_in_vain() -> None:
    class Asked(Now):
        @property
        def consent(self) -> Consented:  # type: ignore[override]
            raise AssertionError("asked")

    table = PolicyTable(send="ask", daily=DailyTable(calls=0))
    blocked = judge(policy_of(table), Leaving("cloud", "host:1", ["a"]), Asked())
    assert blocked is not None
    assert blocked.reason == BUDGET


def test_a_question_without_a_query_is_held_against_the_device_alone() -> None:
    table = PolicyTable(stay_patterns=["."], stay_tasks=["x"], daily=DailyTable(calls=0))
    assert judge_device(table, Now()) is None
    assert judge_device(PolicyTable(send="never"), Now()) is not None
    assert judge_device(PolicyTable(unmetered_only=True), Now(link="unknown")) is not None


def test_what_the_query_alone_decides_is_what_calibration_knows() -> None:
    rules = policy_of(PolicyTable(send="ask", unmetered_only=True, stay_patterns=["b"]))
    assert judge_content(rules, ["a"], "") is None
    assert judge_content(rules, ["ab"], "") is not None
