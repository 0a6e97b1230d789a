"""Where the time of two members that agree goes: their programs, Python, waking and waiting.

The bundled small models as in `ensembles.py`, int8, on queries of the test split of which the first
two members give one answer, which decides the vote at 2/3. Asked are the first alone, and the
ensemble side by side in each of its two ways: in threads, and in the one that asks.

Every query is asked so often, in passes over all of them, and the least time of each counts: what
else a machine does is left out. `programs` are onnxruntime's runs in the thread that asks, `beside`
those in the other at the same time, `wakes` is from the offer of a member until a thread has begun
with it (where the thread that asks took it back, there is none), `waits` is for the other's end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmarks.ensembles import CORES, TWO_THIRDS, WARM_UP, artifacts
from rich.table import Table

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.base import subsample
from escalade.edge.deferral import Gate, Vote
from escalade.edge.tiers import ArtifactTier, EnsembleTier, Member
from escalade.edge.tiers.ensemble.beside import Calls, Threads
from escalade.training.data import load_pronunciations, make_records

#: An answer of a label and the end of sequence, as half of the queries have.
SHORT = 2
WAYS = ("one alone", "two, in threads", "two, in one thread")
PARTS = ("whole", "programs", "beside", "wakes", "waits", "python")

taken: dict[str, float] = defaultdict(float)


class Row(NamedTuple):
    """Medians over queries of one kind, asked in one way."""

    answers: str
    way: str
    #: By the names of `PARTS`.
    microseconds: dict[str, float]


class Timed:
    """A session that adds up the seconds of its runs, by whether the main thread makes them."""

    def __init__(self, session: object) -> None:
        self._session = session

    def io_binding(self) -> object:
        """The session's own."""
        return self._session.io_binding()  # type: ignore[attr-defined]

    def run_with_iobinding(self, binding: object) -> None:
        """Run and count."""
        began = time.perf_counter()
        self._session.run_with_iobinding(binding)  # type: ignore[attr-defined]
        here = threading.current_thread() is threading.main_thread()
        taken["programs" if here else "beside"] += time.perf_counter() - began


class TimedThreads(Threads):
    """Threads that say how long they take to begin."""

    def offer(self, work: Callable[[], None]) -> None:
        """Offer and count."""
        offered = time.perf_counter()

        def begun() -> None:
            taken["wakes"] += time.perf_counter() - offered
            work()

        super().offer(begun)


class Always:
    """A pace that is settled."""

    def __init__(self, in_threads: bool) -> None:
        self._in_threads = in_threads

    def in_threads(self) -> bool:
        """See `Pace`."""
        return self._in_threads

    def note(self, seconds: float, tokens: int, *, in_threads: bool) -> None:
        """Nothing is learned."""


def wait_and_count(calls: Calls[object]) -> list[object]:
    """`Calls._next`, and count."""
    began = time.perf_counter()
    found = _next(calls)
    taken["waits"] += time.perf_counter() - began
    return found


_next = Calls._next
Calls._next = wait_and_count  # type: ignore[method-assign,assignment]


def clients(folders: list[Path]) -> dict[str, EdgeClient]:
    """By the names of `WAYS`."""

    def opened() -> list[Member]:
        members = [Member(Artifact.open(folder, threads=1)) for folder in folders]
        for member in members:
            runtime = member.artifact._runtime
            runtime._session = Timed(runtime._session)  # type: ignore[attr-defined]
        return members

    def three(in_threads: bool) -> EdgeClient:
        tier = EnsembleTier(opened(), side_by_side=True, at_once=CORES)
        tier._pace = Always(in_threads)  # type: ignore[assignment]
        tier._threads = TimedThreads(CORES - 1)
        gates = [Gate(rule=Vote(), threshold=TWO_THIRDS)]
        return EdgeClient(Cascade(tiers=[tier], gates=gates))

    alone = EdgeClient(Cascade(tiers=[ArtifactTier(opened()[0])], gates=[None]))
    return dict(zip(WAYS, (alone, three(True), three(False)), strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=200, help="of the test split")
    parser.add_argument("--repeats", type=int, default=15, help="passes over the queries")
    parser.add_argument("--artifacts", type=Path, help="folder that has them, or is to have them")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    records = subsample(list(make_records("test", load_pronunciations())), options.queries)
    with tempfile.TemporaryDirectory() as scratch:
        found = clients(artifacts(options.artifacts or Path(scratch), "small"))
        for record in records[:WARM_UP]:
            for client in found.values():
                client.ask(record.prompt)
        least: dict[tuple[str, int], dict[str, float]] = {}
        tokens: dict[int, int] = {}
        for _ in range(options.repeats):
            for number, record in enumerate(records):
                for way, client in found.items():
                    taken.clear()
                    began = time.perf_counter()
                    answer = client.ask(record.prompt)
                    taken["whole"] = time.perf_counter() - began
                    taken["python"] = taken["whole"] - taken["programs"] - taken["waits"]
                    if way == WAYS[-1] and len(answer.said.members) == CORES:
                        tokens[number] = answer.said.members[0].generated_tokens
                    known = least.get((way, number))
                    if known is None or taken["whole"] < known["whole"]:
                        least[way, number] = dict(taken)
    rows = []
    for short in (True, False):
        numbers = [n for n, count in tokens.items() if (count <= SHORT) == short]
        for way in WAYS:
            medians = {
                part: 1e6 * float(np.median([least[way, n].get(part, 0.0) for n in numbers]))
                for part in PARTS
            }
            answers = f"{'short' if short else 'longer'} ({len(numbers)})"
            rows.append(Row(answers, way, medians))
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return
    table = Table("answers", "way", *PARTS, title="microseconds")
    for row in rows:
        table.add_row(row.answers, row.way, *(f"{row.microseconds[part]:.0f}" for part in PARTS))
    result_console().print(table, soft_wrap=False)


if __name__ == "__main__":
    main()
