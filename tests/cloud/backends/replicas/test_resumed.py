"""An answer that is made again goes on where its reader is, whatever pieces it comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.backends import Answer, Delta, TopRow
from escalade.cloud.backends.replicas.resumed import Given
from escalade.cloud.errors import EngineDeadError
from escalade.v1 import cascade_pb2 as pb

IDS = tuple(range(12))
TEXT = "the whole answer, of many characters"
ANSWER = Answer(
    token_ids=IDS,
    logprobs=[-0.1 * k for k in IDS],
    margins=(),
    end_id=None,
    text=TEXT,
    stop_reason=pb.STOP_REASON_MAX_TOKENS,
    prompt_tokens=1,
    generated_tokens=12,
    top=[TopRow(bytes([k]), b"") for k in IDS],
)

cuts = st.lists(st.tuples(st.integers(0, len(IDS)), st.integers(0, len(TEXT))), max_size=6)


def stream(at: list[tuple[int, int]]) -> list[Delta]:
    """The answer in pieces that are cut so, and its end."""
    found, ids, text = [], 0, 0
    for to_id, to_text in zip(sorted(a for a, _ in at), sorted(b for _, b in at), strict=True):
        top = ANSWER.top[ids:to_id]
        found.append(Delta(IDS[ids:to_id], ANSWER.logprobs[ids:to_id], TEXT[text:to_text], top=top))
        ids, text = to_id, to_text
    return [*found, Delta(answer=ANSWER)]


@given(st.lists(st.tuples(cuts, st.integers(0, 6)), max_size=4), cuts)
def test_a_reader_gets_each_token_once(
    broken: list[tuple[list[tuple[int, int]], int]], last: list[tuple[int, int]]
) -> None:
    had = Given()
    got: list[Delta] = []
    for pieces, until in [*((stream(at)[:-1], n) for at, n in broken), (stream(last), None)]:
        had.again()
        got += [new for one in pieces[:until] if (new := had.new_in(one)) is not None]
    ids = [token for one in got for token in one.token_ids]
    assert ids == list(IDS[: len(ids)])
    assert [x for one in got for x in one.logprobs] == list(ANSWER.logprobs[: len(ids)])
    assert [row for one in got for row in one.top] == list(ANSWER.top[: len(ids)])
    assert TEXT.startswith("".join(one.text for one in got))
    assert [one.answer for one in got if one.answer] == [ANSWER]


@pytest.mark.parametrize("another", [Delta((9,), (-0.1,), "t"), Delta((0,), (-0.1,), "X")])
def test_another_answer_is_not_gone_on_with(another: Delta) -> None:
    had = Given()
    had.new_in(Delta((0, 1), (-0.1, -0.1), "the"))
    had.again()
    with pytest.raises(EngineDeadError, match="another gave another answer"):
        had.new_in(another)
