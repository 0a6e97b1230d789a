"""Writes what the device in a browser must give too: scores, bounds, early stops; and networks.

.venv/bin/python tests/web_vectors.py    # edge/web/test/vectors/, edge/web/page/profiles.json

Numbers travel with all their digits; NaN and the infinities are the strings that JavaScript reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from escalade.edge.deferral import (
    ROUTER,
    RULES,
    DeferralRule,
    EarlyEntry,
    EarlyStop,
    Router,
    defers,
    rule_named,
)
from escalade.simulator.network.described.rows import outages_told
from escalade.simulator.network.profiles import Chance, Cycle
from escalade.simulator.network.profiles.reading import shipped_profiles

_WEB = Path(__file__).resolve().parents[1] / "edge" / "web"
DEFERRAL = _WEB / "test" / "vectors" / "deferral.json"
PROFILES = _WEB / "page" / "profiles.json"

_SEED = 15
#: On both sides of where numpy begins to add in lanes (8) and pairwise (128).
_LENGTHS = (1, 2, 7, 8, 9, 20, 127, 128, 129, 300)
_QUANTILES = ("quantile:0.4", "quantile:0.8", "quantile:0.05")
#: Tokens after which the bound is written.
_BOUNDED = 12


def deferral_vectors() -> dict[str, object]:
    """Every rule on the same responses, and early stops of some."""
    rng = np.random.default_rng(_SEED)
    # As a runtime gives them: float32.
    responses = [
        np.minimum(np.log(rng.beta(6, 1, size=size)), 0).astype(np.float32).astype(float).tolist()
        for size in _LENGTHS
    ]
    responses += [
        [-0.25, -math.inf, -1.0],
        [-math.inf],
        [0.0, 0.0, -0.0],
        [-0.5, math.nan, -0.5],
        [-0.5, math.inf],
        [-1e-300, -5e-324, -745.0],
        [0.0000001, -0.5],
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "router.json"
        _router(rng).save(path)
        router, text = Router.open(path), path.read_text()
    rules = [*RULES.values(), *map(rule_named, _QUANTILES)]
    return {
        "responses": [_plain(one) for one in responses],
        "rules": [_of_rule(rule, responses) for rule in rules],
        "router": {"file": text, **_of_rule(router, responses)},
        "early": [
            _early(rule, response) for rule in (*rules, router) for response in responses[4:7]
        ],
        "defers": [
            [_number(score), tau, defers(score, tau)]
            for score in (0.0, 0.5, math.nan, math.inf, -math.inf)
            for tau in (0.0, 0.5, 1.0)
        ],
    }


def _router(rng: np.random.Generator) -> Router:
    widths = (16, 8, 4, 1)
    return Router(
        [
            (rng.normal(size=(after, before)), rng.normal(size=after))
            for before, after in pairwise(widths)
        ]
    )


def _of_rule(rule: DeferralRule, responses: Sequence[Sequence[float]]) -> dict[str, object]:
    bounds = []
    for response in responses:
        add = rule.running_bound(len(response) + 4)
        bounds.append(_plain([add(one) for one in response[:_BOUNDED]]))
    return {
        "name": rule.name,
        "lowest": _number(rule.lowest),
        "scores": _plain([rule(response) for response in responses]),
        "bounds": bounds,
    }


def _early(rule: DeferralRule, response: Sequence[float]) -> dict[str, object]:
    """A threshold that is reached half way, and a statistic that is likely before."""
    longest = len(response) + 8
    running: Callable[[float], float] = rule.running_bound(longest)
    bounds = [running(one) for one in response]
    # Between two bounds of a router, whose last digits are not everywhere the same.
    threshold = bounds[len(bounds) // 2] - (1e-9 if rule.name == ROUTER else 0.0)
    cases: dict[str, Any] = {}
    for statistic in ("mean", "sum", "min"):
        likely = EarlyEntry(
            statistic=statistic,
            level=0.2,
            min_tokens=3,
            miss_rate=0.05,
            delta=0.05,
            n=100,
            misses=1,
            stopped=0.2,
            tokens_saved=0.1,
        )
        certain = EarlyStop(rule, threshold, longest)
        either = EarlyStop(rule, threshold, longest, likely=likely)
        cases[statistic] = {
            "certain": [certain(response[: n + 1]) for n in range(len(response))],
            "likely": [either(response[: n + 1]) for n in range(len(response))],
        }
    return {
        "rule": rule.name,
        "logprobs": _plain(response),
        "threshold": _number(threshold),
        "longest": longest,
        "level": 0.2,
        "min_tokens": 3,
        "stops": cases,
    }


def _plain(values: Sequence[float]) -> list[float | str]:
    return [_number(value) for value in values]


def _number(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float(value)


def written() -> str:
    """The file's text; a router's numbers are rounded to what every machine agrees on."""
    return json.dumps(_rounded(deferral_vectors())) + "\n"


def _rounded(vectors: dict[str, object]) -> dict[str, object]:
    """A router's scores and bounds to 12 digits: BLAS adds in an order of its own.

    Its early stops stay: what they compare is further apart than that.
    """
    router = vectors["router"]
    assert isinstance(router, dict)

    def short(value: object) -> object:
        if isinstance(value, list):
            return [short(one) for one in value]
        return float(f"{value:.12g}") if isinstance(value, float) else value

    kept = {key: short(router[key]) for key in ("lowest", "scores", "bounds")}
    return {**vectors, "router": {**router, **kept}}


def profiles() -> str:
    """The file of networks that the page offers: medians and outages, without spread and loss."""
    rows = [
        {
            "name": one.name,
            "rtt_ms": one.rtt_ms,
            "up_mbps": one.up_mbps,
            "down_mbps": one.down_mbps,
            "outages": [_outage(outage) for outage in one.outages],
            "told": "; ".join(outages_told(one)),
            "source": one.source,
        }
        for one in shipped_profiles().values()
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def _outage(one: Cycle | Chance) -> dict[str, object]:
    """As `edge/web/src/wire/outages.ts` names it."""
    return {
        "kind": "cycle" if isinstance(one, Cycle) else "chance",
        "everyS": one.every_s,
        "lastsS": one.lasts_s,
        "beginsS": one.begins_s if isinstance(one, Cycle) else 0.0,
    }


if __name__ == "__main__":
    for path, text in ((DEFERRAL, written()), (PROFILES, profiles())):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(path)  # noqa: T201
