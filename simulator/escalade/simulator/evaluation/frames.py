"""An evaluation's numbers as columns for notebooks, and behind each figure; knows no page.

Columns have the names that the results have in JSON. An estimate `x` is three of them, `x`, `x_low`
and `x_high`; `task` is None where a row is of all queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_origin

import msgspec

from escalade.simulator.evaluation.bootstrap import Estimate
from escalade.simulator.evaluation.results import (
    Contrast,
    CurvePoints,
    Evaluation,
    Headline,
    OnDevice,
    Slice,
)
from escalade.simulator.frames import Frame, Value, frame_of


def frames_of(evaluation: Evaluation) -> list[Frame]:
    """`slices`, `headlines`, `contrasts`, `seeds` and `curves`; `on_device` where artifacts are.

    In `curves` a row is of one deferral rate; in `seeds` of one number of one seed, from 0.
    """
    parts = evaluation.slices
    found = [
        _records("slices", Slice, parts),
        _by_task("headlines", Headline, [(part.task, part.headlines) for part in parts]),
        _by_task("contrasts", Contrast, [(part.task, part.contrasts) for part in parts]),
        _seeds(evaluation),
        _curves(evaluation),
    ]
    if evaluation.on_device:
        found.append(_records("on_device", OnDevice, evaluation.on_device))
    return found


def _curves(evaluation: Evaluation) -> Frame:
    names = [name for name in CurvePoints.__struct_fields__ if name not in {"group", "rule"}]
    rows: list[list[Value]] = []
    for part in evaluation.slices:
        for curve in part.curves:
            columns = [getattr(curve, name) or [None] * len(curve.deferral_rate) for name in names]
            rows += [
                [part.task, curve.group, curve.rule, *values]
                for values in zip(*columns, strict=True)
            ]
    return frame_of("curves", ["task", "group", "rule", *names], rows)


def _seeds(evaluation: Evaluation) -> Frame:
    rows: list[list[Value]] = [
        [part.task, row.group, row.rule, number, seed, value]
        for part in evaluation.slices
        for row in part.headlines
        for number, spread in row.over_seeds.items()
        for seed, value in enumerate(spread.by_seed)
    ]
    return frame_of("seeds", ["task", "group", "rule", "number", "seed", "value"], rows)


def _by_task(
    name: str,
    kind: type[msgspec.Struct],
    rows: Sequence[tuple[str | None, Sequence[msgspec.Struct]]],
) -> Frame:
    found = _records(name, kind, [row for _, own in rows for row in own])
    tasks = [task for task, own in rows for _ in own]
    return Frame(name, {"task": tasks, **found.columns})


def _records(name: str, kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> Frame:
    """Records of a kind as rows, without what holds several numbers."""
    columns: dict[str, list[Value]] = {}
    for field in msgspec.structs.fields(kind):
        values = [getattr(row, field.name) for row in rows]
        if field.type is Estimate:
            columns[field.name] = [of.value for of in values]
            columns[f"{field.name}_low"] = [of.low for of in values]
            columns[f"{field.name}_high"] = [of.high for of in values]
        elif get_origin(field.type) not in {list, dict}:
            columns[field.name] = values
    return Frame(name, columns)
