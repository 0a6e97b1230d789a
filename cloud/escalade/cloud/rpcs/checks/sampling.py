"""Checks how a request wants its tokens chosen; knows no backend, no gRPC."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable

from escalade.cloud.backends import BackendInfo, Sampling
from escalade.cloud.errors import NotSupportedError, OptionOutOfRangeError
from escalade.v1 import cascade_pb2 as pb

_SEED_BYTES = 8


def sampling_of(
    asked: pb.SamplingOptions, key: Callable[[], bytes | None], info: BackendInfo
) -> Sampling | None:
    """How tokens are drawn; None where the likeliest is taken, at temperature 0. A seed may stay.

    Args:
        asked: the request's.
        key: what makes two requests the same, or None: the seed where none is given, so that one
            that is sent again is the same.
        info: the backend's.

    Raises:
        OptionOutOfRangeError: names the option, its range and the value.
        NotSupportedError: the backend draws no tokens.
    """
    if not 0 <= asked.temperature < math.inf:
        raise _wrong("temperature", "0 (greedy) or above, and finite", asked.temperature)
    if asked.HasField("top_p") and not 0 < asked.top_p <= 1:
        raise _wrong("top_p", "above 0 and at most 1", asked.top_p)
    if asked.temperature == 0:
        if asked.HasField("top_p") and asked.top_p != 1:
            raise _wrong("top_p", "1 at temperature 0 (greedy)", asked.top_p)
        if asked.top_k > 1:
            raise _wrong("top_k", "0 or 1 at temperature 0 (greedy)", asked.top_k)
        return None
    if pb.CAPABILITY_SAMPLING not in info.capabilities:
        raise NotSupportedError(
            f"sampling.temperature: this server draws no tokens, it must be 0 (greedy),"
            f" got {asked.temperature:g}"
        )
    return Sampling(
        temperature=asked.temperature,
        top_k=asked.top_k,
        top_p=asked.top_p if asked.HasField("top_p") else 1.0,
        seed=asked.seed if asked.HasField("seed") else _seed_of(key()),
    )


def top_logprobs_of(output: pb.OutputOptions, info: BackendInfo) -> int:
    """How many likeliest tokens of each position are wanted.

    Raises:
        OptionOutOfRangeError: more than `info.max_top_logprobs`.
        NotSupportedError: the backend has none to give.
    """
    wanted = output.top_logprobs
    if wanted and not info.max_top_logprobs:
        raise NotSupportedError(
            f"output.top_logprobs: this server gives none, it must be 0, got {wanted}"
        )
    if wanted > info.max_top_logprobs:
        raise OptionOutOfRangeError(
            "output.top_logprobs", f"must be in 0..{info.max_top_logprobs}, got {wanted}"
        )
    return wanted


def _seed_of(key: bytes | None) -> int:
    return int.from_bytes((key or secrets.token_bytes(_SEED_BYTES))[:_SEED_BYTES], "little")


def _wrong(option: str, allowed: str, value: float) -> OptionOutOfRangeError:
    return OptionOutOfRangeError(f"sampling.{option}", f"must be {allowed}, got {value:g}")
