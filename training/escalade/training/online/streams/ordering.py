"""Which part of a stream is used, and in which order; knows no file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from escalade.training.online.streams.item import Item


class Span(NamedTuple):
    """A part of a stream."""

    #: Draws an order, for which the whole stream is kept in memory; None leaves it as it is.
    shuffle: int | None = None
    #: Items left out at the beginning, once they are in order.
    skip: int = 0
    #: Items used at most.
    limit: int | None = None


def spanned(items: Iterator[Item], span: Span) -> Iterator[Item]:
    """That part, numbered anew from 0."""
    if span.shuffle is not None:
        whole = list(items)
        order = np.random.default_rng(span.shuffle).permutation(len(whole))
        items = (whole[k] for k in order)
    stop = None if span.limit is None else span.skip + span.limit
    chosen = itertools.islice(items, span.skip, stop)
    return (item._replace(number=number) for number, item in enumerate(chosen))
