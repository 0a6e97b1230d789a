"""An evaluation's numbers as tables of text, for a terminal or a page; knows neither.

Texts come as they are: who puts them on a page escapes them.
"""

from __future__ import annotations

import msgspec

from escalade.edge.base import counted
from escalade.simulator.evaluation.bootstrap import Estimate
from escalade.simulator.evaluation.results import CurvePoints, Evaluation, Slice
from escalade.simulator.evaluation.words import (
    CHANGE,
    SHARE,
    Form,
    cost_form,
    fine_quality_form,
    p_value,
    points_form,
    quality_form,
)
from escalade.simulator.formats import Cell, TextTable, count, seconds, with_unit

_SPACE = "\N{NO-BREAK SPACE}"

#: Points of a curve to a row: one for every 5 % of deferral.
_EVERY = 10


def lede(evaluation: Evaluation) -> list[str]:
    """Each group against the baseline under the first rule, in a sentence."""
    whole, rule = evaluation.slices[0], evaluation.rules[0]
    points = points_form(evaluation.metric)
    quality = quality_form(evaluation.metric).value(whole.quality)
    budget = cost_form(evaluation.cost).value(whole.budget)
    lines = []
    for row in whole.contrasts:
        if (row.rule, row.baseline_rule) != (rule, rule):
            continue
        saved, gained, area = row.cost_saved, row.quality_gained, row.area_gain
        said = []
        if saved.value is not None:
            share = SHARE.value(abs(saved.value))
            change = f"saves {share} of the cost" if saved.value >= 0 else f"costs {share} more"
            said.append(f"{change} at {quality}{_in_brackets(saved, CHANGE)}")
        if gained.value is not None:
            gain = points.value(gained.value)
            said.append(f"{gain} points at {budget}{_in_brackets(gained, points)}")
        said.append(
            f"area {points.value(area.value)} points{_in_brackets(area, points)},"
            f" p{_SPACE}={_SPACE}{p_value(row.p_value)}"
        )
        lines.append(f"{row.group} against {row.baseline}: {'; '.join(said)}")
    return lines


def tables_of(evaluation: Evaluation, part: Slice) -> list[TextTable]:
    """Quality, cost, and what differs, where there is something to compare.

    Tasks by themselves under the first rule only: a screen has no room for more.
    """
    if part.task is not None:
        part = _first_rule(evaluation, part)
    found = [_qualities(evaluation, part), _costs(evaluation, part)]
    return [*found, _contrasts(evaluation, part)] if part.contrasts else found


def _qualities(evaluation: Evaluation, part: Slice) -> TextTable:
    quality = quality_form(evaluation.metric)
    head = ["small alone", "large alone", "mean over rates", "of the oracle's gain"]
    rows = [
        [
            *_names(evaluation, of.group, of.rule),
            _cell(of.small_quality, quality),
            _cell(of.large_quality, quality),
            _cell(of.area, quality),
            _cell(of.share_of_oracle_gain, SHARE),
        ]
        for of in part.headlines
    ]
    return TextTable(f"{_title(part)}: {evaluation.metric.label}", _head(evaluation, head), rows)


def _costs(evaluation: Evaluation, part: Slice) -> TextTable:
    quality, cost = quality_form(evaluation.metric), cost_form(evaluation.cost)
    head = [f"cost of {quality.value(part.quality)}", "saved against large"]
    head += ["saved at large's quality"]
    head += [f"quality for {cost.value(part.budget)}"]
    rows = [
        [
            *_names(evaluation, of.group, of.rule),
            _cell(of.cost_at_quality, cost),
            _cell(of.saved_against_large, SHARE),
            _cell(of.saved_at_large_quality, SHARE),
            _cell(of.quality_at_budget, quality),
        ]
        for of in part.headlines
    ]
    return TextTable(f"{_title(part)}: {evaluation.cost.label}", _head(evaluation, head), rows)


def _contrasts(evaluation: Evaluation, part: Slice) -> TextTable:
    points = points_form(evaluation.metric)
    several = len(evaluation.rules) > 1

    def name(group: str, rule: str) -> Cell:
        return Cell(f"{group}, {rule}" if several else group)

    rows = [
        [
            name(of.group, of.rule),
            name(of.baseline, of.baseline_rule),
            _cell(of.area_gain, points),
            Cell(p_value(of.p_value)),
            _cell(of.cost_saved, CHANGE),
            _cell(of.quality_gained, points),
        ]
        for of in part.contrasts
    ]
    quality = quality_form(evaluation.metric).value(part.quality)
    budget = cost_form(evaluation.cost).value(part.budget)
    head = ["model", "against", "area gained, points", "p", f"cost saved at {quality}"]
    head.append(f"points gained at {budget}")
    return TextTable(f"{_title(part)}: differences", head, rows)


def on_device_table(evaluation: Evaluation) -> TextTable | None:
    """Bytes, seconds, quality and the calls that are left; None without artifacts."""
    quality = quality_form(evaluation.metric)
    rows = [
        [
            Cell(of.group),
            Cell(with_unit(count(of.bytes), "B")),
            Cell(seconds(of.seconds)),
            _cell(of.small_quality, quality),
            _cell(of.calls_to_match, SHARE),
        ]
        for of in evaluation.on_device
    ]
    head = ["model", "bytes", "seconds a query", "alone", "calls to match large"]
    return TextTable("On the device", head, rows) if rows else None


def seeds_table(evaluation: Evaluation) -> TextTable | None:
    """Mean, spread and each seed, over all queries; None where no group has several."""
    whole = evaluation.slices[0]
    fine, cost = fine_quality_form(evaluation.metric), cost_form(evaluation.cost)
    at = quality_form(evaluation.metric).value(whole.quality)
    shown = [
        ("small_quality", "small alone", fine),
        ("area", "mean over rates", fine),
        ("cost_at_quality", f"cost of {at}", cost),
    ]
    rows = [
        [
            Cell(f"{of.group}, {of.rule}" if len(evaluation.rules) > 1 else of.group),
            Cell(label),
            Cell(form.value(getattr(of, number).value)),
            Cell(form.value(of.over_seeds[number].deviation)),
            Cell(", ".join(map(form.value, of.over_seeds[number].by_seed))),
        ]
        for of in whole.headlines
        for number, label, form in shown
        if number in of.over_seeds
    ]
    head = ["model", "number", "mean", "standard deviation", "each seed"]
    return TextTable("Over seeds", head, rows) if rows else None


def curve_table(evaluation: Evaluation, curve: CurvePoints, name: str = "") -> TextTable:
    """A curve at some of its points, random deferral and the oracle beside it.

    Beneath these stand their costs, unless they are the curve's own at every point.
    """
    quality, cost = quality_form(evaluation.metric), cost_form(evaluation.cost)
    places = range(0, len(curve.deferral_rate), _EVERY)
    own = [cost.value(curve.cost[k]) for k in places]
    beside = [
        (values, [cost.value(costs[k]) for k in places])
        for values, costs in (
            (curve.random, curve.random_cost),
            (curve.oracle, curve.oracle_cost),
        )
    ]
    apart = any(costs != own for _, costs in beside)
    # Where calls are the cost, a row's name says it.
    costed = evaluation.cost.unit != ""
    seeds = [] if curve.lowest is None or curve.highest is None else [curve.lowest, curve.highest]
    head = ["deferral rate", *([evaluation.cost.label] if costed else []), evaluation.metric.label]
    head += ["lowest seed", "highest seed"] if seeds else []
    rows = [
        [
            Cell(SHARE.value(curve.deferral_rate[k])),
            *([Cell(own[row])] if costed else []),
            *(Cell(quality.value(values[k])) for values in (curve.quality, *seeds)),
            *(
                Cell(quality.value(values[k]), f"at {costs[row]}" if apart else "")
                for values, costs in beside
            ),
        ]
        for row, k in enumerate(places)
    ]
    return TextTable(_every(name), [*head, "random deferral", "oracle"], rows)


def parts_table(evaluation: Evaluation, curve: CurvePoints, name: str = "") -> TextTable:
    """A1 and A2 at some of a curve's points, where the metric has them."""
    quality = quality_form(evaluation.metric)
    rows = [
        [
            Cell(SHARE.value(curve.deferral_rate[k])),
            *(Cell(quality.value(part[k])) for part in (curve.a1, curve.a2) if part is not None),
        ]
        for k in range(0, len(curve.deferral_rate), _EVERY)
    ]
    return TextTable(_every(name), ["deferral rate", "A1", "A2"], rows)


def _every(name: str) -> str:
    return f"{name}: every 5% of deferral" if name else "Every 5% of deferral"


def _first_rule(evaluation: Evaluation, part: Slice) -> Slice:
    rule = evaluation.rules[0]
    return msgspec.structs.replace(
        part,
        headlines=[row for row in part.headlines if row.rule == rule],
        contrasts=[row for row in part.contrasts if row.rule == row.baseline_rule == rule],
    )


def _head(evaluation: Evaluation, numbers: list[str]) -> list[str]:
    return ["model", *(["rule"] if len(evaluation.rules) > 1 else []), *numbers]


def _names(evaluation: Evaluation, group: str, rule: str) -> list[Cell]:
    return [Cell(group), *([Cell(rule)] if len(evaluation.rules) > 1 else [])]


def _title(part: Slice) -> str:
    return f"{'All' if part.task is None else part.task}, {counted(part.queries, 'query', ',')}"


def _cell(of: Estimate, form: Form) -> Cell:
    return Cell(form.value(of.value), form.interval(of))


def _in_brackets(of: Estimate, form: Form) -> str:
    interval = form.interval(of)
    return f" ({interval})" if interval else ""
