"""Keeps transformers' own bars off the terminal, where ours are drawn; knows no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def no_bars() -> Iterator[None]:
    """Have transformers draw no bar inside the block; those of other libraries stay."""

    def none(factory: object, given: tuple[object, ...], named: dict[str, object]) -> object:
        return logging.EmptyTqdm(*given, **named)

    before = logging.set_tqdm_hook(none)
    try:
        yield
    finally:
        logging.set_tqdm_hook(before)
