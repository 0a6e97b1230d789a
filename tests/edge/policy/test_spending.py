"""What a day's budget counts, on real sockets, and where it ends."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from relay import Relay
from scripted import ScriptedCloud, good_reply

from escalade.edge import EdgeClient, Query
from escalade.edge.errors import CloudError
from escalade.edge.policy import Providers, Spending
from escalade.edge.tiers import RemoteTier
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
Open = Callable[..., EdgeClient]


def unavailable(request: pb.GenerateRequest, context: grpc.ServicerContext) -> Any:
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


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
