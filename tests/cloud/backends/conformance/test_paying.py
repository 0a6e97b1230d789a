"""What a client pays who leaves in the middle, held against every backend."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from escalade.cloud.access.limits import Limits, Quotas
from escalade.cloud.access.metered import Metered
from escalade.cloud.backends import Backend, Claim, Delta, Query, Ticket
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.errors import EngineDeadError, QuotaExceededError
from escalade.v1 import cascade_pb2 as pb

ME = Claim("me")
DAY_S = 86_400
TEXT = "g2p: cascade"


class Account:
    """A client's, with one token a day and a clock that stands."""

    def __init__(self) -> None:
        self.quotas = Quotas(Limits(tokens_per_day=1), lambda: 0.0)
        self.quotas.admit(ME.host)

    @property
    def paid(self) -> int:
        """It began with one, owes the rest, and may ask when it has one again."""
        try:
            self.quotas.admit(ME.host)
        except QuotaExceededError as refusal:
            return round(refusal.retry_after_s / DAY_S)
        return 0


def forever() -> Ticket:
    return Ticket(math.inf, time.monotonic, ME)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("form", ["ids", "text"])
def test_who_leaves_after_a_piece_pays_for_it_and_the_prompt(
    loaded: Any, reference: TransformersEngine, form: str, streamed: bool
) -> None:
    ids = tuple(reference.encode(TEXT))
    query = Query((), 8, prompt_text=TEXT, streamed=streamed)
    if form == "ids":
        query = msgspec.structs.replace(query, prompt_ids=ids, prompt_text="")

    async def main() -> None:
        async with loaded() as backend:
            in_ids = bool(backend.info.model.tokenizer_fingerprint)
            if form == "ids" and not in_ids:
                pytest.skip("takes no ids")
            account = Account()
            deltas = Metered(backend, account.quotas).generate(query, forever())
            assert hasattr(deltas, "aclose")
            async with aclosing(deltas):
                first = await anext(deltas)
            if first.answer is not None:  # of a gateway, which gives no pieces
                cost = first.answer.prompt_tokens + first.answer.generated_tokens
            elif in_ids:
                cost = len(ids) + len(first.token_ids)
            else:  # how many tokens a text has, the server behind says at the end
                cost = 1
            assert account.paid == cost > 0

    asyncio.run(main())


class Failing(Backend):
    """Reads, gives a token, and fails."""

    async def generate(self, query: Query, ticket: Ticket) -> Any:
        ticket.prompt_tokens = len(query.prompt_ids)
        yield Delta([5], [-0.5], "w01")
        raise EngineDeadError("engine: failed")

    async def verify(self, query: Query, ticket: Ticket) -> Any:
        ticket.prompt_tokens = len(query.prompt_ids)
        raise EngineDeadError("engine: failed")


def test_what_the_engine_failed_at_nobody_pays_for() -> None:
    async def main() -> int:
        account = Account()
        metered = Metered(Failing(), account.quotas)  # type: ignore[abstract] # asked no more
        query = Query((4, 1), 8)
        with pytest.raises(EngineDeadError):
            async for _ in metered.generate(query, forever()):
                pass
        draft = pb.Draft(tokens=pb.TokenSequence(ids=[5]))
        with pytest.raises(EngineDeadError):
            await metered.verify(msgspec.structs.replace(query, draft=draft), forever())
        return account.paid

    assert asyncio.run(main()) == 0
