"""transformers draws a bar for every model that it reads: where ours are, it is to draw none."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from checkpoint.conftest import Made
from transformers.utils import logging

from escalade.checkpoint import load_network, no_bars

Draw = Callable[..., object]


@pytest.fixture
def drawn() -> Iterator[list[str]]:
    """What every bar of transformers says that is drawn."""
    said: list[str] = []

    def note(factory: Draw, given: tuple[object, ...], named: dict[str, object]) -> object:
        said.append(str(named.get("desc")))
        return logging.EmptyTqdm(*given, **named)

    before = logging.set_tqdm_hook(note)
    yield said
    logging.set_tqdm_hook(before)


def test_a_model_is_loaded_without_one(made: Made, drawn: list[str]) -> None:
    folder = made()
    drawn.clear()
    load_network(folder, dtype=torch.float32)
    assert drawn == []


def test_a_user_s_own_are_drawn_again(drawn: list[str]) -> None:
    with no_bars():
        list(logging.tqdm([1], desc="none"))
    list(logging.tqdm([1], desc="own"))
    assert drawn == ["own"]
