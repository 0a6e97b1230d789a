"""How fast a recorded cascade replays under many thresholds; knows no model and no network.

Records a trace of 3 tiers with a seed: two ensembles of 3 members on the device, wrong together
more often than by chance, and one behind a link. Then reads it and replays it at 1,000 pairs of
thresholds: who answers, accuracy, price and latency at each. Prints the seconds that took, and
the most accurate pair for a few prices. Then one gate: 1,000 thresholds over more queries, on 20 of
the networks that come with the package.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from rich.table import Table

from escalade.cli.output import result_console
from escalade.edge.trace import (
    TRACE_SCHEMA,
    Link,
    MemberAnswer,
    MemberInfo,
    Place,
    TierAnswer,
    TierInfo,
    Trace,
    TraceHeader,
    TraceRecord,
    read_trace,
    write_trace,
)
from escalade.simulator.network import Network, get_profile, profiles_with
from escalade.simulator.replay import Grid, replay_grid, replay_grids

#: What the issue of tiers asks for.
LIMIT_S = 5.0
_SWEPT, _NETWORKS = 1000, 20

_TIERS: tuple[tuple[str, Place], ...] = (
    ("tiny", "device"),
    ("small", "device"),
    ("cloud", "cloud"),
)
#: Of each tier: how often a member is right by itself, parameters, seconds for an answer.
_RIGHT = (0.55, 0.7, 0.85)
_PARAMETERS = (1_000_000, 8_000_000, 60_000_000)
_SECONDS = (0.01, 0.02, 0.04)
#: Money for a million tokens, read and written alike.
_PRICES = (0.01, 0.1, 1.0)
_WRONG = ("x", "y", "z")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=6000)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--swept", type=int, default=100_000, help="queries of one gate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    pairs = rng.random((options.pairs, 2))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "trace.jsonl"
        made = make_trace(rng, options.queries, options.members)
        write_trace(path, made.header, made.records)
        started = time.perf_counter()
        trace = read_trace(path)
        read_s = time.perf_counter() - started
    network = Network(get_profile("lte"))
    grid = replay_grid(trace, network, pairs, cost="money", seed=options.seed)
    replay_s = time.perf_counter() - started - read_s
    names, swept_s = sweep(rng, options.swept)
    if options.json:
        found = {"read_s": read_s, "replay_s": replay_s, "swept_s": swept_s, "limit_s": LIMIT_S}
        print(json.dumps(found))
        return
    show(grid)
    result_console().print(
        f"{options.queries:,} queries, 3 tiers x {options.members} members, {options.pairs:,} pairs"
        f" of thresholds: read in {read_s:.2f} s, replayed in {replay_s:.2f} s (at most"
        f" {LIMIT_S:g} s)"
    )
    result_console().print(
        f"{options.swept:,} queries, 2 tiers, {_SWEPT:,} thresholds, {len(names)} networks"
        f" ({', '.join(names)}): {swept_s:.2f} s (at most {LIMIT_S:g} s)"
    )


def sweep(rng: np.random.Generator, queries: int) -> tuple[list[str], float]:
    """One gate on many networks: which, and the seconds that took, all but reading the trace."""
    whole = make_trace(rng, queries, 1)
    _, small, cloud = whole.header.tiers
    tiers = [msgspec.structs.replace(small, rule="mean"), cloud]
    records = []
    for record in whole.records:
        _, below, above = record.tiers
        assert below is not None  # noqa: S101 - every tier has answered
        scored = msgspec.structs.replace(below, score=float(rng.random()))
        records.append(msgspec.structs.replace(record, tiers=[scored, above]))
    trace = Trace(msgspec.structs.replace(whole.header, tiers=tiers), records)
    networks = [Network(profile) for profile in list(profiles_with(None).values())[:_NETWORKS]]
    started = time.perf_counter()
    replay_grids(trace, networks, np.linspace(0, 1, _SWEPT)[:, None], cost="money")
    return [network.name for network in networks], time.perf_counter() - started


def make_trace(rng: np.random.Generator, queries: int, members: int) -> Trace:
    """A trace in shadow mode: every member of every tier has answered every query."""
    tiers = [
        TierInfo(
            name=name,
            place=place,
            members=[
                MemberInfo(
                    name=f"{name}-{k}",
                    parameters=_PARAMETERS[at],
                    prompt_price=_PRICES[at],
                    generated_price=_PRICES[at],
                )
                for k in range(members)
            ],
            rule="vote" if at < len(_TIERS) - 1 else None,
            threshold=0.5 if at < len(_TIERS) - 1 else None,
        )
        for at, (name, place) in enumerate(_TIERS)
    ]
    header = TraceHeader(schema=TRACE_SCHEMA, tiers=tiers, created="2026-01-01T00:00:00Z")
    return Trace(header, [make_record(rng, q, members) for q in range(queries)])


def make_record(rng: np.random.Generator, q: int, members: int) -> TraceRecord:
    """One query; a hard one is hard for every member."""
    ease = float(rng.uniform(-0.4, 0.4))
    answers: list[TierAnswer | None] = [
        make_answer(rng, at, members, ease) for at in range(len(_TIERS))
    ]
    return TraceRecord(
        id=f"q{q}",
        task="benchmark",
        prompt="",
        references=["right"],
        tiers=answers,
        answered_by=len(_TIERS) - 1,
        outcome="deferred",
        total_s=0.1,
    )


def make_answer(rng: np.random.Generator, at: int, members: int, ease: float) -> TierAnswer:
    """What a tier said; the last is behind a link, and says who ran, not what they said."""
    is_last = at == len(_TIERS) - 1
    texts = [
        "right" if rng.random() < _RIGHT[at] + ease else str(rng.choice(_WRONG))
        for _ in range(members)
    ]
    winner = max(texts, key=texts.count)
    seconds = _SECONDS[at] * rng.uniform(0.8, 1.2, members)
    tokens = rng.integers(5, 20, (members, 2)).tolist()
    said = [
        MemberAnswer(
            member=k,
            text=None if is_last else text,
            logprobs=[],
            prompt_tokens=tokens[k][0],
            generated_tokens=tokens[k][1],
            seconds=float(seconds[k]),
            correct=text == "right",
        )
        for k, text in enumerate(texts)
    ]
    return TierAnswer(
        text=winner,
        members=said,
        score=None if is_last else 1.0 - texts.count(winner) / members,
        correct=winner == "right",
        seconds=float(seconds.sum()),
        link=make_link(rng, float(seconds.sum())) if is_last else None,
    )


def make_link(rng: np.random.Generator, server_s: float) -> Link:
    """A call over loopback."""
    return Link(
        round_trip_s=server_s + float(rng.uniform(0.001, 0.003)),
        server_s=server_s,
        bytes_up=int(rng.integers(100, 400)),
        bytes_down=int(rng.integers(80, 160)),
    )


def show(grid: Grid) -> None:
    """The most accurate pair for each of a few prices."""
    table = Table("price of a query", "thresholds", "answers", "right", "price", "p50", "p95")
    accuracy = grid.cost * 0 if grid.accuracy is None else grid.accuracy
    for budget in np.quantile(grid.cost, (0.1, 0.25, 0.5, 0.75, 1.0)):
        k = int(np.where(grid.cost <= budget, accuracy, -1.0).argmax())
        table.add_row(
            f"{budget:.2e}",
            ", ".join(f"{tau:.2f}" for tau in grid.thresholds[k]),
            " / ".join(f"{share:.0%}" for share in grid.answered[k]),
            f"{accuracy[k]:.1%}",
            f"{grid.cost[k]:.2e}",
            f"{1e3 * grid.p50_s[k]:.1f} ms",
            f"{1e3 * grid.p95_s[k]:.1f} ms",
        )
    result_console().print(table, soft_wrap=False)


if __name__ == "__main__":
    main()
