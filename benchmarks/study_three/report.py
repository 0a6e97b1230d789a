"""Writes docs/results-three-tiers.md from what the study left; every number in it is computed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.study_three import text
from benchmarks.study_three.arms import ARMS, ROUNDS, Settings, medium_name, small_name
from benchmarks.study_three.contrasts import Contrast, Numbers, Reader, contrast
from benchmarks.study_three.frontier import (
    Frontier,
    Said,
    frontier,
    read_said,
    sample_of,
    surface,
)
from benchmarks.study_three.training import SPLITS, answers_path, split_queries

#: Budgets for which thresholds are set, evenly between the first tier's cost and large's.
BUDGETS = 12
#: Queries that set thresholds: pairs of so many scores are searched exactly, in one step.
CALIBRATED = 1000
#: Of both gates, in the table of the surface.
RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: The arm whose surface is shown.
SHOWN = "any"


class Cascade(NamedTuple):
    """The models of a cascade below large."""

    small: str
    medium: str | None


def cascades() -> dict[str, Cascade]:
    """What is compared, by its name on the page; the baseline first."""
    found = {arm.name: Cascade(small_name(arm), medium_name(arm.medium, ROUNDS)) for arm in ARMS}
    by_name = {arm.name: arm for arm in ARMS}
    found["xent, medium by cat"] = Cascade(small_name(by_name["xent"]), medium_name("cat", ROUNDS))
    found["two tiers, xent"] = Cascade(small_name(by_name["xent"]), None)
    found["two tiers, cat"] = Cascade(small_name(by_name["last"]), None)
    return found


#: Held against each other, besides everything of three tiers against `xent`.
PAIRS = (
    ("next", "last"), ("any", "last"), ("soft", "last"), ("any", "next"), ("soft", "any"),
    ("any, after", "any"), ("any, alternating", "any"),
    ("xent", "two tiers, xent"), ("last", "two tiers, cat"), ("any", "two tiers, cat"),
    ("two tiers, cat", "two tiers, xent"),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """All that the page says in numbers."""

    seeds: Sequence[int]
    queries: int
    parameters: dict[str, int]
    #: By a model's name, of each seed: share of right answers alone.
    alone: dict[str, list[float]]
    numbers: dict[str, Numbers]
    contrasts: dict[tuple[str, str], Contrast]
    #: FLOPs a token; and by a cascade's name its quality there, the mean over seeds.
    budgets: list[float]
    qualities: dict[str, list[float]]
    target: float
    surface: list[tuple[float, float, float, float]]
    #: By a round's name: share of target tokens left out at the end of it.
    filtered: dict[str, float]


def write(settings: Settings, docs: Path) -> None:
    """Evaluate the seeds that are whole, and write the page."""
    seeds = [seed for seed in settings.seeds if _is_whole(settings, seed)]
    if not seeds:
        raise SystemExit(
            f"study_three: {settings.out} holds no whole seed; run it without --report"
        )
    page = docs / "results-three-tiers.md"
    page.write_text(text.page(settings, evaluated(settings, seeds)))
    print(f"{page}: {len(seeds)} seeds")


def evaluated(settings: Settings, seeds: Sequence[int]) -> Found:
    """Everything that the page says."""
    names = cascades()
    models = {name for one in names.values() for name in one if name is not None}
    said = {
        (split, seed, name): _said(settings, split, seed, name)
        for split in SPLITS
        for seed in seeds
        for name in (*models, "medium-base", "large")
    }
    large = said["test", seeds[0], "large"]
    first = said["test", seeds[0], names["xent"].small]
    ends = (2.0 * first.parameters, 2.0 * large.parameters)
    budgets = np.linspace(*ends, BUDGETS).tolist()
    places = np.linspace(0, settings.valid_queries - 1, CALIBRATED).round().astype(int).tolist()

    def tiers(split: str, seed: int, name: str) -> list[Said]:
        return [said[split, seed, one] for one in (*names[name], "large") if one is not None]

    frontiers: dict[str, list[Frontier]] = {}
    for name in names:
        frontiers[name] = [
            frontier(
                sample_of(tiers("valid", seed, name), places),
                sample_of(tiers("test", seed, name)),
                budgets,
            )
            for seed in seeds
        ]
    alone = {
        name: [float(said["test", seed, name].right.mean()) for seed in seeds]
        for name in (*sorted(models), "medium-base", "large")
    }
    target = (statistics.mean(alone[names["xent"].small]) + alone["large"][0]) / 2
    reader = Reader(len(first.right), len(seeds), ends, target)
    numbers = {name: reader.numbers(each) for name, each in frontiers.items()}
    pairs = [(name, "xent") for name in names if names[name].medium and name != "xent"]
    return Found(
        seeds=seeds,
        queries=len(first.right),
        parameters={
            size: said["test", seeds[0], name].parameters
            for size, name in (("small", names["xent"].small), ("medium", "medium-base"),
                               ("large", "large"))
        },
        alone=alone,
        numbers=numbers,
        contrasts={pair: contrast(*(numbers[one] for one in pair)) for pair in (*pairs, *PAIRS)},
        budgets=budgets,
        qualities={name: _qualities(each, budgets) for name, each in frontiers.items()},
        target=target,
        surface=surface(
            sample_of(tiers("valid", seeds[0], SHOWN), places),
            sample_of(tiers("test", seeds[0], SHOWN)),
            RATES,
        ),
        filtered={name: _filtered(settings, seeds, name) for name in sorted(models)},
    )  # fmt: skip


def _said(settings: Settings, split: str, seed: int, name: str) -> Said:
    folder = settings.out / "large" if name == "large" else settings.folder(seed, name)
    records = split_queries(settings, "valid" if split == "valid" else "test")
    return read_said(answers_path(folder, split), records)


def _is_whole(settings: Settings, seed: int) -> bool:
    return all(
        answers_path(settings.folder(seed, name), split).exists()
        for one in cascades().values()
        for name in one
        if name is not None
        for split in SPLITS
    )


def _qualities(frontiers: Sequence[Frontier], budgets: Sequence[float]) -> list[float]:
    """On the lines through the operating points, at each budget."""
    each = []
    for one in frontiers:
        cost, quality = (values[0] for values in one.points(np.ones((1, one.cost.shape[1]))))
        order = np.argsort(cost)
        each.append(np.interp(budgets, cost[order], quality[order]))
    found: list[float] = np.mean(each, axis=0).tolist()
    return found


def _filtered(settings: Settings, seeds: Sequence[int], name: str) -> float:
    shares = []
    for seed in seeds:
        log = (settings.folder(seed, name) / "log.jsonl").read_text().splitlines()
        logged = [json.loads(line) for line in log]
        shares.append([one["tokens_filtered"] for one in logged if "tokens_filtered" in one][-1])
    return statistics.mean(shares)
