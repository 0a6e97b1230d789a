"""Divides prompts into those that train and those that calibrate; knows no model.

A digest of the prompt decides, so that a prompt is on the same side in every version: no threshold
is set on what a model has learned, now or earlier.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import NamedTuple

from escalade.edge.base import Record
from escalade.training.improvement.heard import Heard

#: Tells these draws from other digests of a prompt.
_DRAW = b"escalade improvement\0"


class Divided(NamedTuple):
    """Both sides of what was heard."""

    #: With the expert's answer as the reference.
    train: list[Record]
    #: A fair sample of all prompts, kept ones too; without a reference where the expert was not
    #: asked.
    calibrate: list[Record]


def divide(heard: Sequence[Heard], share: float, most: int) -> Divided:
    """Divide prompts.

    Args:
        heard: each prompt once.
        share: of the prompts that calibrate, in (0, 1).
        most: that calibrate at most, the same ones while more come; the others do nothing.
    """
    train, calibrate = [], []
    for one in heard:
        references = [] if one.answer is None else [one.answer]
        digest = _digest(one.prompt)
        record = Record(
            id=digest.hex()[:16], task=one.task, prompt=one.prompt, references=references
        )
        if _is_below(digest, share):
            calibrate.append(record)
        elif references:
            train.append(record)
    calibrate.sort(key=lambda record: record.id)
    return Divided(train, calibrate[:most])


def replayed(
    records: Sequence[Record], among: Sequence[Record], calibrating: float, share: float, seed: int
) -> list[Record]:
    """Draw old records to train on beside new ones.

    Args:
        records: what the base model learned from; those that would calibrate are left out.
        among: the new records.
        calibrating: the share of prompts that calibrate, see `divide`.
        share: how much of both together is to be old, in [0, 1).
        seed: of the draw.
    """
    new = {record.prompt for record in among}
    usable = [
        one
        for one in records
        if one.references
        and one.prompt not in new
        and not _is_below(_digest(one.prompt), calibrating)
    ]
    count = min(round(len(among) * share / (1.0 - share)), len(usable))
    drawn = random.Random(seed).sample(usable, count)  # noqa: S311 - no secret
    return [
        Record(id=f"replay/{number}", task=one.task, prompt=one.prompt, references=one.references)
        for number, one in enumerate(drawn)
    ]


def _digest(prompt: str) -> bytes:
    return hashlib.sha256(_DRAW + prompt.encode()).digest()


def _is_below(digest: bytes, share: float) -> bool:
    """Bytes that name no record, so that the order of records says nothing of the side."""
    return int.from_bytes(digest[-8:], "big") / 2**64 < share
