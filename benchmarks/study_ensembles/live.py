"""Three tiers as processes, with the simulator's proxy on both links, and in virtual time.

    .venv/bin/python -m benchmarks.study_ensembles.live [--out FOLDER] [--queries 300]

An ensemble on the device, one at a gateway, the large bundled model in the cloud; on both links the
paper's delays. Each query is also asked of a second such system, beside the other, whose proxies do
not delay: what a call costs beside its network is measured where the trace is recorded. That is
replayed in virtual time, and both are to agree. Caches cool while a machine waits: both are asked
after the same pause. Each is asked every query three times, and the median of its times counts:
what the device answers takes milliseconds, and now and then twice as many, whoever asks. The report
of the study has the figures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from benchmarks.sim_vs_live.system import models, system
from benchmarks.study.jobs import REPOSITORY
from rich.table import Table

from escalade.cli.output import progress_bar, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import EdgeClient, Query
from escalade.edge.base import Record, atomic_write, read_records, subsample
from escalade.edge.trace import Trace
from escalade.simulator.network import PAPERS_DELAYS, Network, get_profile
from escalade.simulator.recorded import recorded_thresholds
from escalade.simulator.replay.latency import latency_of
from escalade.simulator.replay.replay import replay
from escalade.training.data import write_splits

#: Slow networks are asked so many times fewer queries.
_FEWER = {"coe-100ms": 2, "coe-1s": 4}
#: That each query is asked; odd, so that one of them is the median.
_TIMES = 3
#: Recorded over proxies as the other's, which cost a call something themselves.
_NEAR = "free"
# A pause is a round trip of the network, but no longer: a second cools no more than this does.
_LONGEST_PAUSE_S = 0.1
# The proxy writes its counters at most every 0.2 s.
_SETTLE_S = 0.5


class LiveRow(msgspec.Struct, frozen=True, kw_only=True):
    """One network; seconds."""

    profile: str
    queries: int
    live_p50_s: float
    live_p95_s: float
    virtual_p50_s: float
    virtual_p95_s: float
    #: The medians of those queries that each sends over a link.
    live_sent_p50_s: float
    virtual_sent_p50_s: float
    #: Shares that device, gateway and cloud have answered.
    answered_by: dict[str, float]
    #: Of the cloud's link both ways, as its proxy counted them; and where all goes over it.
    bytes_last: int
    bytes_all: int


def main() -> None:
    """Export, measure, write down, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "runs" / "study-ensembles")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    with TemporaryDirectory() as folder:
        rows = _measure(Path(folder), options.queries)
    options.out.mkdir(parents=True, exist_ok=True)
    with atomic_write(options.out / "live.json") as stream:
        stream.write(msgspec.json.encode(rows))
    if options.json:
        print(msgspec.json.encode(rows).decode())
        return
    table = Table(title="three tiers, live and in virtual time")
    for column in HEAD:
        table.add_column(column)
    for row in rows:
        table.add_row(*cells_of(row))
    result_console().print(table)


#: Of `cells_of`.
HEAD = ["delay", "queries", *(f"{of}, ms" for of in ("p50", "p95", "p50 sent on")), "answers"]


def cells_of(row: LiveRow) -> list[str]:
    """A row of a table, for the report too."""

    def beside(live: float, virtual: float) -> str:
        return f"{1000 * live:.1f}; {1000 * virtual:.1f} ({100 * (virtual / live - 1):+.1f} %)"

    shares = ", ".join(f"{name} {share:.2f}" for name, share in row.answered_by.items())
    return [
        row.profile.removeprefix("coe-"),
        str(row.queries),
        beside(row.live_p50_s, row.virtual_p50_s),
        beside(row.live_p95_s, row.virtual_p95_s),
        beside(row.live_sent_p50_s, row.virtual_sent_p50_s),
        shares,
    ]


def _measure(folder: Path, queries: int) -> list[LiveRow]:
    data = folder / "data"
    write_splits(data)
    with models(folder) as made, system(folder / _NEAR, made, _NEAR, 3) as near:
        rows = []
        for profile in PAPERS_DELAYS:
            records = subsample(
                read_records(data / "test.jsonl"), queries // _FEWER.get(profile, 1)
            )
            with system(folder / profile, made, profile, 3) as far:
                rows.append(_row(profile, records, near.client, far.client, folder))
    return rows


def _row(
    profile: str, records: Sequence[Record], near: EdgeClient, far: EdgeClient, folder: Path
) -> LiveRow:
    counters = folder / profile / "cloud.json"
    before = _bytes(counters)
    live, recorded, places = [], [], []
    pause_s = min(get_profile(profile).rtt_ms / 1e3, _LONGEST_PAUSE_S)
    with progress_bar(profile) as tick:
        for done, record in enumerate(records, 1):
            answers, traced = [], []
            query = Query(text=record.prompt, references=tuple(record.references))
            for again in range(_TIMES):
                # Who is second finds it warm.
                for system in (near, far) if (done + again) % 2 else (far, near):
                    time.sleep(pause_s)
                    if system is near:
                        traced.append(near.trace_record(record, shadow=True))
                    else:
                        answers.append(far.ask(query))
            recorded.append(sorted(traced, key=lambda one: one.total_s)[_TIMES // 2])
            answer = sorted(answers, key=lambda one: one.total_s)[_TIMES // 2]
            live.append(answer.total_s)
            places.append(answer.given_at)
            tick(done, len(records))
    crossed = (_bytes(counters) - before) // _TIMES
    counters = folder / _NEAR / "cloud.json"  # the same bytes, sooner
    before = _bytes(counters)
    with EdgeClient.open(folder / _NEAR / "all.toml") as alone:
        for record in records:
            alone.ask_last(Query(text=record.prompt))
    all_of_them = _bytes(counters) - before
    trace = Trace(near.trace_header(), recorded)
    network = Network(get_profile(profile))
    replayed = replay(trace, network, recorded_thresholds(trace.header.tiers), seed=1)
    live_s, virtual_s = np.array(live), replayed.cascade_s
    p50_s, p95_s = np.quantile(live_s, [0.5, 0.95])
    virtual = latency_of(virtual_s)
    return LiveRow(
        profile=profile,
        queries=len(records),
        live_p50_s=float(p50_s),
        live_p95_s=float(p95_s),
        virtual_p50_s=virtual.p50_s,
        virtual_p95_s=virtual.p95_s,
        live_sent_p50_s=float(np.median(live_s[np.array(places) != "device"])),
        virtual_sent_p50_s=float(np.median(virtual_s[replayed.answered_by > 0])),
        answered_by={one: count / len(places) for one, count in Counter(places).most_common()},
        bytes_last=crossed,
        bytes_all=all_of_them,
    )


def _bytes(stats: Path) -> int:
    time.sleep(_SETTLE_S)
    counters = json.loads(stats.read_text())
    return int(counters["bytes_up"]) + int(counters["bytes_down"])


if __name__ == "__main__":
    main()
