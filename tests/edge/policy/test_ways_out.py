"""Every way out of a cascade, on real sockets: what the policy keeps here sends no byte."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from relay import Relay, relay_to
from scripted import ScriptedCloud, good_reply, scripted

from escalade.edge import EdgeClient, Query
from escalade.edge.errors import CloudError, PolicyError
from escalade.edge.outbox import Entry
from escalade.edge.policy import PendingConsent, Providers, Question
from escalade.edge.tiers import RemoteTier
from escalade.edge.trace import read_trace
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
Open = Callable[..., EdgeClient]
Asks = Callable[[EdgeClient], object]
YES = Providers(consent=lambda question: True)


def stream(client: EdgeClient) -> object:
    run = client.stream(PROMPT)
    assert [delta.text for delta in run]
    return run.answer


def ask_last(client: EdgeClient) -> object:
    with pytest.raises(CloudError):
        client.ask_last(PROMPT)
    return None


def ask_by_rpc(client: EdgeClient) -> object:
    """The calls of a channel that no tier makes."""
    tier = client.cascade.tiers[1]
    assert isinstance(tier, RemoteTier)
    request = pb.GenerateRequest(prompt=pb.Prompt(text=PROMPT))
    for call in (
        lambda: tier.client.generate(request),
        lambda: list(tier.client.stream(request)),
        lambda: tier.client.verify(pb.VerifyRequest(prompt=pb.Prompt(text=PROMPT))),
    ):
        with pytest.raises(CloudError):
            call()
    return None


#: Ways out: how the file has them, and how they are gone.
WAYS: dict[str, tuple[dict[str, str], Asks]] = {
    "deferral with its draft": ({}, lambda client: client.ask(PROMPT)),
    "a query as text": ({"tier_more": 'send = "text"'}, lambda client: client.ask(PROMPT)),
    "early deferral": (
        {"gate": 'threshold = -1.0, early = "certain"'},
        lambda client: client.ask(PROMPT),
    ),
    "a hedged address": (
        {"tier_more": 'hedge_after_s = 0.001\nhedge_address = "{relay}"'},
        lambda client: client.ask(PROMPT),
    ),
    "shadow mode": ({}, lambda client: client.ask(PROMPT, shadow=True)),
    "a stream": ({}, stream),
    "the last tier alone": ({}, ask_last),
    "calls that no tier makes": ({}, ask_by_rpc),
}
#: Policies that keep everything here, and who says how things stand.
KEEPS: dict[str, tuple[str, Providers]] = {
    "POLICY_NEVER": ('send = "never"', YES),
    "POLICY_CONSENT": ('send = "ask"', Providers(consent=lambda question: False)),
    "POLICY_LINK": ("unmetered_only = true", Providers(link=lambda: "metered")),
    "POLICY_BATTERY": ("min_battery = 0.5", Providers(battery=lambda: None)),
    "POLICY_PATTERN": ("stay_patterns = ['cascade']", YES),
    "POLICY_TASK": ("stay_tasks = ['g2p']", YES),
    "POLICY_BUDGET": ("daily = { calls = 0 }", YES),
    "POLICY_REDACTION": ("", Providers(redaction=lambda text: [(0, 10**6)])),
}


def options_of(way: dict[str, str], relay: Relay) -> dict[str, str]:
    options = dict(way)
    more = options.pop("tier_more", "").replace("{relay}", relay.address)
    return {**options, "tier": f'address = "{relay.address}"\n{more}'}


# What is hidden is the tier's to hide: other calls hide nothing.
@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (way, reason)
        for way, reason in itertools.product(WAYS, KEEPS)
        if (way, reason) != ("calls that no tier makes", "POLICY_REDACTION")
    ],
)
def test_what_stays_sends_no_byte(
    way: str, reason: str, opened: Open, relay: Relay, scripted_cloud: ScriptedCloud
) -> None:
    options, ask = WAYS[way]
    answer: Any = ask(opened(*KEEPS[reason], **options_of(options, relay)))
    assert (relay.dialled, relay.carried, scripted_cloud.asked) == (0, 0, [])
    if answer is not None:
        assert (answer.outcome, answer.answered_by, answer.tier) == ("degraded", 0, "device")
        assert answer.blocked == reason
        assert answer.reason.startswith(f"{reason}: cloud: not sent: ")
        assert answer.tiers[1] is None
        assert answer.text == answer.tiers[0].text


@pytest.mark.parametrize("way", [way for way in WAYS if "alone" not in way and "calls" not in way])
def test_what_may_leave_does(
    way: str, opened: Open, relay: Relay, scripted_cloud: ScriptedCloud
) -> None:
    options, ask = WAYS[way]
    answer: Any = ask(opened("", **options_of(options, relay)))
    assert (answer.outcome, answer.blocked) in {("deferred", None), ("answered", None)}
    assert scripted_cloud.asked
    assert relay.carried > 100


def test_an_ensemble_elsewhere_is_asked_about_once(
    opened: Open, relay: Relay, scripted_cloud: ScriptedCloud
) -> None:
    asked: list[Question] = []

    def consent(question: Question) -> bool:
        asked.append(question)
        return len(asked) > 1

    with scripted() as other, relay_to(other.address) as second:
        tier = f'members = [{{ address = "{relay.address}" }}, {{ address = "{second.address}" }}]'
        client = opened('send = "ask"', Providers(consent=consent), tier=tier)
        answer = client.ask(PROMPT)
        assert (answer.outcome, answer.blocked) == ("degraded", "POLICY_CONSENT")
        assert (relay.carried, second.carried, len(asked)) == (0, 0, 1)
        assert client.ask(PROMPT).outcome == "deferred"
        # The vote needs one of them: the other's call may have been ended before it was heard.
        assert len(asked) == 2
        assert scripted_cloud.asked or other.asked
    assert asked[1].tier == "cloud"
    assert asked[1].texts is not None
    assert asked[1].texts[0] == PROMPT
    assert asked[1].spending.bytes > 0


@pytest.mark.parametrize("reason", KEEPS)
def test_a_trace_of_what_stays_asks_nobody_who_they_are(
    reason: str, opened: Open, relay: Relay, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.jsonl"
    client = opened(*KEEPS[reason], trace=trace)
    answer = client.ask(PROMPT)
    assert answer.trace_error is None
    assert (relay.dialled, relay.carried) == (0, 0)
    header, (record,) = read_trace(trace)
    assert header.tiers[1].members == []
    assert (record.outcome, record.reason) == ("degraded", answer.reason)


def test_what_is_kept_for_later_is_held_against_the_policy_again(
    opened: Open, relay: Relay, scripted_cloud: ScriptedCloud
) -> None:
    link = ["metered"]
    providers = Providers(link=lambda: link[0])  # type: ignore[arg-type,return-value]
    more = 'on_outage = "queue"\noutbox = { path = "outbox.sqlite" }'
    client = opened("unmetered_only = true\nstay_patterns = ['dog']", providers, more=more)
    answer = client.ask(PROMPT)
    assert (answer.outcome, answer.blocked, bool(answer.kept)) == ("degraded", "POLICY_LINK", True)
    assert client.ask("g2p: dog").kept is None  # that never may leave
    settled: list[Entry] = []
    done = client.flush(settled.append)
    assert (done.answered, done.left, relay.carried) == (0, 1, 0)
    assert done.reason is not None
    assert done.reason.startswith("POLICY_LINK: ")
    link[0] = "unmetered"
    assert client.flush(settled.append) == (1, 0, 0, None)
    assert (settled[0].answer, len(scripted_cloud.asked)) == ("large answer", 1)
    # Kept while it might leave, refused for good where a later policy keeps it here.
    link[0] = "metered"
    client.ask(PROMPT)
    later = opened('send = "never"', more=more)
    before = relay.carried
    assert later.flush(settled.append) == (0, 1, 0, None)
    assert settled[1].state == "refused"
    assert relay.carried == before


def test_who_is_there_is_not_asked_before_anything_may_leave(opened: Open, relay: Relay) -> None:
    for policy, providers in (
        ('send = "never"', YES),
        ("unmetered_only = true", Providers(link=lambda: "unknown")),
        ('send = "ask"', YES),
    ):
        client = opened(policy, providers)
        with pytest.raises(PolicyError, match="not sent"):
            client.trace_header()
        assert (relay.dialled, relay.carried) == (0, 0)
    assert client.ask(PROMPT).outcome == "deferred"
    assert client.trace_header().tiers[1].members  # now that something has


def test_a_link_that_becomes_metered_ends_the_attempts(
    opened: Open, scripted_cloud: ScriptedCloud
) -> None:
    link = ["unmetered"]

    def fails(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
        link[0] = "metered"
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    scripted_cloud.replies = [fails, good_reply]
    client = opened("unmetered_only = true", Providers(link=lambda: link[0]))  # type: ignore[arg-type,return-value]
    answer = client.ask(PROMPT)
    assert (answer.outcome, answer.blocked) == ("degraded", "POLICY_LINK")
    assert len(scripted_cloud.asked) == 1
    link[0] = "unmetered"
    assert client.ask(PROMPT).outcome == "deferred"  # it was no failure of the server


def test_consent_is_waited_for_and_told_from_another_thread(
    opened: Open, relay: Relay, scripted_cloud: ScriptedCloud
) -> None:
    told: list[tuple[str, Question]] = []
    there = threading.Event()

    def tell(key: str, question: Question) -> None:
        told.append((key, question))
        there.set()

    pending = PendingConsent(tell)
    client = opened('send = "ask"', Providers(consent=pending))
    answers: list[Any] = []

    def ask(query: Query) -> threading.Thread:
        there.clear()
        thread = threading.Thread(target=lambda: answers.append(client.ask(query)))
        thread.start()
        assert there.wait(30)
        return thread

    thread = ask(Query(text=PROMPT, request_id="mine"))
    assert (relay.carried, told[0][1].request_id, told[0][1].address) == (0, "mine", relay.address)
    assert pending.answer(told[0][0], agreed=True)
    thread.join(30)
    assert not pending.answer(told[0][0], agreed=True)  # it is over
    thread = ask(Query(text=PROMPT))
    assert pending.answer(told[1][0], agreed=False)
    thread.join(30)
    assert [(one.outcome, one.blocked) for one in answers] == [
        ("deferred", None),
        ("degraded", "POLICY_CONSENT"),
    ]
    assert len(scripted_cloud.asked) == 1


def test_a_question_that_nobody_answers_is_a_no_and_a_cancelled_query_has_none(
    opened: Open, relay: Relay
) -> None:
    silent = PendingConsent(lambda key, question: None, wait_s=0.05)
    answer = opened('send = "ask"', Providers(consent=silent)).ask(PROMPT)
    assert answer.blocked == "POLICY_CONSENT"
    gone = threading.Event()
    waits = PendingConsent(lambda key, question: gone.set(), wait_s=600)
    run = opened('send = "ask"', Providers(consent=waits)).stream(PROMPT, cancelled=gone.is_set)
    assert run.finish() is None
    assert relay.carried == 0


def test_one_who_cannot_be_asked_sends_nothing(opened: Open, relay: Relay) -> None:
    def broken(question: Question) -> bool:
        raise RuntimeError("no window")

    answer = opened('send = "ask"', Providers(consent=broken)).ask(PROMPT)
    assert answer.blocked == "POLICY_CONSENT"
    assert answer.reason is not None
    assert "asking the user failed: RuntimeError: no window" in answer.reason
    answer = opened('send = "ask"', Providers()).ask(PROMPT)
    assert answer.reason is not None
    assert "there is nobody to ask" in answer.reason
    assert relay.carried == 0
