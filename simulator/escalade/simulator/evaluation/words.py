"""How an evaluation's numbers are written; knows no table and no page."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from escalade.simulator.evaluation.bootstrap import Estimate
from escalade.simulator.evaluation.results import CostInfo, MetricInfo
from escalade.simulator.formats import count, percent, seconds, three_digits, with_unit

NONE = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"

#: Units that take a prefix: `1.08 MFLOPs`.
_PREFIXED = frozenset({"FLOPs", "B"})


class Form(NamedTuple):
    """How numbers of one kind are written: with their unit, and bare where it is clear."""

    whole: Callable[[float], str]
    bare: Callable[[float], str]

    def value(self, value: float | None) -> str:
        """With the unit; a dash for None."""
        return NONE if value is None else _minus(self.whole(value))

    def interval(self, of: Estimate) -> str:
        """`54.1 to 58.8`; empty where there is none."""
        if of.low is None and of.high is None:
            return ""
        low, high = (
            NONE if bound is None else _minus(self.bare(bound)) for bound in (of.low, of.high)
        )
        return f"{low} to {high}"


#: `61.9%`, bare `61.9`.
SHARE = Form(percent, lambda value: f"{100 * value:.1f}")
#: `+30.0%`, bare `+30.0`.
CHANGE = Form(lambda value: f"{100 * value:+.1f}%", lambda value: f"{100 * value:+.1f}")


def quality_form(metric: MetricInfo) -> Form:
    """`61.9%`, or `24.31` for BLEU and chrF."""
    return SHARE if metric.is_share else Form("{:.2f}".format, "{:.2f}".format)


def fine_quality_form(metric: MetricInfo) -> Form:
    """With a digit more where seeds stand beside each other: `61.92%`."""
    if not metric.is_share:
        return quality_form(metric)
    return Form(lambda value: f"{100 * value:.2f}%", lambda value: f"{100 * value:.2f}")


def points_form(metric: MetricInfo) -> Form:
    """A gain in points of a hundred: `+0.85`."""
    scale = 100.0 if metric.is_share else 1.0

    def points(value: float) -> str:
        return f"{scale * value:+.2f}"

    return Form(points, points)


def cost_form(cost: CostInfo) -> Form:
    """`1.08 MFLOPs`, bare `1.08 M`; `84.2 ms`; `31.0%`; `0.00210 USD`, bare `0.00210`."""
    unit = cost.unit
    if unit == "":
        return SHARE
    if unit == "s":
        return Form(seconds, seconds)
    if unit in _PREFIXED:
        return Form(lambda value: with_unit(count(value), unit), count)
    return Form(lambda value: f"{three_digits(value)} {unit}", three_digits)


def p_value(value: float | None) -> str:
    """Three digits; a dash for None."""
    return NONE if value is None else f"{value:.3f}"


def _minus(text: str) -> str:
    return text.replace("-", _MINUS)
