"""Reasons of refusals as the contract numbers them and as google.rpc.ErrorInfo spells them."""

from __future__ import annotations

from typing import cast

from escalade.v1 import cascade_pb2 as pb

_PREFIX = "ERROR_REASON_"


def name_of_reason(reason: pb.ErrorReason) -> str:
    """How a reason travels, e.g. `QUEUE_FULL`."""
    return pb.ErrorReason.Name(reason).removeprefix(_PREFIX)


def reason_of_name(name: str) -> pb.ErrorReason:
    """The reason that travels as `name`; unspecified where this version knows none."""
    if f"{_PREFIX}{name}" not in pb.ErrorReason.keys():  # noqa: SIM118 - no mapping, has no `in`
        return pb.ERROR_REASON_UNSPECIFIED
    return cast(pb.ErrorReason, pb.ErrorReason.Value(f"{_PREFIX}{name}"))
