"""What an answer costs: cost models for equation 6; knows no rule, no metric and no threshold.

Equation 6 of the CAT paper (arXiv 2406.00060) charges every query for the small model and
a deferred one for the large model too, `C_cas(x) = C_S(x) + 1[r(x) >= tau] C_L(x)`. A cost
model gives both, query by query; the cost of a cascade is the mean over queries.

- `flops_per_token`, the paper's x axis: a token costs twice the parameters (section 4.1),
  held constant, so that the axis is the deferral rate, stretched.
- `flops_per_query`: that times the tokens, read and written, that each model counted.
- `deferral_rate`: the large model costs 1 and the small one nothing.
- `bytes` and `seconds`: what the trace recorded of the calls (messages without gRPC
  framing; loopback, where traces should be recorded).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from escalade.edge.trace import ModelInfo, Trace
from escalade.simulator.curves.answers import Floats, large_answers
from escalade.simulator.errors import SimulatorError, unknown


@dataclass(frozen=True)
class CostModel:
    """A cost of one's own needs no more than this.

    Attributes:
        name: what `--cost` takes.
        label: what an axis is called, without the unit.
        unit: of one query's (or token's) cost, e.g. `FLOPs` or `USD`; empty for a share.
        of: from a trace to `(C_S, C_L)`, each `(N,)`, >= 0: what the small model's answer to
            each query costs, and what the large model's adds when it is asked.
    """

    name: str
    label: str
    unit: str
    of: Callable[[Trace], tuple[Floats, Floats]]

    def __call__(self, trace: Trace) -> tuple[Floats, Floats]:
        """`(C_S, C_L)` of a trace, checked.

        Raises:
            SimulatorError: a wrong shape, a negative cost, or what the trace lacks.
        """
        small, large = (np.asarray(cost, dtype=np.float64) for cost in self.of(trace))
        shape = (len(trace.records),)
        for tier, cost in (("small", small), ("large", large)):
            if cost.shape != shape:
                raise SimulatorError(
                    f"cost {self.name!r}: the {tier} model's must have shape {shape}; got"
                    f" {cost.shape}"
                )
            if not (np.isfinite(cost) & (cost >= 0)).all():
                worst = cost[~(cost >= 0) | ~np.isfinite(cost)][0]
                raise SimulatorError(
                    f"cost {self.name!r}: the {tier} model's must be finite and >= 0; got {worst}"
                )
        return small, large


def cost_named(cost: str | CostModel) -> CostModel:
    """The cost model of that name; a `CostModel` is itself.

    Raises:
        SimulatorError: there is none; the message names the nearest and all.
    """
    if isinstance(cost, CostModel):
        return cost
    if cost not in COSTS:
        raise unknown("cost", cost, COSTS)
    return COSTS[cost]


def flops_of_a_token(trace: Trace) -> tuple[float, float]:
    """`(2 P_S, 2 P_L)`, from the header.

    Raises:
        SimulatorError: the header names no large model, or a model without parameters.
    """
    small, large = trace.header.small, trace.header.large
    if large is None:
        raise SimulatorError("the trace's header names no large model; its parameters are needed")
    return 2.0 * _parameters("small", small), 2.0 * _parameters("large", large)


def token_prices(
    small: tuple[float, float], large: tuple[float, float], *, currency: str = "USD"
) -> CostModel:
    """Money for each token read and written.

    Args:
        small: price of (a prompt token, a generated token) of the small model.
        large: the same of the large model.
        currency: the unit of the prices.
    """

    def of(trace: Trace) -> tuple[Floats, Floats]:
        small_tokens, large_tokens = _tokens(trace)
        return small_tokens @ np.array(small), large_tokens @ np.array(large)

    return CostModel("money", "Price of a query", currency, of)


def _parameters(tier: str, model: ModelInfo) -> int:
    if model.parameters < 1:
        raise SimulatorError(
            f"{tier} model {model.name!r}: parameters must be >= 1; got {model.parameters}"
        )
    return model.parameters


def _tokens(trace: Trace) -> tuple[Floats, Floats]:
    """Prompt and generated tokens of each small and each large answer, `(N, 2)` each."""
    small = [(r.small.prompt_tokens, r.small.generated_tokens) for r in trace.records]
    large = [(answer.prompt_tokens, answer.generated_tokens) for answer in large_answers(trace)]
    return np.array(small, dtype=np.float64), np.array(large, dtype=np.float64)


def _flops_per_token(trace: Trace) -> tuple[Floats, Floats]:
    small, large = flops_of_a_token(trace)
    return np.full(len(trace.records), small), np.full(len(trace.records), large)


def _flops_per_query(trace: Trace) -> tuple[Floats, Floats]:
    small, large = flops_of_a_token(trace)
    small_tokens, large_tokens = _tokens(trace)
    return small * small_tokens.sum(axis=1), large * large_tokens.sum(axis=1)


def _deferral_rate(trace: Trace) -> tuple[Floats, Floats]:
    return np.zeros(len(trace.records)), np.ones(len(trace.records))


def _bytes(trace: Trace) -> tuple[Floats, Floats]:
    both_ways = [answer.bytes_up + answer.bytes_down for answer in large_answers(trace)]
    return np.zeros(len(trace.records)), np.array(both_ways, dtype=np.float64)


def _seconds(trace: Trace) -> tuple[Floats, Floats]:
    small = [record.small.generate_s for record in trace.records]
    large = [max(answer.round_trip_s, answer.server_s) for answer in large_answers(trace)]
    return np.array(small, dtype=np.float64), np.array(large, dtype=np.float64)


#: Every cost model by the name that `--cost` takes.
COSTS: dict[str, CostModel] = {
    model.name: model
    for model in (
        CostModel("flops_per_token", "Compute per token", "FLOPs", _flops_per_token),
        CostModel("flops_per_query", "Compute per query", "FLOPs", _flops_per_query),
        CostModel("deferral_rate", "Deferral rate", "", _deferral_rate),
        CostModel("bytes", "Bytes per query", "B", _bytes),
        CostModel("seconds", "Time per query", "s", _seconds),
    )
}
