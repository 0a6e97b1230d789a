"""Two models, evaluated once."""

from __future__ import annotations

import pytest

from escalade.edge.trace import Trace
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.evaluation.results import Evaluation


@pytest.fixture(scope="session")
def both(realistic_trace: Trace, better_trace: Trace) -> Evaluation:
    return evaluate(
        {"xent": [realistic_trace], "cat": [better_trace]}, resamples=200, by_task=True, seed=3
    )
