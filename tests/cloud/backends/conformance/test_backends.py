"""What `Backend` promises, held against every one; what one of them does besides is elsewhere."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from escalade.cloud.backends import Answer, Backend, Delta, Query, ScoreQuery, Scores, Ticket
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.errors import (
    DeadlineError,
    NotSupportedError,
    PromptTooLongError,
    QueueFullError,
)
from escalade.v1 import cascade_pb2 as pb

PROMPTS = ("g2p: cascade", "p2g: K AE T", "stress: banana", "syllables: river")
TOKENS = 12
ENDS = {pb.STOP_REASON_END_OF_SEQUENCE, pb.STOP_REASON_MAX_TOKENS, pb.STOP_REASON_CONTEXT_LIMIT}


def forever() -> Ticket:
    return Ticket(math.inf, time.monotonic)


def asking(text: str, **fields: Any) -> Query:
    return Query((), **{"max_new_tokens": TOKENS, "prompt_text": text, "logprobs": True, **fields})


async def deltas_of(backend: Backend, query: Query, ticket: Ticket | None = None) -> list[Delta]:
    deltas = [delta async for delta in backend.generate(query, ticket or forever())]
    assert [delta.answer is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    return deltas


async def answer_of(backend: Backend, query: Query, ticket: Ticket | None = None) -> Answer:
    answer = (await deltas_of(backend, query, ticket))[-1].answer
    assert answer is not None
    return answer


async def scores_of(backend: Backend, queries: list[ScoreQuery], k: int) -> list[Scores]:
    batches = backend.score(queries, k, forever())
    return [one async for batch in batches for one in batch.scores]


def in_ids(backend: Backend) -> bool:
    return bool(backend.info.model.tokenizer_fingerprint)


def test_it_says_who_it_is(loaded: Any, reference: TransformersEngine) -> None:
    async def main() -> None:
        async with loaded() as backend:
            info, own = backend.info, reference.info
            assert info.model.name
            assert info.engine
            assert info.parameter_count >= 1
            assert 1 < info.context_length <= own.context_length
            assert 1 <= info.max_new_tokens < info.context_length + 1
            assert info.queue_capacity == 2
            assert pb.CAPABILITY_GENERATE in info.capabilities
            assert [len(tier.members) for tier in info.tiers] == [1]
            assert info.longest_token_bytes >= 1
            if in_ids(backend):
                assert info.model.tokenizer_fingerprint == own.model.tokenizer_fingerprint
                assert info.vocabulary_size == own.vocabulary_size
                assert tuple(info.end_of_sequence_ids) == own.end_of_sequence_ids
            assert backend.health()

    asyncio.run(main())


def test_answers_are_the_models(loaded: Any, reference: TransformersEngine) -> None:
    async def main() -> None:
        async with loaded() as backend:
            for text in PROMPTS:
                prompt = tuple(reference.encode(text))
                wanted = reference.generate(Query(prompt, TOKENS), lambda: None)
                said = await answer_of(backend, asking(text))
                assert said.text == wanted.text
                assert said.stop_reason == wanted.stop_reason
                assert (said.prompt_tokens, said.generated_tokens) == (
                    len(prompt),
                    len(wanted.chosen_ids),
                )
                if not in_ids(backend):
                    assert not said.token_ids
                    assert not said.logprobs
                    continue
                assert list(said.token_ids) == list(wanted.token_ids)
                count = len(said.logprobs)
                assert count in {len(wanted.token_ids), len(wanted.chosen_ids)}
                assert list(said.logprobs) == pytest.approx(wanted.logprobs[:count], abs=1e-3)
                by_ids = await answer_of(backend, Query(prompt, TOKENS, logprobs=True))
                assert list(by_ids.token_ids) == list(wanted.token_ids)

    asyncio.run(main())


def test_every_answer_says_the_tier_and_its_cost(loaded: Any) -> None:
    async def main() -> None:
        async with loaded() as backend:
            answer = await answer_of(backend, asking(PROMPTS[0]))
            [report] = answer.reports
            [member] = report.members
            [described] = backend.info.tiers
            assert (report.tier, report.place) == (described.tier, described.place)
            assert member.model.name == described.members[0].model.name
            assert member.prompt_tokens == answer.prompt_tokens > 0
            assert member.generated_tokens == answer.generated_tokens > 0
            assert report.seconds >= member.seconds > 0
            assert answer.compute_s > 0
            assert not answer.degraded

    asyncio.run(main())


def test_a_stream_is_the_answer_in_pieces(loaded: Any) -> None:
    async def main() -> None:
        async with loaded() as backend:
            if pb.CAPABILITY_GENERATE_STREAM not in backend.info.capabilities:
                pytest.skip("offers no streams")
            for text in PROMPTS:
                whole = await answer_of(backend, asking(text))
                deltas = await deltas_of(backend, asking(text, streamed=True))
                answer = deltas[-1].answer
                assert answer is not None
                assert answer.text == whole.text
                assert list(answer.token_ids) == list(whole.token_ids)
                pieces = deltas[:-1]
                assert whole.text.startswith("".join(one.text for one in pieces))
                ids = [token for one in pieces for token in one.token_ids]
                assert list(whole.token_ids)[: len(ids)] == ids
                for one in pieces:
                    assert one.text or one.token_ids
                    assert len(one.logprobs) == len(one.token_ids)

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_a_stop_text_cuts_the_answer_and_nothing_of_it_is_given(
    loaded: Any, streamed: bool
) -> None:
    async def main() -> None:
        async with loaded() as backend:
            whole = await answer_of(backend, asking(PROMPTS[0]))
            # From within the answer, and not at a token's beginning.
            stop = whole.text[len(whole.text) // 2 :][:3]
            query = asking(PROMPTS[0], stop_texts=(stop, "never said"), streamed=streamed)
            *pieces, last = await deltas_of(backend, query)
            assert last.answer is not None
            assert last.answer.text == whole.text[: whole.text.index(stop)]
            assert last.answer.stop_reason == pb.STOP_REASON_STOP_SEQUENCE
            given = "".join(one.text for one in pieces)
            assert last.answer.text.startswith(given)
            count = len(last.answer.token_ids)
            assert list(whole.token_ids)[:count] == list(last.answer.token_ids)
            assert len(last.answer.logprobs) in {0, count}

    asyncio.run(main())


def test_an_answer_is_no_longer_than_was_asked_for(loaded: Any) -> None:
    async def main() -> None:
        async with loaded() as backend:
            whole = await answer_of(backend, asking(PROMPTS[0]))
            for most in (1, 3):
                cut = await answer_of(backend, asking(PROMPTS[0], max_new_tokens=most))
                assert whole.text.startswith(cut.text)
                assert cut.generated_tokens <= most
                assert cut.stop_reason in ENDS
            most = backend.info.max_new_tokens
            full = await answer_of(backend, asking(PROMPTS[0], max_new_tokens=most))
            assert full.text.startswith(whole.text)
            assert full.prompt_tokens + full.generated_tokens <= backend.info.context_length + 1

    asyncio.run(main())


def test_a_text_that_leaves_no_room_is_refused(loaded: Any) -> None:
    async def main() -> None:
        async with loaded() as backend:
            with pytest.raises(PromptTooLongError):
                await answer_of(backend, asking("g2p: " + "a" * 200, max_new_tokens=1))
            assert (await answer_of(backend, asking(PROMPTS[0]))).text

    asyncio.run(main())


def test_a_draft_changes_nothing(loaded: Any, reference: TransformersEngine) -> None:
    async def main() -> None:
        async with loaded() as backend:
            fingerprint = backend.info.model.tokenizer_fingerprint
            for text in PROMPTS:
                whole = await answer_of(backend, asking(text))
                own = reference.generate(
                    Query(tuple(reference.encode(text)), TOKENS), lambda: None
                ).chosen_ids
                drafts = [
                    pb.Draft(tokens=pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint))
                    for ids in ([], own, own[:2], [*own[:2], 5, 6], [7])
                ]
                drafts += [pb.Draft(text=said) for said in (whole.text, whole.text[:2], "other")]
                for draft in drafts:
                    for streamed in (False, True):
                        query = asking(text, draft=draft, streamed=streamed)
                        said = await answer_of(backend, query)
                        assert said.text == whole.text
                        assert list(said.token_ids) == list(whole.token_ids)
                        assert said.stop_reason == whole.stop_reason
                        assert list(said.logprobs) == pytest.approx(whole.logprobs, abs=1e-3)

    asyncio.run(main())


def test_a_rule_lets_its_draft_stand_or_is_not_named(
    loaded: Any, reference: TransformersEngine
) -> None:
    """By token_v3 with alpha 1 everything stands."""

    async def main() -> None:
        async with loaded() as backend:
            fingerprint = backend.info.model.tokenizer_fingerprint
            for text in PROMPTS:
                own = reference.generate(
                    Query(tuple(reference.encode(text)), TOKENS), lambda: None
                ).chosen_ids
                ids = [*own[:1], (own[1] + 1) % 80 or 5, 6]
                draft = pb.Draft(
                    tokens=pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint),
                    acceptance=pb.Acceptance(rule=pb.ACCEPTANCE_RULE_TOKEN_V3, alpha=1.0),
                )
                whole = await answer_of(backend, asking(text))
                said = await answer_of(backend, asking(text, draft=draft))
                if said.lenient is None:
                    assert list(said.token_ids) == list(whole.token_ids)
                    continue
                assert list(said.chosen_ids)[:3] == ids
                assert 1 <= said.lenient <= 2
                verdict = await backend.verify(asking(text, draft=draft), forever())
                assert (verdict.accepted, verdict.lenient) == (3, said.lenient)
            applied = pb.CAPABILITY_VERIFY in backend.info.capabilities
            assert (said.lenient is not None) == applied

    asyncio.run(main())


def test_a_deadline_that_has_passed_gives_no_answer(loaded: Any) -> None:
    async def main() -> None:
        async with loaded() as backend:
            late = Ticket(time.monotonic() - 1.0, time.monotonic)
            try:
                answer = await answer_of(backend, asking(PROMPTS[0]), late)
            except DeadlineError:
                pass
            else:
                assert answer.stop_reason == pb.STOP_REASON_DEADLINE
            assert (await answer_of(backend, asking(PROMPTS[0]))).text
            assert backend.health()

    asyncio.run(main())


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(loaded: Any) -> None:
    async def main() -> None:
        async with loaded() as backend:
            # More than any of them has places for; none of them computes before the loop turns.
            count = 200
            tasks = [
                asyncio.create_task(answer_of(backend, asking(PROMPTS[0]))) for _ in range(count)
            ]
            backend.check_room(forever())
            await asyncio.sleep(0)
            if type(backend).check_room is not Backend.check_room:
                with pytest.raises(QueueFullError):
                    backend.check_room(forever())
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            answers = [one for one in ended if isinstance(one, Answer)]
            refused = [one for one in ended if isinstance(one, QueueFullError)]
            assert len(answers) + len(refused) == count
            assert len(answers) >= 3
            assert refused
            assert len({one.text for one in answers}) == 1
            assert all(0 < one.retry_after_s < 60 for one in refused)
            assert (await answer_of(backend, asking(PROMPTS[0]))).text

    asyncio.run(main())


def test_a_client_that_leaves_gives_its_place_back(loaded: Any) -> None:
    async def main() -> None:
        async with loaded() as backend:
            for _ in range(20):
                ticket = forever()
                tasks = [
                    asyncio.create_task(answer_of(backend, asking(PROMPTS[0]), ticket))
                    for _ in range(3)
                ]
                await asyncio.sleep(0)
                ticket.cancel()
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            assert (await answer_of(backend, asking(PROMPTS[0]))).text
            assert backend.health()

    asyncio.run(main())


def test_scores_are_the_models(loaded: Any, reference: TransformersEngine) -> None:
    async def main() -> None:
        async with loaded() as backend:
            prompt = tuple(reference.encode(PROMPTS[0]))
            own = reference.generate(Query(prompt, TOKENS), lambda: None).chosen_ids
            queries = [ScoreQuery(prompt, tuple(own[: 1 + n % len(own)])) for n in range(20)] + [
                ScoreQuery((5,), (6, 7)),
                ScoreQuery((5,) * 40, (6,) * 6),
            ]
            offered = pb.CAPABILITY_SCORE in backend.info.capabilities
            for k in (0, 1, min(5, backend.info.max_top_k)):
                if not offered:
                    with pytest.raises(NotSupportedError):
                        await scores_of(backend, queries, k)
                    continue
                wanted = reference.score(queries, k)
                said = await scores_of(backend, queries, k)
                for mine, true in zip(said, wanted, strict=True):
                    assert mine.argmax.tolist() == true.argmax.tolist()
                    assert mine.response_logprobs == pytest.approx(true.response_logprobs, abs=1e-3)
                    assert mine.top_ids.shape == (len(true.argmax), k)
                    assert mine.top_ids.tolist() == true.top_ids.tolist()
                    assert mine.top_logprobs == pytest.approx(true.top_logprobs, abs=1e-3)

    asyncio.run(main())


def test_verdicts_are_the_models(loaded: Any, reference: TransformersEngine) -> None:
    async def main() -> None:
        async with loaded() as backend:
            prompt = tuple(reference.encode(PROMPTS[0]))
            answer = reference.generate(Query(prompt, TOKENS), lambda: None)
            own = answer.chosen_ids
            for ids, accepted in (
                (own, len(own)),
                (own[:2], 2),
                ([*own[:2], (own[2] + 1) % 80, 6], 2),
                ([(own[0] + 1) % 80], 0),
            ):
                draft = pb.Draft(tokens=pb.TokenSequence(ids=ids))
                for query in (
                    Query(prompt, 1, draft=draft),
                    Query((), 1, prompt_text=PROMPTS[0], draft=draft),
                ):
                    if pb.CAPABILITY_VERIFY not in backend.info.capabilities:
                        with pytest.raises(NotSupportedError):
                            await backend.verify(query, forever())
                        continue
                    verdict = await backend.verify(query, forever())
                    assert verdict.accepted == accepted
                    assert verdict.prompt_tokens == len(prompt)
                    assert len(verdict.logprobs) == len(ids)
                    if accepted < len(own):
                        assert verdict.correction_id == own[accepted]
                        assert verdict.margin == pytest.approx(answer.margins[accepted], abs=1e-3)

    asyncio.run(main())
