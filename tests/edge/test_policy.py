"""Every way out of a cascade, on real sockets: what the policy keeps here sends no byte."""

from __future__ import annotations

import datetime
import itertools
import json
import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from relay import Relay, relay_to
from scripted import ScriptedCloud, good_reply, scripted

from escalade.edge import Artifact, EdgeClient, OpenOptions, Query
from escalade.edge.artifact.manifest import file_entry
from escalade.edge.errors import CloudError, PolicyError
from escalade.edge.outbox import Entry
from escalade.edge.policy import PendingConsent, Providers, Question, Spending
from escalade.edge.tiers import RemoteTier
from escalade.edge.trace import read_trace
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
Asks = Callable[[EdgeClient], object]
YES = Providers(consent=lambda question: True)
FREE = Providers(link=lambda: "unmetered")


def unavailable(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


@pytest.fixture
def relay(scripted_cloud: ScriptedCloud) -> Iterator[Relay]:
    """A capture of all that goes to the cloud."""
    with relay_to(scripted_cloud.address) as between:
        yield between


Open = Callable[..., EdgeClient]


@pytest.fixture
def opened(artifact: Artifact, relay: Relay, tmp_path: Path) -> Iterator[Open]:
    """A client of a file that defers everything to a cloud behind the capture."""
    made: list[EdgeClient] = []

    def make(
        policy: str,
        providers: Providers = YES,
        *,
        tier: str | None = None,
        more: str = "",
        gate: str = "threshold = -1.0",
        trace: Path | None = None,
        small: Path = artifact.folder,
    ) -> EdgeClient:
        path = tmp_path / "cascade.toml"
        tier = tier or f'address = "{relay.address}"'
        path.write_text(
            f'{more}\n[policy]\nbudget_file = "budget.sqlite"\n{policy}\n'
            f'[[tiers]]\nname = "device"\nmembers = ["{small}"]\ngate = {{ {gate} }}\n'
            f'[[tiers]]\nname = "cloud"\ndeadline_s = 5\n{tier}\n'
        )
        made.append(EdgeClient.open(path, OpenOptions(policy=providers), trace=trace))
        return made[-1]

    yield make
    for one in made:
        one.close()


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


def says(text: Callable[[str], str]) -> Callable[..., pb.GenerateResponse]:
    """A model whose answer is made of the prompt that it was sent."""

    def reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        answer = good_reply(request, context)
        answer.text = text(request.prompt.text)
        return answer

    return reply


MAIL = "redact = ['[a-z]+@[a-z.]+']"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (lambda prompt: prompt, "g2p: ann@here.org and bob@there.org, ann@here.org"),
        (lambda prompt: "[HIDDEN_2]", "bob@there.org"),  # one is dropped
        (lambda prompt: "[HIDDEN_1] [HIDDEN_1]", "ann@here.org ann@here.org"),  # repeated
        (lambda prompt: "none", "none"),
        (lambda prompt: "[hidden_1] [HIDDEN_3] HIDDEN_1", "[hidden_1] [HIDDEN_3] HIDDEN_1"),
    ],
)
def test_what_is_hidden_is_put_back_where_it_can_be(
    reply: Callable[[str], str], expected: str, opened: Open, relay: Relay, scripted_cloud: Any
) -> None:
    scripted_cloud.replies = [says(reply)]
    client = opened(MAIL, tier=f'address = "{relay.address}"\nsend = "text"')
    prompt = "g2p: ann@here.org and bob@there.org, ann@here.org"
    answer = client.ask(prompt)
    (request,) = scripted_cloud.asked
    assert request.prompt.text == "g2p: [HIDDEN_1] and [HIDDEN_2], [HIDDEN_1]"
    assert (answer.outcome, answer.text, answer.prompt) == ("deferred", expected, prompt)


@pytest.mark.parametrize("repeats", [True, False])
def test_ids_that_spell_a_placeholder_go_no_further(
    repeats: bool, opened: Open, scripted_cloud: ScriptedCloud, artifact: Artifact
) -> None:
    text = "[HIDDEN_1] it is" if repeats else "it is"
    ids = artifact.encode(text, special_tokens=False)

    def reply(request: pb.GenerateRequest, context: Any) -> pb.GenerateResponse:
        answer = good_reply(request, context)
        answer.text = text
        answer.token_ids.extend(ids)
        answer.logprobs.extend([-0.5] * len(ids))
        return answer

    scripted_cloud.replies = [reply]
    client = opened("redact = ['cascade']")
    run = client.stream(PROMPT)
    answer = run.finish()
    assert answer is not None
    said = run.said[answer.answered_by]
    assert said is not None
    source = said.source  # what a gateway sends on
    assert answer.text == text.replace("[HIDDEN_1]", "cascade")
    assert list(source.ids) == ([] if repeats else ids)
    assert len(source.logprobs) == (0 if repeats else len(ids))


def test_token_ids_and_stop_texts_are_hidden_too(
    opened: Open, scripted_cloud: ScriptedCloud, artifact: Artifact
) -> None:
    client = opened("redact = ['cas+', 'x']")
    client.ask(Query(text=PROMPT, stop=("dog x", "cas")))
    ids = artifact.encode(PROMPT)
    client.ask(
        Query(ids=tuple(ids), tokenizer_fingerprint=artifact.manifest.model.tokenizer_fingerprint)
    )
    for request in scripted_cloud.asked:
        said = artifact.decode(list(request.prompt.tokens.ids))
        assert said == artifact.decode(artifact.encode("g2p: [HIDDEN_1]cade"))
        assert list(request.prompt.tokens.ids) != ids
    stops = list(scripted_cloud.asked[0].stopping.stop_sequences)
    assert stops == ["dog [HIDDEN_2]", "[HIDDEN_1]"]


def test_a_draft_that_holds_what_is_hidden_does_not_go_along(
    opened: Open, scripted_cloud: ScriptedCloud
) -> None:
    draft = opened('send = "never"').ask(PROMPT).text
    hides = Providers(redaction=lambda text: [(0, len(text))] if text == draft else [])
    assert opened("", hides).ask(PROMPT).outcome == "deferred"
    opened("").ask(PROMPT)
    assert [one.HasField("draft") for one in scripted_cloud.asked] == [False, True]
    prompt = f"g2p: {draft}"
    again = opened('send = "never"').ask(prompt).text
    word = next((one for one in again.split() if one in prompt), None)
    if word is not None:  # what the model repeats of what is hidden is no match by itself
        at = prompt.index(word)
        hides = Providers(redaction=lambda text: [(at, at + len(word))] if text == prompt else [])
        opened("", hides).ask(prompt)
        assert not scripted_cloud.asked[-1].HasField("draft")


def test_a_conversation_is_hidden_message_by_message(
    opened: Open, scripted_cloud: ScriptedCloud, artifact: Artifact, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(artifact.folder, tmp_path / "chats"))
    template = (
        "{% for one in messages %}{{ one.role }} {{ one.name }} {{ one.content }} {% endfor %}"
    )
    path = folder / "chat_template.jinja"
    path.write_text(template)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][path.name] = msgspec.to_builtins(file_entry(path))
    manifest["model"]["chat"] = {"template": path.name}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    client = opened(MAIL, small=folder)
    client.ask(
        Query(
            messages=(
                {"role": "system", "content": "of a@b.c"},
                {"role": "user", "name": "d@e.f", "content": "g2p: d@e.f a@b.c"},
            )
        )
    )
    (request,) = scripted_cloud.asked
    sent = "system  of [HIDDEN_1] user [HIDDEN_2] g2p: [HIDDEN_2] [HIDDEN_1] "
    expected = artifact.encode(sent, special_tokens=False)
    assert list(request.prompt.tokens.ids) == expected


def test_what_cannot_be_hidden_stays(
    opened: Open, relay: Relay, scripted_cloud: ScriptedCloud
) -> None:
    def broken(text: str) -> list[tuple[int, int]]:
        raise KeyError(text)

    for hook in (broken, lambda text: [(3, 1)], lambda text: [("a", 1)], lambda text: 5):
        answer = opened("", Providers(redaction=hook)).ask(PROMPT)  # type: ignore[arg-type]
        assert answer.blocked == "POLICY_REDACTION"
        assert PROMPT not in str(answer.reason)
    assert relay.carried == 0


def test_a_pattern_is_looked_for_in_what_would_leave(
    opened: Open, scripted_cloud: ScriptedCloud
) -> None:
    kept = "stay_patterns = ['cascade']\n"
    assert opened(kept + "redact = ['cascade']").ask(PROMPT).outcome == "deferred"
    assert opened(kept).ask(PROMPT).blocked == "POLICY_PATTERN"
    assert opened(kept).ask(Query(text="g2p: a", stop=("cascade",))).blocked == "POLICY_PATTERN"
    draft = opened('send = "never"').ask("g2p: dog").text
    answer = opened(f"stay_patterns = [{json.dumps(re.escape(draft))}]").ask("g2p: dog")
    assert answer.blocked == "POLICY_PATTERN"  # it is the draft that would tell
    assert len(scripted_cloud.asked) == 1


def spent_in(client: EdgeClient) -> Spending:
    assert client.cascade.guard is not None
    return client.cascade.guard.spent()


def test_a_budget_counts_what_calls_took(
    opened: Open, relay: Relay, scripted_cloud: ScriptedCloud
) -> None:
    tier = f'address = "{relay.address}"\nprompt_price = 1e6\ngenerated_price = 2e6'
    client = opened("daily = { calls = 2, tokens = 1000, bytes = 100000, money = 100 }", tier=tier)
    answer = client.ask(PROMPT)
    link = answer.tiers[1].link  # type: ignore[union-attr]
    assert link is not None
    # 4 tokens read and 3 written, as the scripted cloud says.
    assert spent_in(client) == Spending(1, 7, link.bytes_up + link.bytes_down, 10.0)
    scripted_cloud.fails()
    assert client.ask(PROMPT).blocked is None
    third = client.ask(PROMPT)
    assert third.blocked == "POLICY_BUDGET"
    assert third.reason is not None
    assert "today's calls are used up: 2 of 2 spent" in third.reason
    client.close()
    again = opened("daily = { calls = 2 }", tier=tier)  # another process, say
    assert again.ask(PROMPT).blocked == "POLICY_BUDGET"
    assert len(scripted_cloud.asked) == 2


@pytest.mark.parametrize(
    "daily", ["tokens = 3", "bytes = 60", "money = 0.0001", "calls = 0", "bytes = 0"]
)
def test_a_call_that_would_pass_the_budget_does_not_begin(
    daily: str, opened: Open, relay: Relay
) -> None:
    tier = f'address = "{relay.address}"\nprompt_price = 1000'
    answer = opened(f"daily = {{ {daily} }}", tier=tier).ask(PROMPT)
    assert answer.blocked == "POLICY_BUDGET"
    assert relay.carried == 0


def test_what_was_never_sent_is_not_spent_and_a_second_attempt_is_no_call(
    opened: Open, scripted_cloud: ScriptedCloud, relay: Relay
) -> None:
    scripted_cloud.replies = [unavailable, good_reply]
    client = opened("daily = { calls = 1, bytes = 100000 }")
    assert client.ask(PROMPT).outcome == "deferred"
    first, second = scripted_cloud.asked
    spent = spent_in(client)
    assert spent.calls == 1
    assert spent.bytes > first.ByteSize() + second.ByteSize()
    client.close()
    # Beyond its deadline before it begins: leave was given, and nothing was sent.
    days = [datetime.date(2031, 1, 1)]
    client = opened("daily = { calls = 1 }", Providers(today=lambda: days[0]))
    tier = client.cascade.tiers[1]
    assert isinstance(tier, RemoteTier)
    with pytest.raises(CloudError, match="no time is left"):
        client.ask_last(Query(text=PROMPT, deadline_s=1e-12))
    assert spent_in(client) == Spending()


def test_a_full_disk_sends_nothing_more(
    opened: Open, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = opened("daily = { calls = 9 }")
    with sqlite3.connect(tmp_path / "budget.sqlite") as file:
        file.execute("DROP TABLE spent")
    answer = client.ask(PROMPT)
    assert answer.blocked == "POLICY_BUDGET"
    assert relay.carried == 0
