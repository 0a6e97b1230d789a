"""The trace that fleets are planned for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from escalade.edge.trace import Trace, write_trace

MakeTrace = Callable[..., Trace]


@pytest.fixture
def trace(make_trace: MakeTrace, tmp_path: Path) -> Trace:
    """400 queries; the device is right more often the lower its score, the cloud on nine of ten."""
    rng = np.random.default_rng(5)
    scores = rng.random(400)
    made = make_trace(
        scores.tolist(), (rng.random(400) > scores).tolist(), (rng.random(400) < 0.9).tolist()
    )
    write_trace(tmp_path / "t.jsonl", made.header, made.records)
    return made
