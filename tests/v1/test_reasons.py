"""Reasons of refusals, there and back."""

from __future__ import annotations

import pytest

from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import name_of_reason, reason_of_name


def test_every_reason_travels_under_its_name_and_comes_back() -> None:
    names = [name_of_reason(reason) for reason in pb.ErrorReason.values()]
    assert len(set(names)) == len(names)
    assert [reason_of_name(name) for name in names] == pb.ErrorReason.values()
    assert name_of_reason(pb.ERROR_REASON_QUEUE_FULL) == "QUEUE_FULL"


@pytest.mark.parametrize("name", ["", "UNAVAILABLE", "ERROR_REASON_QUEUE_FULL", "queue_full"])
def test_a_word_that_is_none_is_unspecified(name: str) -> None:
    assert reason_of_name(name) == pb.ERROR_REASON_UNSPECIFIED
