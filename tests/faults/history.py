"""What happened to every request, held against what may happen; knows no socket, no process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Outcome = Literal["answered", "degraded", "refused"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A message of a stream."""

    sequence: int
    offset: int
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Event:
    """How one request ended."""

    number: int
    #: Who asked: a kind of client.
    client: str
    prompt: str
    began_s: float
    ended_s: float
    outcome: Outcome
    #: The answer; empty of one that was refused.
    text: str = ""
    #: Of a stream, though it broke off: what had come.
    pieces: Sequence[Piece] = ()
    #: Why it was refused or degraded.
    reason: str = ""


class Said(NamedTuple):
    """An answer."""

    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """What the models say of each prompt when nothing disturbs them."""

    large: Mapping[str, Said]
    #: Of the device and of the gateway: what a degraded answer may be.
    small: Mapping[str, frozenset[str]]


def violations(history: Sequence[Event], oracle: Oracle, requests: int) -> list[str]:
    """What must not be: empty where every request ended once, and in a right way.

    Args:
        history: in any order.
        oracle: of every prompt.
        requests: that were made, numbered from 0.
    """
    found = []
    ends = Counter(event.number for event in history)
    found += [f"request {n}: ended {ends[n]} times" for n in range(requests) if ends[n] != 1]
    found += [f"request {n}: was never made" for n in ends if not 0 <= n < requests]
    for event in history:
        found += [
            f"request {event.number} ({event.client}): {why}" for why in _wrong(event, oracle)
        ]
    return found


def _wrong(event: Event, oracle: Oracle) -> list[str]:
    large = oracle.large[event.prompt]
    found = []
    if event.outcome == "answered" and event.text != large.text:
        found.append(f"answered {event.text!r}, not the large model's {large.text!r}")
    if event.outcome == "degraded" and event.text not in oracle.small[event.prompt]:
        found.append(f"degraded to {event.text!r}, which no small model says")
    if event.outcome != "answered" and not event.reason:
        found.append(f"{event.outcome} without a reason")
    if event.ended_s < event.began_s:
        found.append("ended before it began")
    come = 0
    for place, piece in enumerate(event.pieces):
        if piece.sequence != place:
            found.append(f"message {place} of its stream has the number {piece.sequence}")
        if piece.offset != come:
            found.append(f"a piece begins at token {piece.offset} where {come} had come")
        come += len(piece.ids)
    streamed = tuple(token for piece in event.pieces for token in piece.ids)
    if streamed != large.ids[: len(streamed)]:
        found.append(f"streamed {streamed}, which does not begin {large.ids}")
    return found


def recovery_s(history: Sequence[Event], healed_s: Sequence[float]) -> list[float]:
    """For each fault: from its end to the first whole answer that was asked for after it."""
    asked = sorted(
        (event.began_s, event.ended_s) for event in history if event.outcome == "answered"
    )
    found = []
    for moment in healed_s:
        ends = [ended for began, ended in asked if began >= moment]
        if ends:
            found.append(min(ends) - moment)
    return found
