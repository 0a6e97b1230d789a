"""The likeliest tokens of a remote's answer: as they were sent, or the answer is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from escalade.edge import EdgeClient, Query
from escalade.edge.run import Run
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
ALWAYS = -1.0
IDS = np.array([[7, 8], [9, 7], [3, 4]], dtype=np.int32)
LOGPROBS = np.array([[-0.5, -1.0], [-0.25, -2.0], [-0.1, -math.inf]], dtype=np.float32)


def tensor(array: Any, kind: pb.DataType) -> pb.Tensor:
    return pb.Tensor(data=array.tobytes(), shape=array.shape, dtype=kind)


@pytest.fixture
def asked(
    make_client: Callable[..., EdgeClient], scripted_cloud: Any
) -> Callable[..., tuple[Run, Any]]:
    """Ask for likeliest tokens; gives the run, and the request that came."""

    def ask(top: int, *, gives: int = 5, **changed: Any) -> tuple[Run, Any]:
        scripted_cloud.info.max_top_logprobs = gives
        said = {
            "top_ids": tensor(IDS, pb.DATA_TYPE_INT32),
            "top_logprobs": tensor(LOGPROBS, pb.DATA_TYPE_FLOAT32),
        }
        scripted_cloud.says(token_ids=[7, 9], logprobs=[-0.5, -0.25, -0.1], **{**said, **changed})
        client = make_client(ALWAYS)
        assert client.cascade.tiers[1].most_top() == gives
        run = client.stream(Query(text=PROMPT, logprobs=True, top_logprobs=top))
        run.finish()
        return run, scripted_cloud.asked[-1]

    return ask


def test_they_are_asked_for_and_read(asked: Callable[..., tuple[Run, Any]]) -> None:
    run, request = asked(2)
    assert request.output.top_logprobs == 2
    assert run.said[1] is not None
    first, second, third = run.said[1].source.top
    assert (first, second) == ([(7, -0.5), (8, -1.0)], [(9, -0.25), (7, -2.0)])
    assert third == [(3, pytest.approx(-0.1))]  # what cannot come up is left out


@pytest.mark.parametrize(("top", "gives"), [(0, 5), (2, 1), (2, 0)])
def test_what_is_not_wanted_or_not_given_is_not_asked_for(
    asked: Callable[..., tuple[Run, Any]], top: int, gives: int
) -> None:
    run, request = asked(top, gives=gives)
    assert not request.output.HasField("top_logprobs")
    assert run.said[1] is not None
    assert run.said[1].source.top == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"top_ids": tensor(IDS[:2], pb.DATA_TYPE_INT32)},
        {"top_ids": tensor(-IDS, pb.DATA_TYPE_INT32)},
        {"top_ids": tensor(IDS, pb.DATA_TYPE_FLOAT32)},
        {"top_ids": pb.Tensor(shape=[3, 2], dtype=pb.DATA_TYPE_INT32, data=b"xx")},
        {"top_ids": pb.Tensor(shape=[6], dtype=pb.DATA_TYPE_INT32, data=IDS.tobytes())},
        {"top_logprobs": tensor(-LOGPROBS, pb.DATA_TYPE_FLOAT32)},
        {"top_logprobs": tensor(LOGPROBS * np.float32(math.nan), pb.DATA_TYPE_FLOAT32)},
        {
            "top_ids": tensor(np.zeros((3, 4), np.int32), pb.DATA_TYPE_INT32),
            "top_logprobs": tensor(-np.ones((3, 4), np.float32), pb.DATA_TYPE_FLOAT32),
        },
    ],
)
def test_what_cannot_be_is_no_answer(
    asked: Callable[..., tuple[Run, Any]], changed: dict[str, Any]
) -> None:
    run, _ = asked(2, **changed)
    assert run.answer is not None
    assert run.answer.outcome == "degraded"
    assert "BAD_ANSWER" in str(run.answer.reason)
