"""Drafts in both modes: the answer of none, in fewer passes, whatever they say."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from escalade.cloud.backends.backend import Backend
from escalade.cloud.backends.drafts import MOST_AHEAD, Rest
from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.embedded.batched import BatchedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Answer, Delta, Query, ScoreQuery
from escalade.cloud.backends.ticket import Ticket
from escalade.v1 import cascade_pb2 as pb

# Two KV heads of 8, keys and values in float32, in two layers; of a page of 32 tokens.
PAGE_BYTES = 32 * 2 * 2 * 2 * 8 * 4
# Nearer than this, another order of sums may choose otherwise.
TIE = 1e-4


def forever() -> Ticket:
    return Ticket(math.inf, time.monotonic)


@asynccontextmanager
async def loaded(
    folder: Path, *, batched: bool, kv_bytes: int | None = None
) -> AsyncIterator[EmbeddedBackend]:
    def load() -> TransformersEngine:
        return TransformersEngine.load(str(folder), threads=1)

    backend = (
        BatchedBackend(load, queue_capacity=500, clock=time.monotonic, kv_bytes=kv_bytes)
        if batched
        else EmbeddedBackend(load, queue_capacity=500, clock=time.monotonic)
    )
    try:
        await backend.load()
        yield backend
    finally:
        backend.close()


def run(
    folder: Path,
    test: Callable[[EmbeddedBackend], Awaitable[None]],
    *,
    batched: bool = True,
    kv_bytes: int | None = None,
) -> None:
    async def main() -> None:
        async with loaded(folder, batched=batched, kv_bytes=kv_bytes) as backend:
            async with asyncio.timeout(600):
                await test(backend)

    asyncio.run(main())


async def deltas_of(backend: Backend, query: Query) -> list[Delta]:
    return [delta async for delta in backend.generate(query, forever())]


async def answer_of(backend: Backend, query: Query) -> Answer:
    *_, last = await deltas_of(backend, query)
    assert last.answer is not None
    return last.answer


def drafted(prompt: Sequence[int], ids: Sequence[int], most: int = 47, **fields: object) -> Query:
    draft = pb.Draft(tokens=pb.TokenSequence(ids=ids), logprobs=[-0.1] * len(ids))
    return Query(tuple(prompt), most, draft=draft, **fields)  # type: ignore[arg-type]


def cases(engine: TransformersEngine, count: int, seed: int) -> list[tuple[Query, Answer]]:
    """Queries with real, spoilt and random drafts, and the answer without any."""
    draw = random.Random(seed)
    made = []
    while len(made) < count:
        plain = Query(
            tuple(draw.choices(range(4, 32), k=draw.randint(1, 40))),
            draw.randint(1, 47),
            stop_texts=(f"w{draw.randint(0, 27):02d}",) if draw.random() < 0.3 else (),
            streamed=draw.random() < 0.5,
        )
        alone = engine.generate(plain, lambda: None)
        ids = [*alone.chosen_ids, 5, 6, 2, 7][: draw.randint(0, 50)]
        kind = draw.random()
        if kind < 0.2:
            ids = draw.choices(range(32), k=draw.randint(1, 60))
        elif ids and kind < 0.6:
            ids[draw.randrange(len(ids))] = draw.randrange(32)
        made.append(
            (
                drafted(
                    plain.prompt_ids,
                    ids,
                    plain.max_new_tokens,
                    stop_texts=plain.stop_texts,
                    streamed=plain.streamed,
                ),
                alone,
            )
        )
    return made


def check(query: Query, got: Answer, alone: Answer) -> bool:
    """Whether an answer is that without a draft; ends with the test where it is not."""
    pairs = zip(got.chosen_ids, alone.chosen_ids, strict=False)
    wrong = next((n for n, (one, other) in enumerate(pairs) if one != other), None)
    if wrong is not None and alone.margins[wrong] < TIE:
        return False
    assert got.chosen_ids == alone.chosen_ids, query
    assert (got.text, got.stop_reason) == (alone.text, alone.stop_reason), query
    assert got.logprobs == pytest.approx(alone.logprobs, abs=1e-3)
    assert got.margins == pytest.approx(alone.margins[: len(got.margins)], abs=1e-3)
    assert got.prompt_tokens == len(query.prompt_ids)
    assert got.lenient is None
    return True


@pytest.mark.parametrize("pages", [None, 7], ids=["roomy", "scarce"])
@pytest.mark.parametrize("count", [300, pytest.param(4000, marks=pytest.mark.slow)])
def test_any_draft_gives_the_answer_of_none_in_any_batch(
    tiny_model: Path, engine: TransformersEngine, pages: int | None, count: int
) -> None:
    """With 7 pages of memory sequences wait, lose their pages and are read again."""
    made = cases(engine, count, seed=6)

    async def test(backend: EmbeddedBackend) -> None:
        answers = list[Answer]()
        for first in range(0, count, 100):
            some = made[first : first + 100]
            answers += await asyncio.gather(*(answer_of(backend, query) for query, _ in some))
        same = [check(query, got, alone) for (query, alone), got in zip(made, answers, strict=True)]
        assert sum(same) >= 0.99 * count

    run(tiny_model, test, kv_bytes=None if pages is None else pages * PAGE_BYTES)


@pytest.mark.parametrize("count", [300, pytest.param(4000, marks=pytest.mark.slow)])
def test_alone_any_draft_gives_the_tokens_of_none(engine: TransformersEngine, count: int) -> None:
    """No tie is excused here."""
    for query, alone in cases(engine, count, seed=7):
        got = engine.generate(query, lambda: None)
        assert got.chosen_ids == alone.chosen_ids
        assert check(query, got, alone)


def test_deltas_together_are_the_answer(tiny_model: Path, engine: TransformersEngine) -> None:
    made = [query for query, _ in cases(engine, 80, seed=8) if query.streamed]

    async def test(backend: EmbeddedBackend) -> None:
        streams = await asyncio.gather(*(deltas_of(backend, query) for query in made))
        for *pieces, last in streams:
            assert last.answer is not None
            ids = [token for piece in pieces for token in piece.token_ids]
            assert ids == list(last.answer.token_ids)[: len(ids)]
            assert last.answer.text.startswith("".join(piece.text for piece in pieces))

    run(tiny_model, test)


def long_answer(engine: TransformersEngine) -> tuple[tuple[int, ...], Answer]:
    """A prompt whose answer is as long as can be, and never near a tie."""
    for first in range(4, 32):
        answer = engine.generate(Query((first, 9), 40), lambda: None)
        if len(answer.chosen_ids) == 40 and min(answer.margins) > 10 * TIE:
            return (first, 9), answer
    raise AssertionError("the model has no long answer")


def rest_passes(draft: Sequence[int], answer: Sequence[int], wrong_at: int) -> list[int]:
    """How many tokens are read with the last one, pass by pass, behind a draft's reading."""
    said = list(answer[: wrong_at + 1])
    rest, widths = Rest(draft, said), []
    while len(said) < len(answer):
        ahead = rest.next(MOST_AHEAD)
        widths.append(1 + len(ahead))
        for token, drafted in zip(answer[len(said) :], [*ahead, None], strict=False):
            rest.take(token)
            said.append(token)
            if token != drafted:
                break
    return widths


# The last: a page of 32 is full where what was read ahead is taken back.
@pytest.mark.parametrize("wrong", [[], [0], [10], [30], [25, 29]])
def test_a_draft_is_read_in_one_pass_and_its_rest_in_few(
    tiny_model: Path, engine: TransformersEngine, wrong: list[int]
) -> None:
    prompt, alone = long_answer(engine)
    ids, wanted = list(alone.chosen_ids), list[int]()
    for at in wrong:
        ids[at] = next(token for token in range(4, 32) if token not in ids)
    if wrong:
        wanted = rest_passes(ids[:39], alone.chosen_ids, wrong[0])
        assert len(wanted) <= 1 + len(wrong) + (39 - wrong[0]) // (1 + MOST_AHEAD)

    async def test(backend: EmbeddedBackend) -> None:
        passes: list[int] = []
        network = backend._transformers.network  # type: ignore[attr-defined]
        network.register_forward_pre_hook(
            lambda _, __, named: passes.append(named["input_ids"].numel()), with_kwargs=True
        )
        got = await answer_of(backend, drafted(prompt, ids, 40))
        assert check(drafted(prompt, ids, 40), got, alone)
        assert passes[0] == len(prompt) + 39
        assert passes[2:] == wanted[1:]
        # What is left of a page is read again.
        assert wanted[:1] <= passes[1:2] <= [one + 31 for one in wanted[:1]]
        await kept_pages_are_right(backend, prompt, alone)

    run(tiny_model, test)


async def kept_pages_are_right(
    backend: EmbeddedBackend, prompt: tuple[int, ...], alone: Answer
) -> None:
    """Who begins alike goes on from pages of a sequence that took back some of what it read."""
    for known in (30, 31, 32):
        longer = (*prompt, *alone.chosen_ids[:known])
        got = await answer_of(backend, Query(longer, 40 - known))
        assert got.cached_prompt_tokens == (32 if len(longer) > 32 else 0)
        assert got.chosen_ids == alone.chosen_ids[known:]
        assert got.logprobs == pytest.approx(alone.logprobs[known:], abs=1e-3)


def test_what_was_read_once_is_not_read_again(tiny_model: Path, engine: TransformersEngine) -> None:
    prompt = tuple(random.Random(9).choices(range(4, 32), k=36))
    alone = engine.generate(Query(prompt, 8), lambda: None)

    async def test(backend: EmbeddedBackend) -> None:
        query = drafted(prompt, alone.chosen_ids[:5], 8)
        verdict = await backend.verify(query, forever())
        assert verdict.cached_prompt_tokens == 0
        again = await backend.verify(query, forever())
        assert again.cached_prompt_tokens == 32
        assert again.logprobs == pytest.approx(list(verdict.logprobs), abs=1e-4)
        for one in (query, Query(prompt, 8)):
            got = await answer_of(backend, one)
            assert got.cached_prompt_tokens == 32
            assert got.chosen_ids == alone.chosen_ids

    run(tiny_model, test)


@pytest.mark.parametrize("batched", [False, True])
def test_a_verdict_is_that_of_the_answer(
    tiny_model: Path, engine: TransformersEngine, *, batched: bool
) -> None:
    made = [
        (query, alone)
        for query, alone in cases(engine, 120, seed=10)
        if query.draft is not None and 0 < len(query.draft.tokens.ids) < 48 - len(query.prompt_ids)
    ]

    async def test(backend: EmbeddedBackend) -> None:
        verdicts = await asyncio.gather(*(backend.verify(query, forever()) for query, _ in made))
        for (query, _), verdict in zip(made, verdicts, strict=True):
            assert query.draft is not None
            ids = list(query.draft.tokens.ids)
            whole = engine.generate(Query(query.prompt_ids, 47), lambda: None)
            agrees = [one == other for one, other in zip(ids, whole.chosen_ids, strict=False)]
            accepted = agrees.index(False) if False in agrees else len(agrees)
            assert verdict.accepted == accepted
            assert len(verdict.logprobs) == len(ids)
            if accepted and ids[accepted - 1] == 2:
                assert verdict.correction_id is None
            elif accepted < len(whole.chosen_ids):
                assert verdict.correction_id == whole.chosen_ids[accepted]
                assert verdict.margin == pytest.approx(whole.margins[accepted], abs=1e-3)

    run(tiny_model, test, batched=batched)


@pytest.mark.parametrize("batched", [False, True])
def test_a_rule_lets_stand_what_it_says(
    tiny_model: Path, engine: TransformersEngine, *, batched: bool
) -> None:
    """Token by token against the scores of the answer, by the rule's own words."""
    draw = random.Random(11)
    alpha = 0.9
    queries = []
    for _ in range(150):
        prompt = draw.choices(range(4, 32), k=draw.randint(1, 20))
        ids = engine.generate(Query(tuple(prompt), 20), lambda: None).chosen_ids
        [scores] = engine.score([ScoreQuery(tuple(prompt), tuple(ids))], 2)
        for at in range(len(ids)):
            if draw.random() < 0.3:
                ids[at] = int(scores.top_ids[at, 1])
        query = drafted(prompt, ids, draw.randint(1, 25))
        assert query.draft is not None
        query.draft.acceptance.rule = pb.ACCEPTANCE_RULE_TOKEN_V3
        query.draft.acceptance.alpha = alpha
        queries.append(query)

    async def test(backend: EmbeddedBackend) -> None:
        lent = 0
        answers = await asyncio.gather(*(answer_of(backend, query) for query in queries))
        for query, got in zip(queries, answers, strict=True):
            assert query.draft is not None
            ids, chosen = list(query.draft.tokens.ids), got.chosen_ids
            [scores] = engine.score([ScoreQuery(query.prompt_ids, tuple(chosen))], 1)
            assert got.logprobs == pytest.approx(scores.response_logprobs.tolist(), abs=1e-3)
            own = scores.argmax.tolist()
            lenient = sum(one != other for one, other in zip(chosen, own, strict=True))
            assert got.lenient == lenient
            lent += lenient
            stood = 0
            for at, token in enumerate(chosen):
                ratio = math.exp(scores.response_logprobs[at] - scores.top_logprobs[at, 0])
                if at == stood and at < len(ids) and token == ids[at]:
                    assert token == own[at] or ratio >= (1 - alpha) * 0.999
                    stood += 1
                else:  # the model goes on alone
                    assert token == own[at]
        assert lent > 20

    run(tiny_model, test, batched=batched)


@pytest.mark.parametrize("batched", [False, True])
def test_a_draft_in_text_becomes_tokens(
    tiny_model: Path, engine: TransformersEngine, *, batched: bool
) -> None:
    prompt, alone = long_answer(engine)

    async def test(backend: EmbeddedBackend) -> None:
        query = Query(prompt, 40, draft=pb.Draft(text=alone.text))
        got = await answer_of(backend, query)
        assert got.chosen_ids == alone.chosen_ids
        assert list(got.draft_ids) == list(engine.encode(alone.text, special_tokens=False))

    run(tiny_model, test, batched=batched)
