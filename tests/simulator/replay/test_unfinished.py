"""Traces of early deferral: half answers are refused by everything that would judge them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from escalade.edge.trace.trace import Trace
from escalade.simulator.curves.answers import answered, large_answers, scores_of
from escalade.simulator.errors import SimulatorError


@pytest.mark.parametrize(
    "look",
    [
        large_answers,
        scores_of,
        lambda trace: scores_of(trace, "min"),
        lambda trace: answered("t", trace, []),
    ],
)
def test_half_answers_are_refused_and_counted(
    make_trace: Callable[..., Trace], look: Callable[[Trace], object]
) -> None:
    trace = make_trace([0.1, 0.2, 0.9], [True, True, False], [True, True, True])
    look(trace)
    last = trace.records[2]
    half = msgspec.structs.replace(last.small, stopped_early=True)
    cut = Trace(trace.header, [*trace.records[:2], msgspec.structs.replace(last, small=half)])
    with pytest.raises(SimulatorError, match="1 of 3 of the device's answers were not finished"):
        look(cut)
