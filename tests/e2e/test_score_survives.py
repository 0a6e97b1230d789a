"""A server that scores 10,000 items is killed half-way; the client loses and repeats nothing."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import noting_engine
import numpy as np
import pytest

from escalade.edge.base import SystemClock
from escalade.training.teachers.cloud_scorer import CloudScorer
from escalade.training.teachers.score_stream import TokenScores
from escalade.v1.identity import tokenizer_fingerprint

MODEL = Path(__file__).resolve().parents[2] / "training/checkpoints/large"

# `escalade serve` as it is, but that the engine writes down which items it is given.
SERVE = """
from escalade.cli.main import run
from escalade.cloud import backends

make = backends.process_factory
backends.process_factory = lambda *given, **more: make(
    *given, **{**more, "before": "noting_engine:install"}
)
run()
"""

COUNT, KILL_AFTER = 10_000, 4_000
BASE = 64


def item_of(number: int) -> tuple[list[int], list[int]]:
    """A short item that carries its number in its prompt; lengths vary."""
    digits = [4 + number // BASE**place % BASE for place in (2, 1, 0)]
    return [*digits, 1], [4 + number * place % 80 for place in range(2, 4 + number % 5)]


def numbers_in(notes: Path) -> list[int]:
    """Which items an engine was given, in order; what a server asks itself as it starts is none."""
    prompts = [ast.literal_eval(line) for line in notes.read_text().splitlines()]
    items = [prompt for prompt in prompts if len(prompt) == len(item_of(0)[0])]
    return [((a - 4) * BASE + b - 4) * BASE + c - 4 for a, b, c, _ in items]


@contextmanager
def serving(notes: Path, listen: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A server process that is gone when the block ends."""
    command = [sys.executable, "-c", SERVE, "serve", str(MODEL), "--threads", "1"]
    path = os.pathsep.join([str(Path(noting_engine.__file__).parent), *filter(None, sys.path)])
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--listen", listen],
            stderr=stream,
            text=True,
            env={**os.environ, "PYTHONPATH": path, noting_engine.NOTES: str(notes)},
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class WatchfulClock(SystemClock):
    """Real time; tells of each wait between two attempts."""

    def __init__(self) -> None:
        self.on_wait: Callable[[], None] = lambda: None

    def sleep_s(self, seconds: float) -> None:
        self.on_wait()
        super().sleep_s(seconds)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.slow
def test_a_killed_server_costs_no_item_and_no_item_twice(tmp_path: Path) -> None:
    address = free_address()
    clock = WatchfulClock()
    scorer = CloudScorer(
        address,
        tokenizer_fingerprint=tokenizer_fingerprint(MODEL / "tokenizer.json"),
        deadline_s=120.0,
        clock=clock,
    )
    items = [item_of(number) for number in range(COUNT)]
    notes = [tmp_path / f"notes-{n}" for n in range(2)]
    with serving(notes[0], address, tmp_path / "log-0") as first:
        scorer.info()  # waits until it is up
        whole = list(scorer.score(items, top_k=4))
        assert numbers_in(notes[0]) == list(range(COUNT))
        notes[0].write_text("")

        got: list[TokenScores] = []
        stream = scorer.score(items, top_k=4)
        got.extend(next(stream) for _ in range(KILL_AFTER))
        first.kill()
        first.wait()
    received_at_wait: list[int] = []
    clock.on_wait = lambda: received_at_wait.append(len(got))
    with serving(notes[1], address, tmp_path / "log-1"):
        for scores in stream:
            got.append(scores)
    scorer.close()

    assert len(got) == COUNT
    for scores, expected in zip(got, whole, strict=True):
        np.testing.assert_array_equal(scores.argmax, expected.argmax)
        # Batches are cut elsewhere after the restart, so the last bits may differ.
        for name in ("response_logprobs", "top_logprobs"):
            np.testing.assert_allclose(getattr(scores, name), getattr(expected, name), atol=1e-4)
    # It waited for the new server, and received nothing meanwhile.
    (received,) = set(received_at_wait)
    assert KILL_AFTER <= received < COUNT
    # What had come whole, all of it from the first server, the second was not asked.
    before, after = numbers_in(notes[0]), numbers_in(notes[1])
    assert before == list(range(len(before)))
    assert len(before) >= received
    assert after == list(range(received, COUNT))
