"""Greedy decoding of an artifact with our runtime, timed.

Usage: python -m benchmarks.device.our_worker ARTIFACT THREADS
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.device.wire import Mode, serve

from escalade.edge.generation import Artifact


def main() -> None:
    """Load and serve; each token is scored."""
    artifact = Artifact.open(Path(sys.argv[1]), threads=int(sys.argv[2]))

    def generate(mode: Mode, prompt: list[int], new_tokens: int) -> Iterator[float]:
        return (step.logprob for step in artifact._runtime.generate(prompt, new_tokens))

    serve(generate)


if __name__ == "__main__":
    main()
