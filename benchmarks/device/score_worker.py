"""What the score costs: two programs of one model take turns token by token, in one process.

Usage: python -m benchmarks.device.score_worker SCORED TOKEN_ONLY THREADS

Whole responses of either program differ by more than the score costs, since the machine's speed
drifts between them; two neighbouring tokens see the same machine. Prints a JSON list with the
median cost, relative to the token without score, of each repetition.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.device.rounds import prompt_ids

from escalade.edge.generation import Artifact
from escalade.edge.runtimes import Step

_PROMPT, _TOKENS, _REPETITIONS = 128, 128, 15


def main() -> None:
    """Measure and print."""
    threads = int(sys.argv[3])
    runtimes = [Artifact.open(Path(name), threads=threads)._runtime for name in sys.argv[1:3]]
    costs = []
    for repetition in range(_REPETITIONS + 1):
        prompt = prompt_ids(repetition, length=_PROMPT)
        scored, plain = (runtime.generate(prompt, _TOKENS) for runtime in runtimes)
        _timed(scored), _timed(plain)  # the prompt
        costs.append(statistics.median(_cost(scored, plain, index) for index in range(1, _TOKENS)))
    print(json.dumps(costs[1:]))  # the first repetition warms up


def _cost(scored: Iterator[Step], plain: Iterator[Step], index: int) -> float:
    if index % 2:
        return _timed(scored) / _timed(plain) - 1
    without = _timed(plain)
    return _timed(scored) / without - 1


def _timed(steps: Iterator[Step]) -> float:
    start = time.perf_counter()
    next(steps)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
